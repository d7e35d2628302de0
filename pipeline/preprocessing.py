"""The transform graph of a feature set: raw columns in, packed model inputs out.

All decisions about values are made here (what is missing, scaling, thresholds, ids), because this
graph, and nothing else, goes into the SavedModel that answers requests.
"""

import collections
import functools
import itertools
import re
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import Any, TypeVar

import tensorflow as tf
import tensorflow_transform as tft

from ctr_keras.features import (
    Crossed,
    Feature,
    FeatureSet,
    MultiValued,
    Numeric,
    Sequence,
    Vocabulary,
)
from ctr_keras.features.columns import numbers_of
from ctr_keras.features.weights import LARGEST, NOT_A_WEIGHT, WEIGHT
from pipeline.numbers import exact_sums, learned, quantiles_of
from pipeline.times import time_part
from pipeline.vocabulary import count_and_look_up

Tensors = dict[str, tf.Tensor]
_T = TypeVar("_T")

_HASH_RANGE = 2**31 - 1
_PAIR_SEPARATOR = "\x1f"  # ASCII's unit separator, unlikely inside a value


def make_preprocessing_fn(features: FeatureSet) -> Callable[[Tensors], Tensors]:
    """The `preprocessing_fn` that TensorFlow Transform analyzes and applies.

    Args:
        features: FeatureSet.

    Returns:
        A function from `features.raw_columns`, one (batch,) tensor each, to the packed inputs of
        `features.packed_shapes`, int64 or float32. A column of one value has it in all rows, and
        its category is looked up once.
    """
    return functools.partial(_preprocess, features)


def _preprocess(features: FeatureSet, columns: Tensors) -> Tensors:
    columns = _without(features.missing, columns)
    buckets = {
        f.name: _bucket(f, columns[f.raw_column])
        for f in features.categorical
        if isinstance(f, Numeric)
    }
    rows = _row_count(columns)
    outputs = _ids(features, _strings(features, columns, buckets), buckets, rows)
    if features.numeric:
        outputs["numeric"] = _scaled(features, columns, rows)
    for name, feature in features.weights_inputs.items():
        weights = _weights(feature, columns[feature.raw_column])
        row = tf.minimum(tf.range(rows), tf.shape(weights)[0] - 1)  # of a column of one value
        outputs[name] = tf.gather(weights, row)
    return outputs


def _without(missing: SequenceOf[str], columns: Tensors) -> Tensors:
    """The columns, `""` and NaN where a value means a missing one: requests have these values, too,
    as the log had them."""
    strings = {name: column for name, column in columns.items() if column.dtype == tf.string}
    numbers = {name: column for name, column in columns.items() if column.dtype != tf.string}
    return {
        **columns,
        **_replaced(strings, missing, ""),
        **_replaced(numbers, numbers_of(missing), float("nan")),
    }


def _replaced(columns: Tensors, values: SequenceOf[Any], by: Any) -> Tensors:
    if not columns or not values:
        return {}
    lengths = tf.concat(tf.shape_n([*columns.values()]), 0)
    flat = tf.concat([*columns.values()], 0)
    is_one = tf.reduce_any(tf.equal(flat[:, tf.newaxis], tf.constant(values, flat.dtype)), 1)
    replaced = tf.where(is_one, tf.constant(by, flat.dtype), flat)
    return dict(zip(columns, tf.split(replaced, lengths, num=len(columns)), strict=True))


# Columns of one value or one a row: flat, one after another, until all is worked out.


def _row_count(columns: Tensors) -> tf.Tensor:
    by_type: dict[tf.DType, list[tf.Tensor]] = collections.defaultdict(list)
    for column in columns.values():
        by_type[column.dtype].append(column)
    sizes = tf.concat([tf.concat(tf.shape_n(group), 0) for group in by_type.values()], 0)
    return tf.reduce_max(sizes) * tf.minimum(tf.reduce_min(sizes), 1)  # none, if one has none


def _places(sizes: tf.Tensor, widths: list[int], rows: tf.Tensor) -> tf.Tensor:
    """Where the values of all rows, (rows, sum of widths), stand in flat ones."""
    starts = tf.cumsum(sizes * widths, exclusive=True)
    column = _repeat(list(range(len(widths))), widths)
    within = tf.constant([i for width in widths for i in range(width)])
    row = tf.minimum(tf.range(rows)[:, tf.newaxis], tf.gather(sizes - 1, column))
    return tf.gather(starts, column) + within + row * tf.constant(_repeat(widths, widths))


# Categories: every feature becomes strings, (batch,) or of lists (batch, width), "" where missing.


def _strings(features: FeatureSet, columns: Tensors, buckets: Tensors) -> Tensors:
    strings: Tensors = {}
    of_columns = (f for f in features.features if not isinstance(f, Crossed))
    for feature in (*of_columns, *features.crossed):
        if feature.name in buckets:
            bucket = buckets[feature.name]
            strings[feature.name] = tf.where(bucket < 0, "", tf.strings.as_string(bucket))
        elif isinstance(feature, MultiValued | Sequence):
            strings[feature.name] = _split(feature, columns[feature.raw_column])
        elif isinstance(feature, Crossed):
            strings[feature.name] = _pair(strings[feature.first], strings[feature.second])
        elif not isinstance(feature, Numeric):
            column, part = columns[feature.raw_column], feature.time_part
            strings[feature.name] = time_part(column, part, feature.zone) if part else column
    return strings


