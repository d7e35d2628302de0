"""Wukong's layer: factorization machines of vectors, stacked."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, dense_inside
from ctr_keras.layers.mlp import MLP
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class WukongLayer(ConfiguredLayer):
    """Vectors out of vectors `X`: linear ones, and what a network makes of their inner products.

    `norm([MLP(norm(X X^T Y)), A X] + B X)`: a factorization machine block of rank `rank`, as the
    inner products of all vectors are with `rank` combinations `Y` of them, a linear compression
    block, and a residual, `B` only where the numbers of vectors differ.

    Args:
        units: int. Number of vectors that each of the two blocks gives. Defaults to `8`.
        rank: int. Columns of `Y`. Defaults to `8`.
        hidden: list of int. Widths of the network. Defaults to `(64,)`.
        dropout: float. Share of the network's units to drop. Defaults to `0.0`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings, or of vectors.
        training: bool. Whether dropout is on.

    Input shape:
        `(batch, vectors, dim)`.

    Output shape:
        `(batch, 2 * units, dim)`.

    Example:

    >>> import numpy as np
    >>> tuple(WukongLayer(units=3)(np.ones((2, 5, 4), "float32")).shape)
    (2, 6, 4)

    References:
        [Wukong](https://arxiv.org/abs/2403.02545), Section 3.
    """

    def __init__(
        self,
        units: int = 8,
        rank: int = 8,
        hidden: Sequence[int] = (64,),
        *,
        dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1 or rank < 1:
            raise ValueError(f"units and rank must be at least 1. Received: {units}, {rank}")
        self.units = units
        self.rank = rank
        self.hidden = tuple(hidden)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        batch, vectors, dim = input_shape
        turned, products = (batch, dim, vectors), (batch, vectors * self.rank)
        no_bias = {"use_bias": False}
        self.combined = dense_inside(self, self.rank, "combined", turned, **no_bias)
        self.linear = dense_inside(self, self.units, "linear", turned, **no_bias)
        if vectors != 2 * self.units:
            self.residual = dense_inside(self, 2 * self.units, "residual", turned, **no_bias)
        self.of_products = self._normalization("of_products", products)
        self.network = MLP(
            (*self.hidden, self.units * dim),
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="network",
        )
        self.network.build(products)
        self.of_vectors = self._normalization("of_vectors", (batch, 2 * self.units, dim))

    def _normalization(self, name: str, shape: Shape) -> keras.layers.Layer:
        layer = keras.layers.LayerNormalization(dtype=self.dtype_policy, name=name)
        layer.build(shape)
        return layer

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        _, vectors, dim = inputs.shape
        turned = ops.transpose(inputs, (0, 2, 1))
        products = ops.matmul(inputs, self.combined(turned))
        products = self.of_products(ops.reshape(products, (-1, vectors * self.rank)))
        made = self.network(products, training=training)
        made = ops.reshape(made, (-1, self.units, dim))
        linear = ops.transpose(self.linear(turned), (0, 2, 1))
        kept = inputs
        if vectors != 2 * self.units:
            kept = ops.transpose(self.residual(turned), (0, 2, 1))
        return self.of_vectors(ops.concatenate([made, linear], axis=1) + kept)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 2 * self.units, input_shape[2])
