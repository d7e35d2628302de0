"""MaskNet's block: a dense layer on elements that the row's embeddings have weighted."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, dense_inside, with_nan_of
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class MaskBlock(ConfiguredLayer):
    """`relu(norm(W (m * x)))`, whose mask is of the embeddings: `m = W_2 relu(W_1 e + b_1) + b_2`.

    Args:
        units: int. Width of the output.
        ratio: float. How many times wider than `x` the layer inside the mask is. Defaults to `2.0`.
        normalized: bool. Whether there is a layer normalization. Defaults to `True`.
        dropout: float. Share of units to drop. Defaults to `0.0`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        check_ids: bool. As in `MLP`. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        embeddings: tensor, `e`, of all fields side by side.
        inputs: tensor, `x`: these embeddings, or what another block gave.
        training: bool. Whether dropout is on.

    Input shape:
        `(batch, width of embeddings)` and `(batch, width)`.

    Output shape:
        `(batch, units)`.

    Example:

    >>> import numpy as np
    >>> fields = np.ones((2, 6), "float32")
    >>> tuple(MaskBlock(4)(fields, fields).shape)
    (2, 4)

    References:
        [MaskNet](https://arxiv.org/abs/2102.07619), Section 3.2 and 3.3.
    """

    def __init__(
        self,
        units: int,
        *,
        ratio: float = 2.0,
        normalized: bool = True,
        dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if ratio <= 0:
            raise ValueError(f"ratio must be over 0. Received: {ratio}")
        self.units = units
        self.ratio = ratio
        self.normalized = normalized
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.check_ids = check_ids

    def build(self, embeddings_shape: Shape, inputs_shape: Shape) -> None:
        if len(inputs_shape) != 2 or None in (embeddings_shape[-1], inputs_shape[-1]):
            raise ValueError(
                "embeddings and input must be (batch, width), both known. "
                f"Received: {embeddings_shape} and {inputs_shape}"
            )
        batch, width = inputs_shape
        inner = max(1, int(self.ratio * width))
        self.wide = dense_inside(self, inner, "wide", embeddings_shape, activation="relu")
        self.mask = dense_inside(self, width, "mask", (batch, inner))
        self.dense = dense_inside(self, self.units, "dense", inputs_shape, use_bias=False)
        if self.normalized:
            self.normalization = keras.layers.LayerNormalization(
                dtype=self.dtype_policy, name="normalization"
            )
            self.normalization.build((batch, self.units))
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.drop.build((batch, self.units))

    def call(self, embeddings: Tensor, inputs: Tensor, training: bool | None = None) -> Tensor:
        outputs = self.dense(inputs * self.mask(self.wide(embeddings)))
        if self.normalized:
            outputs = self.normalization(outputs)
        outputs = self.drop(ops.relu(outputs), training=training)
        return with_nan_of(embeddings, outputs) if self.check_ids else outputs

    def compute_output_shape(self, embeddings_shape: Shape, inputs_shape: Shape) -> Shape:
        del embeddings_shape
        return (inputs_shape[0], self.units)
