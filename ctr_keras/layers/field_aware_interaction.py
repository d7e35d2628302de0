"""The interactions of the field-aware factorization machine (FFM)."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import PoolingLayer
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldAwareInteraction(PoolingLayer):
    """`sum_{i<j} <e_(i,j), e_(j,i)>`: each field has a vector of its own for every other field.

    A field's vectors for the others lie side by side, in the order of the fields, itself left out:
    those of the second of three fields are for the first and the third.

    A masked field is left out.

    Args:
        dim: int. Width of one of these vectors.
        summed: bool. Whether to return the sum rather than a number for each pair. Defaults to
            `True`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.

    Input shape:
        `(batch, fields, (fields - 1) * dim)`, of at least two fields.

    Output shape:
        `(batch, 1)`, or `(batch, pairs)` with `summed=False`.

    Example:

    >>> fields = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])  # three fields, dim 1
    >>> np.array(FieldAwareInteraction(dim=1)(fields)).tolist()  # 1 * 3 + 2 * 5 + 4 * 6
    [[37.0]]

    References:
        Juan et al., Field-aware Factorization Machines for CTR Prediction, RecSys 2016, Section 3.
    """

    def __init__(self, dim: int, *, summed: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1. Received: {dim}")
        self.dim = dim
        self.summed = summed
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        fields = input_shape[1] if len(input_shape) == 3 else None
        if not fields or fields < 2 or input_shape[2] != (fields - 1) * self.dim:
            raise ValueError(
                "input must be (batch, fields, (fields - 1) * dim), of at least two fields, with "
                f"dim={self.dim}. Received: {input_shape}"
            )
        # The place of e_(i,j) among all vectors of a row, and that of e_(j,i).
        pairs = np.array([*itertools.combinations(range(fields), 2)], "int32")
        low, high = pairs.T
        self._places = (low * (fields - 1) + high - 1, high * (fields - 1) + low)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        fields = inputs.shape[1]
        if mask is not None:
            inputs = inputs * ops.cast(mask, inputs.dtype)[:, :, None]
        vectors = ops.reshape(inputs, (-1, fields * (fields - 1), self.dim))
        first, second = (ops.take(vectors, places, axis=1) for places in self._places)
        numbers = ops.sum(first * second, axis=2)
        return ops.sum(numbers, axis=1, keepdims=True) if self.summed else numbers

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        fields = input_shape[1]
        return (input_shape[0], 1 if self.summed else fields * (fields - 1) // 2)
