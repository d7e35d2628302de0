"""The attentional factorization machine's pooling of pairs."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_fields, dense_inside, exact_softmax
from ctr_keras.layers.bilinear_interaction import pairs_of
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class PairAttention(PoolingLayer):
    """Mean of the products of all pairs of fields, weighted by attention.

    For `u_ij = e_i * e_j` (elementwise): `output = sum_{i<j} a_ij u_ij`, where
    `a = softmax(s / temperature)` over the pairs and `s_ij = <h, relu(W u_ij + b)>`.

    Args:
        units: int. Width of the attention, rows of `W`. Defaults to `16`.
        temperature: float. Defaults to `1.0`.
        dropout: float. Share of attention weights to drop. Defaults to `0.0`.
        kernel_initializer: initializer of `W` and `h`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W` and `h`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        training: bool. Whether dropout is on.
        return_attention_scores: bool. Whether to return the attention weights as well.

    Input shape:
        `(batch, fields, dim)`, of at least two fields.

    Output shape:
        `(batch, dim)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the weights
        `(batch, pairs)`, which sum to 1.

    Example:

    >>> import numpy as np
    >>> output, weights = PairAttention()(np.ones((1, 3, 2)), return_attention_scores=True)
    >>> tuple(output.shape), tuple(weights.shape)  # 3 pairs
    ((1, 2), (1, 3))

    References:
        [AFM](https://arxiv.org/abs/1708.04617), Section 3.
    """

    def __init__(
        self,
        units: int = 16,
        *,
        temperature: float = 1.0,
        dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1 or temperature <= 0:
            raise ValueError(
                f"units must be at least 1 and temperature over 0. Received: {units}, {temperature}"
            )
        self.units = units
        self.temperature = temperature
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape, at_least=2)
        batch, fields, dim = input_shape
        self._pairs = pairs_of(fields)
        pairs = (batch, len(self._pairs[0]))
        self.hidden = dense_inside(self, self.units, "hidden", (*pairs, dim), activation="relu")
        self.score = dense_inside(self, 1, "score", (*pairs, self.units), use_bias=False)
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.drop.build(pairs)

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        first, second = (ops.take(inputs, fields, axis=1) for fields in self._pairs)
        products = first * second
        scores = self.score(self.hidden(products))[:, :, 0]
        weights = exact_softmax(scores / self.temperature)
        dropped = self.drop(weights, training=training)
        output = ops.sum(products * dropped[:, :, None], axis=1)
        return (output, weights) if return_attention_scores else output

    def compute_output_shape(
        self, input_shape: Shape, return_attention_scores: bool = False
    ) -> Shape | tuple[Shape, Shape]:
        batch, fields, dim = input_shape
        weights = (batch, fields * (fields - 1) // 2)
        return ((batch, dim), weights) if return_attention_scores else (batch, dim)

    def compute_output_spec(
        self,
        inputs: Tensor,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del training
        shapes = self.compute_output_shape(inputs.shape, return_attention_scores)
        if return_attention_scores:
            return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)
        return keras.KerasTensor(shapes, self.compute_dtype)
