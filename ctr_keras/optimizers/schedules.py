"""Learning rates that Keras has no schedule for."""

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from ctr_keras.types import Config, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class WarmUp(LearningRateSchedule):
    """A rate that grows linearly for some steps, after which another schedule begins.

    Step `t`, from 0, has the rate `(t + 1) / steps * rate(0)` before step `steps`, and then
    `rate(t - steps)`.

    Args:
        rate: float or schedule. What begins after the warm-up.
        steps: int. Length of the warm-up.

    Example:

    >>> rate = WarmUp(0.4, steps=4)
    >>> [round(float(rate(step)), 1) for step in range(6)]
    [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    """

    def __init__(self, rate: float | LearningRateSchedule, steps: int) -> None:
        self.rate = rate
        self.steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        later = ops.maximum(step - self.steps, 0.0)
        rate = self.rate(later) if callable(self.rate) else self.rate
        return ops.minimum((step + 1) / self.steps, 1.0) * rate

    def get_config(self) -> Config:
        is_schedule = isinstance(self.rate, LearningRateSchedule)
        rate = keras.optimizers.schedules.serialize(self.rate) if is_schedule else self.rate
        return {"rate": rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config: Config) -> "WarmUp":
        rate = config["rate"]
        if isinstance(rate, dict):
            rate = keras.optimizers.schedules.deserialize(rate)
        return cls(rate, config["steps"])
