"""A model on rows that have the user's fields in common, as the candidates of `rank`: once a user.

The graph of the model is run layer by layer. Embeddings are `Fields`: vectors of the user's fields,
one row a user, and of the items', one a candidate. They stay apart as long as layers can do with
that: an FM adds up the sums of both, a tower the products of both with its first kernel, and where
fields attend to each other what is of the user's alone is one more key. All other layers get them
put together.
"""

import dataclasses
from collections.abc import Callable, Set
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ctr_keras.keras_internals import run_graph
from ctr_keras.layers import (
    MLP,
    FactorizationMachine,
    FieldEmbedding,
    InteractingLayer,
    LinearLogit,
)

Tensors = dict[str, tf.Tensor]
Head = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # query, key and value


@dataclasses.dataclass(frozen=True)
class Fields:
    """Vectors of fields: of a user's, `(users, fields, dim)`, and of items, `(rows, fields, dim)`.

    Attributes:
        user, items: tensor.
        of_items: list of bool, a field each, in the order of the model.
        is_flat: bool. Whether they stand for `(rows, all fields * dim)`.
    """

    user: tf.Tensor
    items: tf.Tensor
    of_items: list[bool]
    is_flat: bool = False


def call_by_sides(
    model: keras.Model, packed: Tensors, items: Set[str], count: tf.Tensor
) -> tf.Tensor:
    """The output of a model for rows, of which so many at a time are of one user.

    Args:
        model: keras.Model on packed inputs.
        packed: dict. The packed inputs, `(rows, width)`.
        items: set of str. The fields that vary by item; rows of a user have all others in common.
        count: scalar int32 tensor. Rows of a user.
    """
    return run_graph(model, packed, _Layers(items, count).call)


