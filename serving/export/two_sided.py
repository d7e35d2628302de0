"""A model on rows that have the user's fields in common, as the candidates of `rank`: once a user.

The graph of the model is run layer by layer. Embeddings are `Fields`: vectors of the user's fields,
one row a user, and of the items', one a candidate. They stay apart as long as layers can do with
that: an FM adds up the sums of both, a tower the products of both with its first kernel. All other
layers get them put together.
"""

import dataclasses
from collections.abc import Callable, Set
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ctr_keras.keras_internals import run_graph
from ctr_keras.layers import MLP, FactorizationMachine, FieldEmbedding, LinearLogit

Tensors = dict[str, tf.Tensor]


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
        is_plain = all(value is None for value in named.values())  # such as no mask
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
        joined = tf.concat([user, value.items], axis=1)
        order = np.argsort(value.of_items, kind="stable")  # of the model's fields, there
        fields = tf.gather(joined, np.argsort(order), axis=1)
        if not value.is_flat:
            return fields
        return tf.reshape(fields, [-1, len(value.of_items) * fields.shape[-1]])

    def _added(self, user: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """(rows, width) of (users, width) and (rows, width)."""
        width = items.shape[-1]
        added = user[:, tf.newaxis] + tf.reshape(items, [tf.shape(user)[0], self._count, width])
        return tf.reshape(added, [-1, width])

    def embedding(self, layer: FieldEmbedding, inputs: Tensors) -> Fields | None:
        names = layer.field_names
        of_items = [name in self._items for name in names]
        if not layer.can_be_parted or len({*of_items}) == 1:
            return None
        step = tf.maximum(self._count, 1)  # where there is none, there is no first one
        first = {name: of[::step] for name, of in inputs.items()}
        user, items = (
            [name for name, of_item in zip(names, of_items, strict=True) if of_item == wanted]
            for wanted in (False, True)
        )
        vectors = layer.part(user).call(first), layer.part(items).call(inputs)
        return Fields(*vectors, of_items)

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


_APART: dict[type, Callable[..., Any]] = {
    FieldEmbedding: _Layers.embedding,
    LinearLogit: _Layers.linear,
    FactorizationMachine: _Layers.interactions,
    keras.layers.Flatten: _Layers.flat,
    keras.layers.Dropout: _Layers.dropped,
    MLP: _Layers.tower,
}
