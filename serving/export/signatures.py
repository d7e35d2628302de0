"""The signatures of an exported model, as functions of TensorFlow.

- `serving_default`: one input a raw column, (batch,) strings or floats; output `score`, (batch,).
  Of a model of several labels, here and in all signatures, one output a label instead, of its name.
- `rank`: the same inputs, where columns of the user's side have one value and those of the items
  one a candidate; output `score`, (candidates,). Or several users: columns of the items, and
  `score`, are (users, candidates) then. A server that batches wants this form, even for one user,
  as it joins requests along the first dimension, which must be of one length in all inputs.
- `explain`, of models with attention or gates: the inputs of `serving_default`; `score`, attention
  maps or gated terms, and the names along their axes.
- `serialized_examples`: `examples`, (batch,) serialized tf.train.Example; output `score`.
- `transform_features`: the inputs of `serving_default`; the packed model inputs, to look for skew.

`columns.py` says what stands for a missing value.
"""

import collections
import math
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ctr_keras.explain import Explainer
from ctr_keras.features import FeatureSet
from serving.export.candidates import Candidates, Tensors
from serving.export.columns import MISSING, argument_names, score_names

DTYPES = {"string": tf.string, "float": tf.float32}  # of raw columns
_MAX_CONSTANT = 2**18  # elements of a weight; each signature has its own copy


def check_backend(what: str) -> None:
    """Raises a RuntimeError if Keras has another backend than TensorFlow, which `what` needs."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"{what} needs KERAS_BACKEND=tensorflow, whatever the run was trained with, "
            f"got {keras.backend.backend()}"
        )


def make_endpoints(
    model: keras.Model,
    features: FeatureSet,
    transform: Any,
    item_columns: Set[str],
    explainer: Explainer,
) -> dict[str, Any]:
    """The functions to save, by the names of their signatures.

    `transform` is the loaded transform graph of the prepared data, and `item_columns` are the raw
    columns that differ from candidate to candidate.
    """
    parsing = {
        name: tf.io.FixedLenFeature([], DTYPES[kind], MISSING[kind])
        for name, kind in features.raw_columns.items()
    }

    def transformed(raw: Tensors) -> Tensors:
        packed = transform.transform_fn(dict(raw))
        return {k: v if v.dtype == tf.float32 else tf.cast(v, tf.int32) for k, v in packed.items()}

    def by_label(scores: tf.Tensor) -> Tensors:
        columns = tf.unstack(scores, len(features.tasks), axis=1)
        return dict(zip(score_names(features), columns, strict=True))

    # What depends on constants alone TensorFlow works out when the version is loaded.
    small = (v for v in model.variables if math.prod(v.shape) <= _MAX_CONSTANT)
    constants = [(variable, np.asarray(variable)) for variable in small]

    def scored(packed: Tensors) -> Tensors:
        with keras.StatelessScope(constants):
            return by_label(model(_inputs_of(model, packed), training=False))

    def explained(packed: Tensors) -> Tensors:
        with keras.StatelessScope(constants):
            outputs = explainer(_inputs_of(model, packed))
        outputs |= by_label(outputs.pop("score"))
        rows = tf.shape(keras.tree.flatten(outputs)[0])[0]  # REST wants outputs of one length
        names = {
            axis: tf.broadcast_to(tf.constant(along), [rows, len(along)])
            for axis, along in explainer.names.items()
        }
        return outputs | names

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serialized_examples(examples: tf.Tensor) -> Tensors:
        return scored(transformed(tf.io.parse_example(examples, parsing)))

    candidates = Candidates(features, item_columns)

    def ranked(raw: Tensors) -> Tensors:
        shape = candidates.shape(raw)
        packed = candidates.packed(transformed(candidates.rows(raw, shape)), shape)
        return {name: tf.reshape(scores, shape) for name, scores in scored(packed).items()}

    endpoints = {
        "serving_default": _of_columns(features, lambda raw: scored(transformed(same_length(raw)))),
        "rank": _of_columns(features, ranked, of_any_rank=item_columns),
        "serialized_examples": serialized_examples,
        "transform_features": _of_columns(features, lambda raw: transformed(same_length(raw))),
    }
    if explainer.axes:
        endpoints["explain"] = _of_columns(
            features, lambda raw: explained(transformed(same_length(raw)))
        )
    return endpoints


def _of_columns(
    features: FeatureSet,
    answer: Callable[[Tensors], Tensors],
    of_any_rank: Collection[str] = (),
) -> Any:
    """A function of raw columns, each of which may be absent."""
    columns, arguments = features.raw_columns, argument_names(features)
    inputs = {
        name: tf.TensorSpec(None if name in of_any_rank else [None], DTYPES[kind], arguments[name])
        for name, kind in columns.items()
    }
    defaults = {name: tf.constant([MISSING[kind]]) for name, kind in columns.items()}

    # The default argument becomes the signature's defaults: what an absent input stands for.
    @tf.function(input_signature=[inputs])
    def endpoint(raw: Tensors = defaults) -> Tensors:
        return answer(raw)

    return endpoint


def _inputs_of(model: keras.Model, packed: Tensors) -> Tensors:
    return {tensor.name: packed[tensor.name] for tensor in model.inputs}


def same_length(raw: Mapping[str, tf.Tensor]) -> Tensors:
    """The columns of one table: what stands for an absent one is repeated for every row.

    Raises:
        tf.errors.InvalidArgumentError: at run time, for columns of different lengths, naming them.
    """
    by_type: dict[tf.DType, list[str]] = collections.defaultdict(list)
    for name, column in raw.items():
        by_type[column.dtype].append(name)
    sizes = {
        dtype: tf.concat(tf.shape_n([raw[name] for name in names]), 0)
        for dtype, names in by_type.items()
    }
    rows = tf.reduce_max(tf.concat(list(sizes.values()), 0))
    columns: Tensors = {}
    for dtype, names in by_type.items():
        table = _table([raw[name] for name in names], names, sizes[dtype], rows)
        columns.update(zip(names, tf.unstack(table, num=len(names)), strict=True))
    return columns


def _table(
    columns: Sequence[tf.Tensor], names: Sequence[str], sizes: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
    """Columns of one type, of `rows` values or a missing one, as the rows of a matrix."""
    ends = tf.cumsum(sizes)[:, tf.newaxis]
    places = tf.minimum(ends - sizes[:, tf.newaxis] + tf.range(rows), ends - 1)
    table = tf.gather(tf.concat(columns, 0), places)
    missing = table == "" if table.dtype == tf.string else tf.math.is_nan(table)
    fits = tf.logical_or(sizes == rows, tf.reduce_all(missing, axis=1))
    told = ["columns have different lengths: ", tf.constant(names), sizes]
    check = tf.raw_ops.Assert(condition=tf.reduce_all(fits), data=told, summarize=len(names))
    with tf.control_dependencies([check]):
        return tf.identity(table)
