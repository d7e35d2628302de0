"""MIAN's local modules: the candidate item with user fields, context fields or behaviours."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_choice
from ctr_keras.layers.tanh_attention import TanhAttention
from ctr_keras.layers.transformer_block import TransformerBlock
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_TRANSFORMERS = ("pre", "post", "none")


@keras.saving.register_keras_serializable(package="ctr_keras")
class ItemFieldInteraction(PoolingLayer):
    """Item-user or item-context interactive module (IUIM, ICIM).

    For an item `e_i` and fields `e_j`, every pair `V_j = [e_i; e_j]` gets a weight, and the output
    is `R = sum_j a_j V_j = [e_i; sum_j a_j e_j]` with `a = softmax_j(tanh(<V_j, W_j> + b_j))`.

    A masked field gets weight 0; a row without any field keeps `e_i` and zeros.

    Args:
        shared_scores: bool. Whether all fields share one `W` and `b`. Defaults to `False`.
        temperature: float. Of the softmax. Defaults to `1.0`.
        kernel_initializer: initializer of `W`. Defaults to `None`: as `TanhAttention`.
        kernel_regularizer: regularizer of `W`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        item: tensor of the item's embedding.
        fields: tensor of the fields' embeddings.
        fields_mask: boolean tensor `(batch, fields)`, False for a field to leave out.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the weights as well.

    Input shape:
        `(batch, item_dim)` and `(batch, fields, dim)`.

    Output shape:
        `(batch, item_dim + dim)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the weights
        `(batch, fields)`.

    Example:

    >>> import numpy as np
    >>> item, user = np.ones((2, 8), "float32"), np.ones((2, 3, 4), "float32")
    >>> tuple(ItemFieldInteraction()(item, user).shape)
    (2, 12)

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 10 to 13.
    """

    def __init__(
        self,
        shared_scores: bool = False,
        *,
        temperature: float = 1.0,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shared_scores = shared_scores
        self.temperature = temperature
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, item_shape: Shape, fields_shape: Shape) -> None:
        _check_shapes(item_shape, fields_shape)
        self.attention = TanhAttention(
            self.shared_scores,
            temperature=self.temperature,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build((*fields_shape[:2], item_shape[-1] + fields_shape[-1]))

    def call(
        self,
        item: Tensor,
        fields: Tensor,
        fields_mask: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        repeated = ops.broadcast_to(item[:, None], (*ops.shape(fields)[:2], item.shape[-1]))
        pairs = ops.concatenate([repeated, fields], axis=-1)
        weights = self.attention(pairs, mask=fields_mask)
        summed = ops.sum(weights[:, :, None] * fields, axis=1)
        # sum_j a_j [e_i; e_j] = [e_i; sum_j a_j e_j], as the weights of a row sum to 1.
        output = ops.concatenate([item, summed], axis=-1)
        return (output, weights) if return_attention_scores else output

    def compute_output_shape(self, item_shape: Shape, fields_shape: Shape) -> Shape:
        return (item_shape[0], item_shape[-1] + fields_shape[-1])

    def compute_output_spec(
        self,
        item: Tensor,
        fields: Tensor,
        fields_mask: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del fields_mask
        return _output_spec(self, item, fields, return_attention_scores)


@keras.saving.register_keras_serializable(package="ctr_keras")
class ItemBehaviorInteraction(PoolingLayer):
    """Item-behaviors interactive module (IBIM).

    A Transformer block turns behaviours `e_t` into `h_t`; then as `ItemFieldInteraction`, with one
    `W` and `b` for all times: `R = [e_i; sum_t a_t h_t]`.

    Padding has no influence. A row without any behaviour keeps `e_i` and zeros.

    Args:
        transformer: str. `"pre"` or `"post"` for the place of its normalization, or `"none"`:
            `h_t = e_t`. Defaults to `"pre"`.
        heads, hidden, dropout, positions, final_normalization: as in `TransformerBlock`.
        weights_per_step: bool. Whether each place of the history has its own `W` and `b`, as
            Equation 8 prints them; place 0 is then the oldest behaviour. Defaults to `False`.
        temperature: float. Of the softmax over behaviours. Defaults to `1.0`.
        kernel_initializer: initializer of all kernels. Defaults to `None`: truncated normal with
            standard deviation 0.02.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        item: tensor of the item's embedding.
        behaviors: tensor of the behaviours' embeddings.
        behaviors_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.
        training: bool. Whether dropout is on.
        return_attention_scores: bool. Whether to return the weights `a` as well.

    Input shape:
        `(batch, item_dim)` and `(batch, length, dim)`.

    Output shape:
        `(batch, item_dim + dim)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the weights
        `(batch, length)`.

    Example:

    >>> import numpy as np
    >>> item, history = np.ones((2, 8), "float32"), np.ones((2, 30, 8), "float32")
    >>> tuple(ItemBehaviorInteraction(heads=2)(item, history).shape)
    (2, 16)

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 3 to 9.
    """

    def __init__(
        self,
        transformer: str = "pre",
        heads: int = 8,
        hidden: int | None = None,
        *,
        dropout: float = 0.0,
        positions: bool = False,
        final_normalization: bool = False,
        weights_per_step: bool = False,
        temperature: float = 1.0,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("transformer", transformer, _TRANSFORMERS)
        self.transformer = transformer
        self.heads = heads
        self.hidden = hidden
        self.dropout = dropout
        self.positions = positions
        self.final_normalization = final_normalization
        self.weights_per_step = weights_per_step
        self.temperature = temperature
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, item_shape: Shape, behaviors_shape: Shape) -> None:
        _check_shapes(item_shape, behaviors_shape)
        common = {
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "dtype": self.dtype_policy,
        }
        if self.transformer != "none":
            self.block = TransformerBlock(
                self.heads,
                self.hidden,
                normalization=self.transformer,
                dropout=self.dropout,
                positions=self.positions,
                final_normalization=self.final_normalization,
                name="transformer",
                **common,
            )
            self.block.build(behaviors_shape)
        self.interaction = ItemFieldInteraction(
            not self.weights_per_step, temperature=self.temperature, name="interaction", **common
        )
        self.interaction.build(item_shape, behaviors_shape)

    def call(
        self,
        item: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        if self.transformer != "none":
            behaviors = self.block(behaviors, mask=behaviors_mask, training=training)
        return self.interaction(
            item,
            behaviors,
            fields_mask=behaviors_mask,
            return_attention_scores=return_attention_scores,
        )

    def compute_output_shape(self, item_shape: Shape, behaviors_shape: Shape) -> Shape:
        return (item_shape[0], item_shape[-1] + behaviors_shape[-1])

    def compute_output_spec(
        self,
        item: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del behaviors_mask, training
        return _output_spec(self, item, behaviors, return_attention_scores)


def _check_shapes(item_shape: Shape, others_shape: Shape) -> None:
    is_right = len(item_shape) == 2 and len(others_shape) == 3
    if not is_right or item_shape[-1] is None or others_shape[-1] is None:
        raise ValueError(
            "inputs must be an item (batch, dim) and others (batch, count, dim). "
            f"Received: {item_shape} and {others_shape}"
        )


def _output_spec(
    layer: keras.layers.Layer, item: Tensor, others: Tensor, return_attention_scores: bool
) -> Tensor:
    shape = layer.compute_output_shape(item.shape, others.shape)
    output = keras.KerasTensor(shape, layer.compute_dtype)
    weights = keras.KerasTensor(others.shape[:2], layer.compute_dtype)
    return (output, weights) if return_attention_scores else output
