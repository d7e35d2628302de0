"""One Transformer block over a history of behaviours."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_choice, dense_inside
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_NORMALIZATIONS = ("pre", "post")
_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="ctr_keras")
class TransformerBlock(ConfiguredLayer):
    """Multi-head self-attention and a feed-forward network, each with a residual.

    - `normalization="pre"`: `m = x + MHA(norm(x))`, `output = m + FFN(norm(m))`
    - `normalization="post"`: `m = norm(x + MHA(x))`, `output = norm(m + FFN(m))`

    with `FFN(x) = relu(x W_1 + b_1) W_2 + b_2`. The attention has no biases.

    A masked position is attended by none, and its own output is zero. Without positions the block
    does not know the order of the history.

    Args:
        heads: int. Number of attention heads; it must divide `dim`. Defaults to `8`.
        hidden: int or None. Width of `W_1`. Defaults to `None`: four times `dim`.
        normalization: str. `"pre"` or `"post"`. Defaults to `"pre"`.
        dropout: float. Share to drop of attention weights and of both branches. Defaults to `0.0`.
        final_normalization: bool. Whether to normalize the output once more, as stacks of Pre-LN
            blocks do. Defaults to `False`.
        positions: bool. Whether to add a learned vector for each position. Defaults to `False`.
        kernel_initializer: initializer of kernels and positions. Defaults to `None`: truncated
            normal with standard deviation 0.02.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of behaviours.
        mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.
        training: bool. Whether dropout is on.

    Input shape:
        `(batch, length, dim)`.

    Output shape:
        `(batch, length, dim)`.

    Example:

    >>> import numpy as np
    >>> tuple(TransformerBlock(heads=2)(np.ones((3, 30, 8), "float32")).shape)
    (3, 30, 8)

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 3 to 5. The paper prints no
        residuals and one normalization; it cites the Pre-LN Transformer, which has two of each.
    """

    def __init__(
        self,
        heads: int = 8,
        hidden: int | None = None,
        *,
        normalization: str = "pre",
        dropout: float = 0.0,
        final_normalization: bool = False,
        positions: bool = False,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if heads < 1:
            raise ValueError(f"heads must be at least 1. Received: {heads}")
        check_choice("normalization", normalization, _NORMALIZATIONS)
        self.heads = heads
        self.hidden = hidden
        self.normalization = normalization
        self.dropout = dropout
        self.final_normalization = final_normalization
        self.positions = positions
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, length, dim). Received: {input_shape}")
        length, dim = input_shape[1:]
        if dim % self.heads:
            raise ValueError(f"heads={self.heads} must divide dim. Received: {input_shape}")
        if self.positions:
            if length is None:
                raise ValueError(f"positions need a known length. Received: {input_shape}")
            self.position_vectors = self.add_weight(
                name="positions", shape=(length, dim), initializer=self.kernel_initializer.clone()
            )
        self.attention = keras.layers.MultiHeadAttention(
            self.heads,
            dim // self.heads,
            dropout=self.dropout,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(input_shape, input_shape)
        hidden = self.hidden or 4 * dim
        self.expansion = dense_inside(self, hidden, "expansion", input_shape, activation="relu")
        self.contraction = dense_inside(self, dim, "contraction", (*input_shape[:-1], hidden))
        names = ["attention_normalization", "feed_forward_normalization"]
        names += ["final_normalization"] * self.final_normalization
        self.normalizations = tuple(self._norm(name, input_shape) for name in names)
        self.branch_dropout = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )
        self.branch_dropout.build(input_shape)

    def _norm(self, name: str, input_shape: Shape) -> keras.layers.Layer:
        layer = keras.layers.LayerNormalization(
            epsilon=_EPSILON, dtype=self.dtype_policy, name=name
        )
        layer.build(input_shape)
        return layer

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        outputs = inputs
        if self.positions:
            outputs = outputs + ops.cast(self.position_vectors, self.compute_dtype)

        def attend(x: Tensor) -> Tensor:
            keys = None if mask is None else ops.cast(mask, "bool")[:, None, :]
            return self.attention(x, x, attention_mask=keys, training=training)

        def feed_forward(x: Tensor) -> Tensor:
            return self.contraction(self.expansion(x))

        for branch, norm in zip((attend, feed_forward), self.normalizations, strict=False):
            if self.normalization == "pre":
                change = self.branch_dropout(branch(norm(outputs)), training=training)
                outputs = outputs + change
            else:
                change = self.branch_dropout(branch(outputs), training=training)
                outputs = norm(outputs + change)
        if self.final_normalization:
            outputs = self.normalizations[-1](outputs)
        if mask is not None:
            outputs = outputs * ops.cast(mask, outputs.dtype)[:, :, None]
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
