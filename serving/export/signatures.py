"""The signatures of an exported model, as functions of TensorFlow.

- `serving_default`: one input a raw column, (batch,) strings or floats; output `score`, (batch,).
- `rank`: the same inputs, where columns of the user's side have one value and those of the items
  one a candidate; output `score`, (candidates,). Or several users: columns of the items, and
  `score`, are (users, candidates) then. A server that batches wants this form, even for one user,
  as it joins requests along the first dimension, which must be of one length in all inputs.
- `explain`, of models with attention or gates: the inputs of `serving_default`; `score`, attention
  maps or gated terms, and the names along their axes.
- `serialized_examples`: `examples`, (batch,) serialized tf.train.Example; output `score`.
- `transform_features`: the inputs of `serving_default`; the packed model inputs, to look for skew.

A missing value is `""` in a string column and NaN in a float column, as TensorFlow Serving's JSON
has no null and wants every input in every row. Over gRPC an absent input, and in a tf.Example an
absent feature, mean the same.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ctr_keras.explain import Explainer
from ctr_keras.features import Crossed, Feature, FeatureSet

DTYPES = {"string": tf.string, "float": tf.float32}
KINDS = {dtype: kind for kind, dtype in DTYPES.items()}
MISSING = {"string": "", "float": float("nan")}

Tensors = dict[str, tf.Tensor]


def make_endpoints(
    model: keras.Model,
    features: FeatureSet,
    transform: Any,
    item_columns: Collection[str],
    explainer: Explainer,
) -> dict[str, Any]:
    """The functions to save, by the names of their signatures.

    Args:
        model: keras.Model on the packed inputs of `features`.
        features: FeatureSet.
        transform: the loaded transform graph of the prepared data.
        item_columns: set of str. Raw columns that differ from candidate to candidate.
        explainer: Explainer of the model.
    """
    columns = features.raw_columns
    parsing = {
        name: tf.io.FixedLenFeature([], DTYPES[kind], MISSING[kind])
        for name, kind in columns.items()
    }

    def transformed(raw: Tensors) -> Tensors:
        packed = transform.transform_fn(dict(raw))
        return {k: v if v.dtype == tf.float32 else tf.cast(v, tf.int32) for k, v in packed.items()}

    def scored(packed: Tensors) -> Tensors:
        return {"score": tf.squeeze(model(_inputs_of(model, packed), training=False), axis=1)}

    def explained(packed: Tensors) -> Tensors:
        outputs = explainer(_inputs_of(model, packed))
        outputs["score"] = tf.squeeze(outputs["score"], axis=1)
        rows = tf.size(outputs["score"])  # REST's row format wants outputs of one length
        names = {
            axis: tf.broadcast_to(tf.constant(along), [rows, len(along)])
            for axis, along in explainer.names.items()
        }
        return outputs | names

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serialized_examples(examples):
        return scored(transformed(tf.io.parse_example(examples, parsing)))

    candidates = Candidates(features, item_columns)

    def ranked(raw: Tensors) -> Tensors:
        shape = candidates.shape(raw)
        packed = candidates.packed(transformed(candidates.rows(raw, shape)), shape)
        return {"score": tf.reshape(scored(packed)["score"], shape)}

    endpoints = {
        "serving_default": _of_columns(columns, lambda raw: scored(transformed(same_length(raw)))),
        "rank": _of_columns(columns, ranked, of_any_rank=item_columns),
        "serialized_examples": serialized_examples,
        "transform_features": _of_columns(columns, lambda raw: transformed(same_length(raw))),
    }
    if explainer.axes:
        endpoints["explain"] = _of_columns(
            columns, lambda raw: explained(transformed(same_length(raw)))
        )
    return endpoints


def _of_columns(
    columns: Mapping[str, str],
    answer: Callable[[Tensors], Tensors],
    of_any_rank: Collection[str] = (),
) -> Any:
    """A function of raw columns, each of which may be absent."""
    inputs = {
        name: tf.TensorSpec(None if name in of_any_rank else [None], DTYPES[kind], name)
        for name, kind in columns.items()
    }
    defaults = {name: tf.constant([MISSING[kind]]) for name, kind in columns.items()}

    # The default argument becomes the signature's defaults: what an absent input stands for.
    @tf.function(input_signature=[inputs])
    def endpoint(raw=defaults):
        return answer(raw)

    return endpoint


def _inputs_of(model: keras.Model, packed: Tensors) -> Tensors:
    return {tensor.name: packed[tensor.name] for tensor in model.inputs}


def same_length(raw: Mapping[str, tf.Tensor]) -> Tensors:
    """Repeats columns of length 1, such as those filled in for absent inputs, for every row."""
    rows = tf.reduce_max([tf.size(column) for column in raw.values()])
    return {name: tf.broadcast_to(column, [rows]) for name, column in raw.items()}


def raw_tensors(
    features: FeatureSet, rows: Sequence[Mapping[str, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Rows as the columns that the signatures take.

    Args:
        features: FeatureSet.
        rows: list of dict. Raw column to text, number or None.

    Returns:
        Raw column to array `(rows,)`, of bytes (dtype object) or float32.

    Example:

    >>> from ctr_keras.features import Label, Numeric
    >>> features = FeatureSet(Numeric("price"), label=Label("y"))
    >>> raw_tensors(features, [{"price": 1.5}, {"price": None}])
    {'price': array([1.5, nan], dtype=float32)}
    """
    return {name: column_values(rows, name, kind) for name, kind in features.raw_columns.items()}


def column_values(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> np.ndarray[Any, Any]:
    """One raw column of rows, `"string"` or `"float"`, with what is missing filled in."""
    values = [MISSING[kind] if row[name] is None else row[name] for row in rows]
    if kind == "float":
        return np.array(values, np.float32)
    return np.array([value.encode() for value in values], object)


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
    members = [f for f in features.features if getattr(f, "group", None) == "item"]
    of_items = frozenset().union(*(_columns(features, f) for f in members))
    return frozenset(chosen or of_items or features.raw_columns)


class Candidates:
    """A user and many items as rows, so that the user's side is transformed once.

    The user's columns are filled in the user's first row only. What the transform makes of that
    row is then copied to the others. Several users follow one another, all with as many items.

    Args:
        features: FeatureSet.
        item_columns: set of str.
    """

    def __init__(self, features: FeatureSet, item_columns: Collection[str]):
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
    return frozenset([feature.column or feature.name])
