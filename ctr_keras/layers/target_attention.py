"""DIN's attention: a network weighs each behaviour next to the candidate."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_choice, dense_inside
from ctr_keras.layers.dice import Dice
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_WEIGHTINGS = ("linear", "sigmoid", "softmax")


@keras.saving.register_keras_serializable(package="ctr_keras")
class TargetAttention(PoolingLayer):
    """The sum of behaviours, each weighed by what it is to the candidate.

    `a_t = MLP([q, k_t, q - k_t, q * k_t])` and `output = sum_t a_t k_t`. The scores are weights as
    they are, without a softmax: their sum tells how much of the history is about the candidate.

    A masked behaviour has weight 0; a row without any gives zeros.

    Args:
        hidden: list of int. Widths of the network's layers. Defaults to `(80, 40)`.
        activation: str. Of these layers: `"dice"` (see `Dice`) or one of Keras. Defaults to
            `"dice"`.
        weighting: str. What makes weights of scores: `"linear"`, `"sigmoid"`, or `"softmax"` over
            the behaviours. Defaults to `"linear"`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        candidate: tensor of the candidate's embedding, `q`.
        behaviors: tensor of the behaviours' embeddings, `k`.
        behaviors_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.
        training: bool. Whether `Dice` normalizes by the batch.
        return_attention_scores: bool. Whether to return the weights `a` as well.

    Input shape:
        `(batch, dim)` and `(batch, length, dim)`.

    Output shape:
        `(batch, dim)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the weights
        `(batch, length)`.

    Example:

    >>> import numpy as np
    >>> candidate, history = np.ones((2, 8), "float32"), np.ones((2, 30, 8), "float32")
    >>> tuple(TargetAttention()(candidate, history).shape)
    (2, 8)

    References:
        [DIN](https://arxiv.org/abs/1706.06978), Section 4.3, Equation 3; the products of the
        network's input as in the authors' code.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (80, 40),
        activation: str = "dice",
        weighting: str = "linear",
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("weighting", weighting, _WEIGHTINGS)
        if activation != "dice":
            keras.activations.get(activation)
        self.hidden = tuple(hidden)
        self.activation = activation
        self.weighting = weighting
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, candidate_shape: Shape, behaviors_shape: Shape) -> None:
        check_behaviors(candidate_shape, behaviors_shape)
        shape = (*behaviors_shape[:2], 4 * behaviors_shape[-1])
        blocks = []
        for index, units in enumerate(self.hidden):
            dense = dense_inside(self, units, f"dense_{index}", shape)
            shape = (*shape[:2], units)
            activation = self._activation(f"activation_{index}")
            activation.build(shape)
            blocks.append((dense, activation))
        self.blocks = tuple(blocks)
        # A softmax takes what is added to all scores away again.
        use_bias = self.weighting != "softmax"
        self.score = dense_inside(self, 1, "score", shape, use_bias=use_bias)

    def _activation(self, name: str) -> keras.layers.Layer:
        if self.activation == "dice":
            return Dice(dtype=self.dtype_policy, name=name)
        return keras.layers.Activation(self.activation, dtype=self.dtype_policy, name=name)

    def call(
        self,
        candidate: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        repeated = ops.broadcast_to(candidate[:, None], ops.shape(behaviors))
        hidden = ops.concatenate(
            [repeated, behaviors, repeated - behaviors, repeated * behaviors], axis=-1
        )
        for dense, activation in self.blocks:
            hidden = dense(hidden)
            if isinstance(activation, Dice):
                hidden = activation(hidden, mask=behaviors_mask, training=training)
            else:
                hidden = activation(hidden)
        weights = self._weights(self.score(hidden)[..., 0], behaviors_mask)
        output = ops.matmul(weights[:, None], behaviors)[:, 0]
        return (output, weights) if return_attention_scores else output

    def _weights(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        if self.weighting == "sigmoid":
            scores = ops.sigmoid(scores)
        elif self.weighting == "softmax":
            wide = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
            if mask is not None:
                wide = ops.where(ops.cast(mask, "bool"), wide, -1e9)
            scores = ops.cast(ops.softmax(wide), scores.dtype)
        return scores if mask is None else scores * ops.cast(mask, scores.dtype)

    def compute_output_shape(self, candidate_shape: Shape, behaviors_shape: Shape) -> Shape:
        del behaviors_shape
        return candidate_shape

    def compute_output_spec(
        self,
        candidate: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del behaviors_mask, training
        output = keras.KerasTensor(candidate.shape, self.compute_dtype)
        weights = keras.KerasTensor(behaviors.shape[:2], self.compute_dtype)
        return (output, weights) if return_attention_scores else output


def check_behaviors(candidate_shape: Shape, behaviors_shape: Shape) -> None:
    """Checks that a candidate and behaviours are vectors of one width."""
    is_right = len(candidate_shape) == 2 and len(behaviors_shape) == 3
    if not is_right or candidate_shape[-1] is None or candidate_shape[-1] != behaviors_shape[-1]:
        raise ValueError(
            "inputs must be a candidate (batch, dim) and behaviours (batch, length, dim). "
            f"Received: {candidate_shape} and {behaviors_shape}"
        )
