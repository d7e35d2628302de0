"""Attention weights from tanh scores: how MIAN's modules weigh what they sum."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class TanhAttention(PoolingLayer):
    """Weights for the vectors of a row: `a = softmax_n(tanh(<x_n, w_n> + b_n) / temperature)`.

    A score lies in (-1, 1), so at temperature 1 no weight is over `e^2 / (e^2 + N - 1)`.

    A masked vector gets weight 0; a row without any vector gets zeros only.

    Args:
        shared: bool. Whether one `w` and `b` score all vectors, whatever their number, rather than
            one for each place. Defaults to `False`.
        temperature: float. Lower is sharper. Defaults to `1.0`.
        kernel_initializer: initializer of `w`. Defaults to `None`: truncated normal with standard
            deviation 0.02.
        kernel_regularizer: regularizer of `w`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of vectors.
        mask: boolean tensor `(batch, vectors)`, False for a vector to leave out.
            Defaults to `None`.

    Input shape:
        `(batch, vectors, dim)`.

    Output shape:
        `(batch, vectors)`.

    Example:

    >>> import numpy as np
    >>> layer = TanhAttention(kernel_initializer="zeros")
    >>> np.array(layer(np.ones((1, 4, 3), "float32"))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 7, 8, 11, 13 and 15.
    """

    def __init__(
        self,
        shared: bool = False,
        *,
        temperature: float = 1.0,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if temperature <= 0:
            raise ValueError(f"temperature must be over 0. Received: {temperature}")
        self.shared = shared
        self.temperature = temperature
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, vectors, dim). Received: {input_shape}")
        if not self.shared and input_shape[1] is None:
            raise ValueError(
                "a weight for each place needs a known number of vectors, or take shared=True. "
                f"Received: {input_shape}"
            )
        scorers = 1 if self.shared else input_shape[1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(scorers, input_shape[-1]),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.add_weight(name="bias", shape=(scorers,), initializer="zeros")

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        kernel, bias = (ops.cast(w, self.compute_dtype) for w in (self.kernel, self.bias))
        scores = ops.tanh(ops.sum(inputs * kernel, axis=-1) + bias)
        if keras.backend.standardize_dtype(scores.dtype) in ("float16", "bfloat16"):
            scores = ops.cast(scores, "float32")  # a softmax loses too much in half precision
        if mask is not None:
            scores = ops.where(ops.cast(mask, "bool"), scores, -1.0)  # no score is lower
        # A softmax of what is not masked, less the highest score so that no power overflows.
        highest = ops.max(scores, axis=-1, keepdims=True)
        powers = ops.exp((scores - highest) / self.temperature)
        if mask is not None:
            powers = powers * ops.cast(mask, powers.dtype)
        total = ops.sum(powers, axis=-1, keepdims=True)
        weights = powers / ops.where(total > 0, total, 1.0)
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[:-1]
