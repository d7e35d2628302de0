"""FinalMLP's fusion of two streams: a bilinear logit by heads."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class BilinearFusion(PoolingLayer):
    """`sum_h x_h^T W_h y_h`, where `x` and `y` are cut into heads.

    Args:
        heads: int. It divides both widths. Defaults to `1`.
        kernel_initializer: initializer of `W`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        first: tensor, `x`.
        second: tensor, `y`.

    Input shape:
        `(batch, width)` and `(batch, another width)`.

    Output shape:
        `(batch, 1)`.

    Example:

    >>> import numpy as np
    >>> layer = BilinearFusion(heads=2, kernel_initializer="ones")
    >>> np.array(layer(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))).tolist()  # 1 * 3 + 2 * 4
    [[11.0]]

    References:
        [FinalMLP](https://arxiv.org/abs/2304.00902), Section 3.2.
    """

    def __init__(
        self,
        heads: int = 1,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1:
            raise ValueError(f"heads must be at least 1. Received: {heads}")
        self.heads = heads
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, first_shape: Shape, second_shape: Shape) -> None:
        widths = (first_shape[-1], second_shape[-1])
        if len(first_shape) != 2 or None in widths or any(width % self.heads for width in widths):
            raise ValueError(
                f"both must be (batch, width), whose width {self.heads} heads divide. "
                f"Received: {first_shape} and {second_shape}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.heads, *(width // self.heads for width in widths)),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    def call(self, first: Tensor, second: Tensor) -> Tensor:
        heads, width, other = self.kernel.shape
        first = ops.reshape(first, (-1, heads, width))
        second = ops.reshape(second, (-1, heads, other))
        mapped = ops.einsum("bhx,hxy->bhy", first, ops.cast(self.kernel, first.dtype))
        return ops.sum(mapped * second, axis=(1, 2))[:, None]

    def compute_output_shape(self, first_shape: Shape, second_shape: Shape) -> Shape:
        del second_shape
        return (first_shape[0], 1)
