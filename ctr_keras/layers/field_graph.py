"""Fi-GNN's graph of fields: what they say to each other, and how much each is believed."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import (
    ConfiguredLayer,
    PoolingLayer,
    check_fields,
    dense_inside,
    exact_softmax,
)
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldGraph(ConfiguredLayer):
    """Passes messages between fields, the nodes of a full graph, some steps long.

    An edge weighs `w_ij = softmax_{j != i}(leaky_relu(<u, e_i> + <v, e_j>))`. In a step,
    with states `h` that start as the embeddings `e`:

    - `a_i = P_i sum_j w_ij Q_j h_j + b`, with matrices `P`, `Q` of each field and step
    - `h_i = GRU(a_i, h_i) + e_i`, or `a_i + h_i + e_i` without recurrence

    Args:
        steps: int. Defaults to `3`.
        recurrent: bool. Whether states are updated by a GRU, the same for all fields and steps.
            Defaults to `True`.
        kernel_initializer: initializer of `u`, `v` and the GRU. `P` and `Q` are drawn so that the
            variance stays. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        return_attention_scores: bool. Whether to return the weights of edges as well.

    Input shape:
        `(batch, fields, dim)`, of at least two fields.

    Output shape:
        `(batch, fields, dim)`.

    Returns:
        The states, or with `return_attention_scores=True` the states and the weights
        `(batch, fields, fields)`, whose last axis sums to 1 and whose diagonal is 0.

    Example:

    >>> import numpy as np
    >>> fields = np.ones((2, 3, 4), "float32")
    >>> states, edges = FieldGraph()(fields, return_attention_scores=True)
    >>> tuple(states.shape), np.array(edges[0]).tolist()
    ((2, 3, 4), [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])

    References:
        [Fi-GNN](https://arxiv.org/abs/1910.05552), Section 3.3.
    """

    def __init__(
        self,
        steps: int = 3,
        *,
        recurrent: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if steps < 1:
            raise ValueError(f"steps must be at least 1. Received: {steps}")
        self.steps = steps
        self.recurrent = recurrent
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape, at_least=2)
        _, fields, dim = input_shape
        self.from_field, self.to_field = (
            dense_inside(self, 1, name, input_shape, use_bias=False) for name in ("from", "to")
        )
        bound = (3 / dim) ** 0.5
        matrices = {
            "shape": (self.steps, fields, dim, dim),
            "regularizer": self.kernel_regularizer,
        }
        self.sent, self.received = (
            self.add_weight(
                name=name, initializer=keras.initializers.RandomUniform(-bound, bound), **matrices
            )
            for name in ("sent", "received")
        )
        self.bias = self.add_weight(name="bias", shape=(self.steps, dim), initializer="zeros")
        if self.recurrent:
            self.cell = keras.layers.GRUCell(
                dim,
                kernel_initializer=self.kernel_initializer.clone(),
                kernel_regularizer=self.kernel_regularizer,
                recurrent_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name="cell",
            )
            self.cell.build((None, dim))

    def call(self, inputs: Tensor, return_attention_scores: bool = False) -> Tensor:
        edges = self._edges(inputs)
        sent, received, bias = (
            ops.cast(weight, inputs.dtype) for weight in (self.sent, self.received, self.bias)
        )
        states = inputs
        for step in range(self.steps):
            messages = ops.einsum("bfd,fde->bfe", states, sent[step])
            messages = ops.matmul(edges, messages)
            messages = ops.einsum("bfd,fde->bfe", messages, received[step]) + bias[step]
            states = self._updated(states, messages) + inputs
        return (states, edges) if return_attention_scores else states

    def _edges(self, inputs: Tensor) -> Tensor:
        to = ops.reshape(self.to_field(inputs), (-1, 1, inputs.shape[1]))
        scores = self.from_field(inputs) + to
        scores = ops.leaky_relu(scores, 0.01)
        itself = np.eye(inputs.shape[1], dtype=bool)
        return exact_softmax(ops.where(itself, ops.cast(-1e4, scores.dtype), scores))

    def _updated(self, states: Tensor, messages: Tensor) -> Tensor:
        if not self.recurrent:
            return states + messages
        _, fields, dim = states.shape
        old, new = (ops.reshape(each, (-1, dim)) for each in (states, messages))
        return ops.reshape(self.cell(new, [old])[0], (-1, fields, dim))

    def compute_output_shape(
        self, input_shape: Shape, return_attention_scores: bool = False
    ) -> Shape | tuple[Shape, Shape]:
        edges = (*input_shape[:2], input_shape[1])
        return (input_shape, edges) if return_attention_scores else input_shape

    def compute_output_spec(self, inputs: Tensor, return_attention_scores: bool = False) -> Tensor:
        shapes = self.compute_output_shape(inputs.shape, return_attention_scores)
        if return_attention_scores:
            return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)
        return keras.KerasTensor(shapes, self.compute_dtype)


@keras.saving.register_keras_serializable(package="ctr_keras")
class AttentionalLogit(PoolingLayer):
    """`sum_i sigmoid(<v_i, h>) <w, h_i> + b`: a vote of each field, and how much it counts.

    Args:
        kernel_initializer: initializer of `v` and `w`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `v` and `w`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of fields; `h` has all of them side by side.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, 1)`.

    Example:

    >>> import numpy as np
    >>> layer = AttentionalLogit(kernel_initializer="zeros")
    >>> np.array(layer(np.ones((1, 3, 2)))).tolist()
    [[0.0]]

    References:
        [Fi-GNN](https://arxiv.org/abs/1910.05552), Section 3.4.
    """

    def __init__(
        self,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        batch, fields, dim = input_shape
        self.votes = dense_inside(self, 1, "votes", input_shape, use_bias=False)
        self.counts = dense_inside(
            self, fields, "counts", (batch, fields * dim), use_bias=False, activation="sigmoid"
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        _, fields, dim = inputs.shape
        counts = self.counts(ops.reshape(inputs, (-1, fields * dim)))
        votes = self.votes(inputs)[:, :, 0]
        return ops.sum(counts * votes, axis=1, keepdims=True) + ops.cast(self.bias, votes.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 1)
