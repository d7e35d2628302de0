"""Generalized regularized dual averaging: gradient descent that ends in exact zeros."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.keras_internals import position
from ctr_keras.types import Config, LearningRate, Tensor, Variable

# They would make another method of it.
_REFUSED = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema")


@keras.saving.register_keras_serializable(package="ctr_keras")
class GRDA(keras.optimizers.Optimizer):
    """Stochastic gradient descent whose result is shrunk by a growing threshold.

    With the gradient `g_t` at the current weights, learning rate `lr_t` and steps `t = 1, 2, ...`:

    - `v_t = v_(t-1) - lr_t g_t`, where `v_0` is the weight before the first step
    - `h_t = h_(t-1) + c lr_t^(0.5 + mu) (t^mu - (t-1)^mu)`, where `h_0 = 0`
    - `w_t = sign(v_t) max(|v_t| - h_t, 0)`

    A weight that is zero can come back, as `v` goes on. The threshold grows step by step, so that
    a learning-rate schedule changes its growth and not what has grown before. With a constant
    learning rate it is `c lr^(0.5 + mu) t^mu`. `c=0` is plain gradient descent.

    Keras' weight decay, clipping and averaging of weights are not taken.

    Args:
        learning_rate: float or schedule. AutoFIS' code has 1. Defaults to `1.0`.
        c: float. How large the threshold is. Defaults to `0.0005`.
        mu: float. How it grows, over 0. Defaults to `0.8`.
        name: str. Defaults to `"grda"`.
        **kwargs: `gradient_accumulation_steps` and `loss_scale_factor` of Keras' optimizers.

    Raises:
        ValueError: for a negative `c`, a `mu` that is not positive, or an option that is not taken.

    Example:

    >>> weight = keras.Variable([0.75, 0.125])
    >>> optimizer = GRDA(learning_rate=1.0, c=0.25)
    >>> optimizer.apply([keras.ops.convert_to_tensor([0.0, 0.0])], [weight])
    >>> keras.ops.convert_to_numpy(weight).tolist()
    [0.5, 0.0]

    References:
        [Directional pruning](https://arxiv.org/abs/2006.09358), Algorithm 1;
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 3.2, Equation 13, with the threshold of
        the authors' code.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        c: float = 0.0005,
        mu: float = 0.8,
        name: str = "grda",
        **kwargs: Any,
    ) -> None:
        if c < 0:
            raise ValueError(f"c must be at least 0. Received: {c}")
        if mu <= 0:
            raise ValueError(f"mu must be over 0. Received: {mu}")
        given = [option for option in _REFUSED if kwargs.get(option)]
        if given:
            raise ValueError(f"GRDA takes no {', '.join(given)}")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.c = c
        self.mu = mu

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._accumulators = self.add_optimizer_variables(variables, "accumulator")
        self._thresholds = [
            self.add_variable((), dtype=v.dtype, name=f"threshold_{index}")
            for index, v in enumerate(variables)
        ]

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        dtype = variable.dtype
        rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        index = position(self, variable)
        accumulator, threshold = self._accumulators[index], self._thresholds[index]
        start, before = ops.convert_to_tensor(variable), ops.convert_to_tensor(accumulator)
        # t^mu - (t-1)^mu = t^mu (1 - (1 - 1/t)^mu) = -t^mu expm1(mu log1p(-1/t)), which is exact
        # where the difference of the two large numbers is rounding errors; 1 at the first step.
        growth = -(step**self.mu) * ops.expm1(self.mu * ops.log1p(-1 / step))
        self.assign(accumulator, ops.where(step == 1, start, before) - rate * gradient)
        self.assign(threshold, threshold + self.c * rate ** (0.5 + self.mu) * growth)
        shrunk = ops.maximum(ops.abs(accumulator) - threshold, 0)
        self.assign(variable, ops.sign(accumulator) * shrunk)

    def get_config(self) -> Config:
        return {**super().get_config(), "c": self.c, "mu": self.mu}
