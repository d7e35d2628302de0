"""The candidates of `rank`: a user and many items as rows for a model."""

import functools
from collections.abc import Collection, Set

import tensorflow as tf

from ctr_keras.features import Crossed, Feature, FeatureSet
from serving.export.columns import MISSING

Tensors = dict[str, tf.Tensor]


def find_item_columns(features: FeatureSet, chosen: Collection[str] = ()) -> frozenset[str]:
    """The raw columns that differ from candidate to candidate; the others are the user's side.

    Args:
        features: FeatureSet.
        chosen: set of str. The columns, or none to take those that features of the group `item`
            read; without such features, all columns. Defaults to `()`.

    Raises:
        ValueError: for an unknown column, naming it.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> features = FeatureSet(
    ...     Categorical("user"), Categorical("movie", group="item"), label=Label("y")
    ... )
    >>> sorted(find_item_columns(features)), sorted(find_item_columns(features, ["user"]))
    (['movie'], ['user'])
    """
    unknown = sorted(set(chosen) - set(features.raw_columns))
    if unknown:
        raise ValueError(
            f"there is no column {', '.join(unknown)} to vary by item; "
            f"the model reads {', '.join(features.raw_columns)}"
        )
    members = [f for f in features.features if f.group == "item"]
    of_items = frozenset().union(*(_columns(features, f) for f in members))
    return frozenset(chosen or of_items or features.raw_columns)


class Candidates:
    """A user and many items as rows, so that the user's side is transformed once.

    The user's columns are filled in the user's first row only. What the transform makes of that
    row is then copied to the others. Several users follow one another, all with as many items.
    """

    def __init__(self, features: FeatureSet, item_columns: Set[str]):
        self._kinds = features.raw_columns
        self._users = sorted(set(self._kinds) - set(item_columns))
        self._items = sorted(item_columns)
        varying = {f.name: bool(_columns(features, f) & item_columns) for f in features.features}
        # What a pair of a user's and an item's column reads has to be there in every row.
        crossed = [_columns(features, f) for f in features.crossed if varying[f.name]]
        self._repeated = frozenset().union(*crossed)
        self._varies = {
            name: [varying[f.name] for f in members]
            for name, members in features.packed_features.items()
        }

    def shape(self, raw: Tensors) -> tf.Tensor:
        """The shape of the scores, (candidates,) or (users, candidates)."""
        shapes = [tf.shape(raw[name]) for name in self._items]
        return functools.reduce(tf.broadcast_dynamic_shape, shapes)

    def rows(self, raw: Tensors, shape: tf.Tensor) -> Tensors:
        """The raw columns of all candidates, the users' missing but in their first rows."""
        items = {n: tf.reshape(tf.broadcast_to(raw[n], shape), [-1]) for n in self._items}
        return items | {name: self._filled(name, raw[name], shape) for name in self._users}

    def _filled(self, name: str, value: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        users, count = _users(shape), shape[-1]
        fits = tf.debugging.Assert(
            tf.reduce_any(tf.size(value) == [1, users]),
            [f"rank takes one value for the user in column {name}, or one for each user"],
        )
        with tf.control_dependencies([fits]):  # which says more than that shapes differ
            value = tf.broadcast_to(value, [users])[:, tf.newaxis]
        if name in self._repeated:
            rows = tf.repeat(value, count, axis=1)
        else:
            missing = tf.fill([users, count], tf.constant(MISSING[self._kinds[name]]))
            rows = tf.concat([value, missing], axis=1)[:, :count]
        return tf.reshape(rows, [-1])

    def packed(self, first_filled: Tensors, shape: tf.Tensor) -> Tensors:
        """The packed inputs of all candidates."""
        count = shape[-1]
        first = tf.repeat(tf.range(_users(shape)) * count, count)
        return {
            name: tf.where(self._varies[name], values, tf.gather(values, first))
            for name, values in first_filled.items()
        }


def _users(shape: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(shape[:-1])  # of nothing that is 1


def _columns(features: FeatureSet, feature: Feature) -> frozenset[str]:
    """The raw columns that a feature reads."""
    if isinstance(feature, Crossed):
        pair = (features[feature.first], features[feature.second])
        return frozenset().union(*(_columns(features, member) for member in pair))
    return frozenset([feature.raw_column])
