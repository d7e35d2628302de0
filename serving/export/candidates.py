"""The candidates of `rank`: a user and many items as rows for a model."""

import collections
import functools
from collections.abc import Collection, Sequence, Set

import tensorflow as tf

from ctr_keras.features import Crossed, Feature, FeatureSet

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
    """A user and many items as columns, of which the transform takes the user's as one value.

    Several users follow one another, all with as many items; theirs are repeated for the items.

    Attributes:
        varying: set of str. The features that vary by item.
    """

    def __init__(self, features: FeatureSet, item_columns: Set[str]):
        self.varying = frozenset(
            f.name for f in features.features if _columns(features, f) & item_columns
        )
        self._items = sorted(item_columns)
        self._users: dict[str, list[str]] = collections.defaultdict(list)
        for name, kind in features.raw_columns.items():
            if name not in item_columns:
                self._users[kind].append(name)

    def shape(self, raw: Tensors) -> tf.Tensor:
        """The shape of the scores, (candidates,) or (users, candidates)."""
        shapes = [tf.shape(raw[name]) for name in self._items]
        return functools.reduce(tf.broadcast_dynamic_shape, shapes)

    def columns(self, raw: Tensors, shape: tf.Tensor) -> Tensors:
        """The raw columns of all candidates, in one dimension; those of one user have one value."""
        columns = {n: tf.reshape(tf.broadcast_to(raw[n], shape), [-1]) for n in self._items}
        users = tf.reduce_prod(shape[:-1])  # of nothing that is 1
        times = tf.where(users == 1, 1, shape[-1])
        for names in self._users.values():
            values = _by_user([raw[name] for name in names], names, users)[:, :, tf.newaxis]
            repeated = tf.broadcast_to(values, [len(names), users, times])
            rows = tf.reshape(repeated, [len(names), users * times])
            columns |= zip(names, tf.unstack(rows, num=len(names)), strict=True)
        return columns


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


def _columns(features: FeatureSet, feature: Feature) -> frozenset[str]:
    """The raw columns that a feature reads."""
    if isinstance(feature, Crossed):
        pair = (features[feature.first], features[feature.second])
        return frozenset().union(*(_columns(features, member) for member in pair))
    return frozenset([feature.raw_column])
