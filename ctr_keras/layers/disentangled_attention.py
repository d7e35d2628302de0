"""DESTINE's self-attention: what pairs of fields say, apart from what each field says."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, dense_inside, exact_softmax
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class DisentangledAttention(ConfiguredLayer):
    """Self-attention over fields whose weights are the sum of a pairwise and a unary part.

    For each head, with queries `q`, keys `k` and values `v`, projections of the fields `x`:

    - pairwise: `softmax_n(<q_m - mean q, k_n - mean k>)`, means over the fields
    - unary: `softmax_n(<u, x_n>)`, the same for all `m`
    - `head_m = sum_n (pairwise_mn + unary_n) v_n`, and the output is the heads side by side, and
      `W_res x_m + b` added

    Args:
        units: int. Width of the output, which the heads divide. Defaults to `32`.
        heads: int. Defaults to `1`.
        scale: bool. Whether pairwise scores are divided by the root of a head's width. Defaults to
            `True`.
        attention_dropout: float. Share of attention weights to drop. Defaults to `0.0`.
        kernel_initializer: initializer of the projections. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the projections. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        training: bool. Whether dropout is on.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, units)`.

    Example:

    >>> import numpy as np
    >>> tuple(DisentangledAttention(8, heads=2)(np.ones((2, 3, 4), "float32")).shape)
    (2, 3, 8)

    References:
        [DESTINE](https://arxiv.org/abs/2101.03654), Section 3.3.
    """

    def __init__(
        self,
        units: int = 32,
        heads: int = 1,
        *,
        scale: bool = True,
        attention_dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1 or units % heads:
            raise ValueError(f"heads must divide units. Received: {heads} and {units}")
        self.units = units
        self.heads = heads
        self.scale = scale
        self.attention_dropout = attention_dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        # Of queries and keys less their means, and in a softmax, a bias would come to nothing.
        self.query, self.key = (
            dense_inside(self, self.units, name, input_shape, use_bias=False)
            for name in ("query", "key")
        )
        self.unary = dense_inside(self, self.heads, "unary", input_shape, use_bias=False)
        self.value, self.residual = (
            dense_inside(self, self.units, name, input_shape) for name in ("value", "residual")
        )
        self.drop = keras.layers.Dropout(
            self.attention_dropout, dtype=self.dtype_policy, name="attention_dropout"
        )
        self.drop.build((input_shape[0], self.heads, input_shape[1], input_shape[1]))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        query, key, value = (
            self._by_head(layer(inputs)) for layer in (self.query, self.key, self.value)
        )
        query = query - ops.mean(query, axis=2, keepdims=True)
        key = key - ops.mean(key, axis=2, keepdims=True)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        if self.scale:
            scores = scores / (self.units // self.heads) ** 0.5
        unary = exact_softmax(ops.transpose(self.unary(inputs), (0, 2, 1)))[:, :, None, :]
        weights = self.drop(exact_softmax(scores) + unary, training=training)
        heads = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        joined = ops.reshape(heads, (-1, inputs.shape[1], self.units))
        return joined + self.residual(inputs)

    def _by_head(self, projected: Tensor) -> Tensor:
        """(batch, heads, fields, width of a head)."""
        shape = (-1, projected.shape[1], self.heads, self.units // self.heads)
        return ops.transpose(ops.reshape(projected, shape), (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)
