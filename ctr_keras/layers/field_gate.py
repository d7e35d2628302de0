"""AutoField's gates: whether a field is kept or dropped."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldGate(ConfiguredLayer):
    """Scales every field's embedding by the probability that the field is kept.

    `output_f = p_f e_f`, where `(p_f, 1 - p_f) = softmax((logits_f + noise) / temperature)` has a
    logit for keeping the field and one for dropping it, and Gumbel noise in training. The
    temperature falls linearly with the training steps:
    `max(final_temperature, 1 - temperature_rate * step)`.

    Args:
        gumbel_noise: bool. Whether to add noise in training, drawn anew for each field and batch.
            Defaults to `True`.
        temperature_rate: float. Fall of the temperature a training step. Defaults to `5e-05`.
        final_temperature: float. Where it stops falling. Defaults to `0.01`.
        seed: int or None. Of the noise. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        training: bool. Whether the step is counted and noise is on.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, dim)`.

    Raises:
        ValueError: for a final temperature that is not over 0.

    Example:

    >>> import numpy as np
    >>> np.array(FieldGate()(np.ones((1, 2, 3), "float32"))).tolist()
    [[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]]

    References:
        [AutoField](https://arxiv.org/abs/2204.09078), its controller and soft feature selection.
    """

    def __init__(
        self,
        gumbel_noise: bool = True,
        *,
        temperature_rate: float = 5e-5,
        final_temperature: float = 0.01,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if final_temperature <= 0:
            raise ValueError(f"final_temperature must be over 0. Received: {final_temperature}")
        self.gumbel_noise = gumbel_noise
        self.temperature_rate = temperature_rate
        self.final_temperature = final_temperature
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        self.logits = self.add_weight(
            name="logits", shape=(input_shape[1], 2), initializer="zeros", dtype="float32"
        )
        self.step = self.add_weight(
            name="step", shape=(), initializer="zeros", dtype="int32", trainable=False
        )
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        logits = ops.convert_to_tensor(self.logits)
        if self.gumbel_noise and training:
            draw = keras.random.uniform(logits.shape, 1e-7, 1.0, seed=self.seed_generator)
            logits = logits - ops.log(-ops.log(draw))
        fall = self.temperature_rate * ops.cast(self.step, "float32")
        temperature = ops.maximum(1.0 - fall, self.final_temperature)
        if training:
            self.step.assign_add(1)
        kept = ops.softmax(logits / temperature, axis=-1)[:, :1]
        return inputs * ops.cast(kept, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
