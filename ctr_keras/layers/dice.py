"""Dice: an activation whose step stands where the data are."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.layers.batch_normalization import BatchNormalization
from ctr_keras.types import Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class Dice(ConfiguredLayer):
    """Data-adaptive activation: `p x + (1 - p) alpha x` with `p = sigmoid(norm(x))`.

    `norm` takes each channel's mean and deviation away, by the batch in training and by moving
    averages in inference (see `BatchNormalization`, without scale and shift); `alpha` is learned,
    one for each channel. With `alpha` 1 nothing changes; with a sharp `p` this is PReLU.

    Masked positions count in neither mean nor deviation.

    Args:
        epsilon: float. Added to the variance. Defaults to `1e-06`.
        alpha_initializer: initializer of `alpha`. Defaults to `"zeros"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        mask: boolean tensor `(batch, ...)`, False for a position to leave out of mean and
            deviation. Defaults to `None`.
        training: bool. Whether to normalize by the batch.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., dim)`.

    Example:

    >>> import numpy as np
    >>> float(Dice()(np.array([[0.0], [2.0]], "float32"), training=True)[0, 0])
    0.0

    References:
        [DIN](https://arxiv.org/abs/1706.06978), Section 5.3, Equation 9.
    """

    def __init__(
        self, epsilon: float = 1e-6, *, alpha_initializer: Initializer = "zeros", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.alpha_initializer = keras.initializers.get(alpha_initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.normalization = BatchNormalization(
            epsilon=self.epsilon,
            center=False,
            scale=False,
            dtype=self.dtype_policy,
            name="normalization",
        )
        self.normalization.build(input_shape)
        self.alpha = self.add_weight(
            name="alpha", shape=(input_shape[-1],), initializer=self.alpha_initializer
        )

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        share = ops.sigmoid(self.normalization(inputs, mask=mask, training=training))
        alpha = ops.cast(self.alpha, inputs.dtype)
        return (share + (1 - share) * alpha) * inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
