"""The candidates of `rank`: a user and many items as rows for a model."""

import functools
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence, Set

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
        self._items = sorted(item_columns)
        varying = {f.name: bool(_columns(features, f) & item_columns) for f in features.features}
        # What a pair of a user's and an item's column reads has to be there in every row.
        crossed = [_columns(features, f) for f in features.crossed if varying[f.name]]
        self._repeated = frozenset().union(*crossed)
        users = sorted(set(self._kinds) - set(item_columns))
        self._users = _grouped(users, lambda name: (self._kinds[name], name in self._repeated))
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
        of_users: Tensors = {}
        for names in self._users:
            of_users |= zip(names, self._filled(raw, names, shape), strict=True)
        return items | of_users

    def _filled(self, raw: Tensors, names: list[str], shape: tf.Tensor) -> list[tf.Tensor]:
        """Columns of one kind of the users' side for all rows, at once: they are many."""
        users, count = _users(shape), shape[-1]
        values = _by_user([raw[name] for name in names], names, users)[:, :, tf.newaxis]
        if names[0] in self._repeated:
            rows = tf.repeat(values, count, axis=2)
        else:
            missing = tf.constant(MISSING[self._kinds[names[0]]])
            rows = tf.concat([values, tf.fill([len(names), users, count], missing)], axis=2)
            rows = rows[:, :, :count]
        columns: list[tf.Tensor] = tf.unstack(tf.reshape(rows, [len(names), users * count]))
        return columns

    def packed(self, first_filled: Tensors, shape: tf.Tensor) -> Tensors:
        """The packed inputs of all candidates."""
        count = shape[-1]
        first = tf.repeat(tf.range(_users(shape)) * count, count)
        return {
            name: tf.where(self._varies[name], values, tf.gather(values, first))
            for name, values in first_filled.items()
        }


def _grouped(names: Iterable[str], key: Callable[[str], Hashable]) -> list[list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return list(groups.values())


def _by_user(columns: Sequence[tf.Tensor], names: Sequence[str], users: tf.Tensor) -> tf.Tensor:
    """Columns of one value, or one a user, as `(columns, users)`."""
    sizes = tf.concat(tf.shape_n(columns), 0)
    fits = tf.logical_or(sizes == 1, sizes == users)
    wrong = tf.boolean_mask(tf.constant(names), tf.logical_not(fits))
    told = "rank takes one value for the user, or one for each user, in column "
    check = tf.debugging.Assert(tf.reduce_all(fits), [told, wrong])
    with tf.control_dependencies([check]):  # which says more than that there is no such place
        sizes = tf.identity(sizes)
    places = tf.minimum(tf.range(users), sizes[:, tf.newaxis] - 1)
    starts = tf.cumsum(sizes, exclusive=True)
    return tf.gather(tf.concat(columns, 0), starts[:, tf.newaxis] + places)


def _users(shape: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(shape[:-1])  # of nothing that is 1


def _columns(features: FeatureSet, feature: Feature) -> frozenset[str]:
    """The raw columns that a feature reads."""
    if isinstance(feature, Crossed):
        pair = (features[feature.first], features[feature.second])
        return frozenset().union(*(_columns(features, member) for member in pair))
    return frozenset([feature.raw_column])
