"""DIEN's parts: a GRU whose updates attention scales, and the loss that teaches states."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, PoolingLayer
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class AUGRU(PoolingLayer):
    """A GRU whose update gate is scaled by a score: what does not matter leaves the state alone.

    With `u_t` and `r_t` sigmoids of linear functions of `x_t` and `h_{t-1}`, and a score `a_t`:

    - `c_t = tanh(W x_t + b + r_t * (U h_{t-1}))`
    - `h_t = (1 - a_t u_t) * h_{t-1} + a_t u_t * c_t`

    The output is the last state. A masked step leaves the state as it is, a row without any step
    has zeros.

    Args:
        units: int. Width of the state.
        kernel_initializer: initializer of the inputs' kernel. Defaults to `"glorot_uniform"`.
        recurrent_initializer: initializer of the state's kernel. Defaults to `"orthogonal"`.
        kernel_regularizer: regularizer of both. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of steps, the oldest first.
        scores: tensor of a score for each step, between 0 and 1.
        inputs_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.

    Input shape:
        `(batch, length, dim)` and `(batch, length)`.

    Output shape:
        `(batch, units)`.

    Example:

    >>> import numpy as np
    >>> steps, scores = np.ones((2, 30, 8), "float32"), np.ones((2, 30), "float32")
    >>> tuple(AUGRU(4)(steps, scores).shape)
    (2, 4)

    References:
        [DIEN](https://arxiv.org/abs/1809.03672), Section 4.3, Equations 2 to 5, 15 and 16.
    """

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units}")
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, inputs_shape: Shape, scores_shape: Shape) -> None:
        is_right = len(inputs_shape) == 3 and len(scores_shape) == 2
        if not is_right or inputs_shape[-1] is None:
            raise ValueError(
                "inputs must be steps (batch, length, dim) and scores (batch, length). "
                f"Received: {inputs_shape} and {scores_shape}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs_shape[-1], 3 * self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.add_weight(name="bias", shape=(3 * self.units,), initializer="zeros")
        cell = _AUGRUCell(
            self.units, self.recurrent_initializer, self.kernel_regularizer, self.dtype_policy
        )
        self.recurrent = keras.layers.RNN(cell, dtype=self.dtype_policy, name="recurrent")
        self.recurrent.build((*inputs_shape[:2], 3 * self.units + 1))

    def call(self, inputs: Tensor, scores: Tensor, inputs_mask: Tensor | None = None) -> Tensor:
        kernel, bias = (ops.cast(w, self.compute_dtype) for w in (self.kernel, self.bias))
        from_inputs = ops.matmul(inputs, kernel) + bias  # of all steps at once
        steps = ops.concatenate([from_inputs, scores[:, :, None]], axis=-1)
        return self.recurrent(steps, mask=inputs_mask)

    def compute_output_shape(self, inputs_shape: Shape, scores_shape: Shape) -> Shape:
        del scores_shape
        return (inputs_shape[0], self.units)


class _AUGRUCell(keras.layers.Layer):
    """One step from what its input gives to each gate, and its score, side by side."""

    def __init__(
        self, units: int, initializer: Initializer, regularizer: Regularizer, dtype: Any
    ) -> None:
        super().__init__(dtype=dtype, name="cell")
        self.state_size = units
        self.initializer = initializer
        self.regularizer = regularizer

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.state_size, 3 * self.state_size),
            initializer=self.initializer,
            regularizer=self.regularizer,
        )

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        state = states[0]
        kernel = ops.cast(self.kernel, self.compute_dtype)
        ends = [self.state_size, 2 * self.state_size, 3 * self.state_size]
        *of_input, score = ops.split(inputs, ends, axis=-1)
        of_state = ops.split(ops.matmul(state, kernel), 3, axis=-1)
        update, reset = (ops.sigmoid(of_input[gate] + of_state[gate]) for gate in (0, 1))
        changed = ops.tanh(of_input[2] + reset * of_state[2])
        state = state + score * update * (changed - state)
        return state, [state]


@keras.saving.register_keras_serializable(package="ctr_keras")
class NextBehaviorLoss(ConfiguredLayer):
    """Teaches states what comes next: DIEN's auxiliary loss. The output is the states.

    In training, each state `h_t` is to tell the behaviour that follows, `e_{t+1}`, from another:

    `weight * -mean_t [log sigmoid(<h_t, e_{t+1}>) + log sigmoid(-<h_t, n_{t+1}>)]`

    The negative `n` is the behaviour at the same place of the row before in the batch. Rows are
    shuffled, so that it is some other row's, drawn as often as it is clicked, and nothing need be
    drawn or looked up. Steps count where there is a next behaviour, and of negatives where the
    other row has one.

    The gradient alone is added: the loss that `fit` reports is that of the scores, so that it
    compares with that of validation.

    Args:
        weight: float. Factor of the loss. Defaults to `1.0`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        states: tensor of a state after each behaviour.
        behaviors: tensor of the behaviours' embeddings, the oldest first.
        behaviors_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.
        training: bool. Whether the loss is added.

    Input shape:
        `(batch, length, dim)`, both.

    Output shape:
        `(batch, length, dim)`.

    Example:

    >>> import numpy as np
    >>> states = np.ones((2, 30, 8), "float32")
    >>> tuple(NextBehaviorLoss()(states, states).shape)
    (2, 30, 8)

    References:
        [DIEN](https://arxiv.org/abs/1809.03672), Section 4.2, Equations 6 and 7, with the next
        behaviour of another row for a negative that is drawn from all items.
    """

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if weight < 0:
            raise ValueError(f"weight must not be negative. Received: {weight}")
        self.weight = weight
        self.supports_masking = True

    def build(self, states_shape: Shape, behaviors_shape: Shape) -> None:
        if len(states_shape) != 3 or tuple(states_shape) != tuple(behaviors_shape):
            raise ValueError(
                "states and behaviours must both be (batch, length, dim). "
                f"Received: {states_shape} and {behaviors_shape}"
            )

    def call(
        self,
        states: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        if training and self.weight:
            loss = self.weight * self.loss(states, behaviors, behaviors_mask)
            self.add_loss(loss - ops.stop_gradient(loss))
        return states

    def loss(self, states: Tensor, behaviors: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of a batch before its weight, a number."""
        dtype = keras.backend.result_type(states.dtype, "float32")
        if mask is None:
            mask = ops.ones(ops.shape(behaviors)[:2])
        has_next = ops.cast(mask, dtype)[:, 1:]
        before = ops.cast(states, dtype)[:, :-1]
        following = ops.cast(behaviors, dtype)[:, 1:]
        others = ops.roll(following, 1, axis=0)
        has_other = has_next * ops.roll(has_next, 1, axis=0)
        of_next = ops.log_sigmoid(ops.sum(before * following, axis=-1))
        of_other = ops.log_sigmoid(-ops.sum(before * others, axis=-1))
        return -_mean(of_next, has_next) - _mean(of_other, has_other)

    def compute_output_shape(self, states_shape: Shape, behaviors_shape: Shape) -> Shape:
        del behaviors_shape
        return states_shape


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1)
