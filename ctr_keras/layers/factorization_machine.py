"""The factorization machine's interactions of one order, all of them at once."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FactorizationMachine(PoolingLayer):
    """Sum over all combinations of fields of the sum of their elementwise product.

    For order 2 this is `sum_{i<j} <e_i, e_j>`, for order 3 `sum_{i<j<k} sum_d e_id e_jd e_kd`. The
    cost is linear in the number of fields: with power sums `p_r = sum_i e_i^r`, the sum over
    combinations of order `n` is `s_n = 1/n sum_{r=1..n} (-1)^(r-1) s_{n-r} p_r` (Newton).

    A masked field is left out.

    Args:
        order: int. Number of fields in a combination. Defaults to `2`.
        summed: bool. Whether to sum over `d`, too; without it a vector remains, the pooling of
            bi-interactions in a neural factorization machine. Defaults to `True`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, 1)`, or `(batch, dim)` with `summed=False`.

    Example:

    >>> import numpy as np
    >>> np.array(FactorizationMachine()(np.ones((1, 3, 2), "float32"))).tolist()  # 3 pairs of 2
    [[6.0]]

    References:
        Rendle, Factorization Machines, ICDM 2010; [AutoFIS](https://arxiv.org/abs/2003.11235),
        Equations 3 and 4; [NFM](https://arxiv.org/abs/1708.05027), Section 3.1.
    """

    def __init__(self, order: int = 2, *, summed: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if order < 2:
            raise ValueError(f"order must be at least 2. Received: {order}")
        self.order = order
        self.summed = summed
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3:
            raise ValueError(f"input must be (batch, fields, dim). Received: {input_shape}")

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            inputs = inputs * ops.cast(mask, inputs.dtype)[:, :, None]
        return self.of_power_sums(self.power_sums(inputs))

    def power_sums(self, inputs: Tensor) -> list[Tensor]:
        """`p_r` of the fields for each `r` up to the order, `(batch, dim)` each."""
        power, power_sums = inputs, []
        for _ in range(self.order):
            power_sums.append(ops.sum(power, axis=1))
            power = power * inputs
        return power_sums

    def of_power_sums(self, power_sums: Sequence[Tensor]) -> Tensor:
        """The output, of the power sums of all fields."""
        sums = [ops.ones_like(power_sums[0])]  # s_0 = 1; Newton's r is r + 1 here
        for order in range(1, self.order + 1):
            terms = [(-1) ** r * sums[order - 1 - r] * power_sums[r] for r in range(order)]
            sums.append(sum(terms[1:], start=terms[0]) / order)
        return ops.sum(sums[-1], axis=-1, keepdims=True) if self.summed else sums[-1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 1 if self.summed else input_shape[2])