class _Layers:
    """What layers make of fields that are apart."""

    def __init__(self, items: Set[str], count: tf.Tensor):
        self._items, self._count = items, count

    def call(self, layer: Any, *arguments: Any, **named: Any) -> Any:
        apart = _APART.get(type(layer))
        is_plain = all(value is None or value is False for value in named.values())  # no mask
        if apart and is_plain and layer.compute_dtype == "float32":
            found = apart(self, layer, *arguments)
            if found is not None:
                return found
        arguments, named = keras.tree.map_structure(self._together, (arguments, named))
        return layer(*arguments, **named)

    def _together(self, value: Any) -> Any:
        if not isinstance(value, Fields):
            return value
        user = tf.repeat(value.user, self._count, axis=0)
        fields = _in_order(tf.concat([user, value.items], axis=1), value.of_items)
        if not value.is_flat:
            return fields
        return tf.reshape(fields, [-1, len(value.of_items) * fields.shape[-1]])

    def _added(self, user: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """(rows, ...) of (users, ...) and (rows, ...)."""
        shape = items.shape[1:]
        added = user[:, tf.newaxis] + tf.reshape(items, [tf.shape(user)[0], self._count, *shape])
        return tf.reshape(added, [-1, *shape])

    def embedding(self, layer: FieldEmbedding, inputs: Tensors) -> Fields | None:
        names = layer.field_names
        of_items = [name in self._items for name in names]
        if not layer.can_be_parted or len({*of_items}) == 1:
            return None
        step = tf.maximum(self._count, 1)  # where there is none, there is no first one
        first = {name: of[::step] for name, of in inputs.items()}
        vectors = []
        for side, wanted in ((first, False), (inputs, True)):
            part = [n for n, of_item in zip(names, of_items, strict=True) if of_item == wanted]
            shape = [None, len(part), layer.dim]  # which graphs do not know
            vectors.append(tf.ensure_shape(layer.part(part).call(side), shape))
        user, item = vectors
        return Fields(user, item, of_items)

    def linear(self, layer: LinearLogit, inputs: Tensors) -> tf.Tensor | None:
        weights = self.embedding(layer.weighting, inputs)
        if weights is None:
            return None
        logit = self._added(*(tf.reduce_sum(of, 1) for of in (weights.user, weights.items)))
        return logit + layer.bias if layer.use_bias else logit

    def interactions(self, layer: FactorizationMachine, fields: Any) -> tf.Tensor | None:
        if not isinstance(fields, Fields):
            return None
        sides = (layer.power_sums(side) for side in (fields.user, fields.items))
        return layer.of_power_sums([self._added(*sums) for sums in zip(*sides, strict=True)])

    def attention(self, layer: InteractingLayer, fields: Any) -> tf.Tensor | None:
        is_apart = isinstance(fields, Fields) and not fields.is_flat
        if not is_apart or layer.check_ids or layer.query.quantization_mode is not None:
            return None
        sides = (layer.heads_of(fields.user), layer.heads_of(fields.items))
        heads = [self._attended(layer, *of_sides) for of_sides in zip(*sides, strict=True)]
        user, items = (tf.concat(of_side, -1) for of_side in zip(*heads, strict=True))
        if layer.residual != "none":
            user = self._added(layer.residual_of(fields.user), user)
            items = items + layer.residual_of(fields.items)
        output = layer.finished(tf.concat([user, items], axis=1))
        return _in_order(output, fields.of_items)

    def _attended(
        self, layer: InteractingLayer, user: Head, items: Head
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What a head gives for fields of users and of items, `(rows, fields, head_dim)` each.

        To a user's field, all of the user's fields are one key next to those of the items, whose
        weight is the sum of theirs and whose value is what they have among themselves.
        """
        (query, key, value), (item_query, item_key, item_value) = user, items
        users, fields = tf.shape(query)[0], query.shape[1]

        def of_user(vectors: tf.Tensor) -> tf.Tensor:  # (users, all their candidates' fields, ...)
            return tf.reshape(vectors, [users, -1, vectors.shape[-1]])

        def of_rows(vectors: tf.Tensor) -> tf.Tensor:
            return tf.reshape(vectors, [-1, item_key.shape[1], vectors.shape[-1]])

        among = layer.logits(query, key)
        alone = tf.nn.softmax(among) @ value
        largest = tf.reduce_max(among, -1, keepdims=True)
        total = tf.reduce_sum(tf.exp(among - largest), -1)
        largest, total = (
            tf.repeat(tf.reshape(of, [users, 1, fields]), self._count, axis=0)
            for of in (largest, total)
        )
        logits = of_rows(layer.logits(of_user(item_key), query))
        # Of sums of exponentials rather than of their logarithms, which would be less exact.
        top = tf.maximum(largest, tf.reduce_max(logits, 1, keepdims=True))
        weights = tf.concat([total * tf.exp(largest - top), tf.exp(logits - top)], axis=1)
        weights /= tf.reduce_sum(weights, 1, keepdims=True)
        shares = tf.reshape(weights[:, 0], [users, self._count, fields, 1])
        own = tf.reshape(shares * alone[:, tf.newaxis], [-1, fields, layer.head_dim])
        user_output = own + tf.matmul(weights[:, 1:], item_value, transpose_a=True)

        logits = [
            of_rows(layer.logits(of_user(item_query), key)),
            layer.logits(item_query, item_key),
        ]
        weights = tf.nn.softmax(tf.concat(logits, -1))
        own = of_rows(of_user(weights[:, :, :fields]) @ value)
        return user_output, own + weights[:, :, fields:] @ item_value

    def flat(self, layer: keras.layers.Flatten, fields: Any) -> Fields | None:
        return dataclasses.replace(fields, is_flat=True) if isinstance(fields, Fields) else None

    def dropped(self, layer: keras.layers.Dropout, fields: Any) -> Fields | None:
        return fields if isinstance(fields, Fields) else None

    def tower(self, layer: MLP, fields: Any) -> tf.Tensor | None:
        dense = layer.blocks[0]
        is_apart = isinstance(fields, Fields) and fields.is_flat
        if not is_apart or layer.check_ids or dense.quantization_mode is not None:
            return None
        dim = fields.items.shape[-1]
        kernel = tf.reshape(dense.kernel, [len(fields.of_items), dim, dense.units])
        products = (
            tf.reshape(side, [-1, len(places) * dim])
            @ tf.reshape(tf.gather(kernel, places), [len(places) * dim, dense.units])
            for side, places in (
                (fields.user, np.flatnonzero(~np.array(fields.of_items))),
                (fields.items, np.flatnonzero(fields.of_items)),
            )
        )
        product = self._added(*products)
        return layer.after_first(product + dense.bias if dense.use_bias else product)


def _in_order(fields: tf.Tensor, of_items: list[bool]) -> tf.Tensor:
    """Fields of users and, after them, of items in the order of the model."""
    places = np.argsort(of_items, kind="stable")  # of the model's fields, there
    return tf.gather(fields, np.argsort(places), axis=1)


_APART: dict[type, Callable[..., Any]] = {
    FieldEmbedding: _Layers.embedding,
    LinearLogit: _Layers.linear,
    FactorizationMachine: _Layers.interactions,
    InteractingLayer: _Layers.attention,
    keras.layers.Flatten: _Layers.flat,
    keras.layers.Dropout: _Layers.dropped,
    MLP: _Layers.tower,
}