def _split(feature: MultiValued | Sequence, column: tf.Tensor) -> tf.Tensor:
    values = tf.strings.split(column, feature.separator)
    if isinstance(feature, MultiValued) and feature.weight_separator:
        values = values.with_flat_values(_without_weights(feature, values.flat_values))
    values = tf.ragged.boolean_mask(values, values != "")
    length = feature.max_length
    kept = values[:, -length:] if isinstance(feature, Sequence) else values[:, :length]
    return kept.to_tensor("", shape=[None, length])


def _pair(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    missing = tf.logical_or(first == "", second == "")
    return tf.where(missing, "", first + _PAIR_SEPARATOR + second)


# Weights of values, as `ctr_keras.features.weights` has them.


def _weights(feature: MultiValued, column: tf.Tensor) -> tf.Tensor:
    """The weights of lists, (batch, width) float32; 0 behind their ends."""
    lists = tf.strings.split(column, feature.separator)
    items = lists.flat_values
    last = tf.strings.regex_replace(items, f"(?s)^.*{_separator(feature)}", "")
    has_none = tf.logical_or(last == items, last == "")
    text = tf.where(has_none, "1", last)
    is_spelled = tf.strings.regex_full_match(text, WEIGHT)
    numbers = tf.strings.to_number(tf.where(is_spelled, text, "-1"), tf.float64)
    wrong = tf.boolean_mask(items, tf.logical_or(numbers < 0, numbers > LARGEST))
    told = [f"a weight of {feature.name} {NOT_A_WEIGHT}: ", wrong]
    with tf.control_dependencies([tf.debugging.Assert(tf.size(wrong) == 0, told)]):
        weights = lists.with_flat_values(tf.cast(numbers, tf.float32))
    is_value = lists.with_flat_values(_without_weights(feature, items) != "")
    kept = tf.ragged.boolean_mask(weights, is_value)[:, : feature.max_length]
    return kept.to_tensor(0.0, shape=[None, feature.max_length])


def _without_weights(feature: MultiValued, items: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(items, f"(?s)^(.*){_separator(feature)}.*$", r"\1")


def _separator(feature: MultiValued) -> str:
    return re.escape(str(feature.weight_separator))


# Ids: one lookup for the strings of all features, one after another.


def _ids(features: FeatureSet, strings: Tensors, buckets: Tensors, rows: tf.Tensor) -> Tensors:
    """The packed inputs of global ids, in the layout of `ctr_keras.features`."""
    packed = features.id_inputs
    if not packed:
        return {}
    named = [*itertools.chain.from_iterable(packed.values())]
    flat = [_flat(strings[f.name]) for f in named]
    lengths, values = tf.concat(tf.shape_n(flat), 0), tf.concat(flat, 0)
    feature = _groups(lengths)
    vocabularies = features.vocabularies
    position = {v.name: i for i, v in enumerate(vocabularies)}
    owners = [position[features.vocabulary_name(f)] for f in named]
    is_counted = [f.vocabulary is not None and f.vocabulary.is_counted for f in named]
    line, starts = _look_up(vocabularies, values, (owners, is_counted), feature)

    fixed = [v.fixed_ids for v in vocabularies]
    # A value's line counts the file's header and the names of the vocabularies up to its own.
    shifts = [through - 1 - i for i, through in enumerate(itertools.accumulate(fixed))]
    of_owners = tf.stack([starts, tf.constant(shifts, tf.int64), tf.constant(fixed, tf.int64)], 1)
    of_values = tf.gather(tf.gather(of_owners, owners), feature)
    start, shift, count = tf.unstack(of_values, axis=1)
    unknown = start + _fallbacks(named, values, lengths, buckets) % count
    ids = tf.where(line < 0, unknown, line + shift)
    ids = tf.where(values == "", tf.constant(0, tf.int64), ids)
    widths = [(*strings[f.name].shape, 1)[1] for f in named]
    table = tf.gather(ids, _places(lengths // widths, widths, rows))
    of_inputs = tf.split(table, [features.packed_shapes[name][0] for name in packed], axis=1)
    return dict(zip(packed, of_inputs, strict=True))


def _flat(strings: tf.Tensor) -> tf.Tensor:
    return strings if strings.shape.rank == 1 else tf.reshape(strings, [-1])


def _groups(lengths: tf.Tensor) -> tf.Tensor:
    """The number of the group of each value, of groups of these lengths one after another."""
    ends = tf.cumsum(lengths)
    one_more = tf.scatter_nd(ends[:, tf.newaxis], tf.ones_like(ends), [ends[-1] + 1])
    return tf.cumsum(one_more)[:-1]


def _repeat(values: list[_T], times: list[int]) -> list[_T]:
    return [value for value, n in zip(values, times, strict=True) for _ in range(n)]


def _look_up(
    vocabularies: tuple[Vocabulary, ...],
    values: tf.Tensor,
    of_features: tuple[list[int], list[bool]],
    feature: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The vocabulary line of each value (-1 for none), and the first id of each vocabulary.

    `of_features` are the place of each feature's vocabulary and whether it is counted there.
    """
    owners, is_counted = of_features
    fixed = (v.fixed_ids for v in vocabularies[:-1])
    fixed_before = tf.constant(list(itertools.accumulate(fixed, initial=0)), tf.int64)
    if not any(is_counted):
        return tf.fill(tf.shape(values), tf.constant(-1, tf.int64)), 1 + fixed_before
    prefixes = tf.constant([f"{vocabularies[i].name}=" for i in owners])
    keys = tf.strings.join([tf.gather(prefixes, feature), values])
    counted = tf.logical_and(values != "", tf.gather(is_counted, feature))
    line, name_line = count_and_look_up(vocabularies, tf.boolean_mask(keys, counted), keys)
    names_before = tf.range(len(vocabularies), dtype=tf.int64)
    return line, name_line - names_before + fixed_before


def _fallbacks(
    features: list[Feature], values: tf.Tensor, lengths: tf.Tensor, buckets: Tensors
) -> tf.Tensor:
    """What picks an id among a vocabulary's fixed ones: the bucket of a number, else a hash."""
    hashes = tf.strings.to_hash_bucket_fast(values, _HASH_RANGE)
    if not buckets:
        return hashes
    parts = tf.split(hashes, lengths, num=len(features))
    return tf.concat([buckets.get(f.name, h) for f, h in zip(features, parts, strict=True)], 0)


# Numbers: not finite means missing.


def _bucket(feature: Numeric, column: tf.Tensor) -> tf.Tensor:
    """Index of each value's bucket, -1 where missing."""
    is_present = tf.math.is_finite(column)
    if feature.buckets is not None:
        name = f"quantiles_{feature.name}"
        present = tf.boolean_mask(column, is_present)
        boundaries = learned(name, quantiles_of(present, feature.buckets, name))
    else:
        boundaries = tf.constant(feature.boundaries, tf.float32)
    bucket = tf.searchsorted(boundaries, column, side="right", out_type=tf.int64)
    return tf.where(is_present, bucket, tf.constant(-1, tf.int64))


def _scaled(features: FeatureSet, columns: Tensors, rows: tf.Tensor) -> tf.Tensor:
    """The packed `numeric` input: (rows, columns), 0 where missing."""
    names: list[str] = []
    parts: list[tf.Tensor] = []
    for scale, function in _SCALES.items():
        group = [f for f in features.numeric if f.scale == scale]
        if group:
            read = [columns[f.raw_column] for f in group]
            places = _places(tf.concat(tf.shape_n(read), 0), [1] * len(read), rows)
            values = tf.gather(tf.concat(read, 0), places)
            parts.append(tf.where(tf.math.is_finite(values), function(values), 0.0))
            names += [f.name for f in group]
    if len(parts) == 1:
        return parts[0]
    return tf.gather(tf.concat(parts, 1), [names.index(f.name) for f in features.numeric], axis=1)


def _log_squared(values: tf.Tensor) -> tf.Tensor:
    return tf.where(values > 2, tf.floor(_log_squared_continuous(values)), values)


def _log_squared_continuous(values: tf.Tensor) -> tf.Tensor:
    logarithm = tf.math.log(tf.cast(tf.maximum(values, 2.0), tf.float64))
    return tf.where(values > 2, tf.cast(logarithm**2, tf.float32), values)


def _min_max(values: tf.Tensor) -> tf.Tensor:
    is_present = tf.math.is_finite(values)
    infinity = tf.constant(float("inf"), values.dtype)
    low = tft.min(tf.where(is_present, values, infinity), reduce_instance_dims=False, name="low")
    high = tft.max(tf.where(is_present, values, -infinity), reduce_instance_dims=False, name="high")
    low, high = learned("low", low), learned("high", high)
    spread = tf.where(low < high, high - low, 0.0)  # of no number, low is infinite
    return tf.clip_by_value(tf.math.divide_no_nan(values - low, spread), 0.0, 1.0)


def _z_score(values: tf.Tensor) -> tf.Tensor:
    is_present = tf.math.is_finite(values)
    exact = tf.where(is_present, tf.cast(values, tf.float64), 0.0)
    counted = tf.concat([tf.cast(is_present, tf.float64), exact, exact**2], axis=1)
    sums = exact_sums(counted, "moments")
    count, total, total_squares = tf.split(learned("moments", sums), 3)
    mean = tf.math.divide_no_nan(total, count)
    variance = tf.maximum(tf.math.divide_no_nan(total_squares, count) - mean**2, 0.0)
    return tf.cast(tf.math.divide_no_nan(exact - mean, tf.sqrt(variance)), tf.float32)


_SCALES = {
    "identity": tf.identity,
    "log_squared": _log_squared,
    "log_squared_continuous": _log_squared_continuous,
    "min_max": _min_max,
    "z_score": _z_score,
}
