"""The transform graph of a feature set: raw columns in, packed model inputs out.

All decisions about values are made here (what is missing, scaling, thresholds, ids), because this
graph, and nothing else, goes into the SavedModel that answers requests.
"""

import functools
import itertools
from collections.abc import Callable
from typing import TypeVar

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
        `features.packed_shapes`, int64 or float32.
    """
    return functools.partial(_preprocess, features)


def _preprocess(features: FeatureSet, columns: Tensors) -> Tensors:
    buckets = {
        f.name: _bucket(f, columns[f.raw_column])
        for f in features.categorical
        if isinstance(f, Numeric)
    }
    strings = _strings(features, columns, buckets)
    ids = _ids(features, strings, buckets)
    lists = (f for f in features.features if isinstance(f, MultiValued | Sequence))
    outputs = {f.name: ids[f.name] for f in lists}
    if features.categorical:
        outputs["categorical"] = tf.concat([ids[f.name] for f in features.categorical], axis=1)
    if features.crossed:
        outputs["crossed"] = tf.concat([ids[f.name] for f in features.crossed], axis=1)
    if features.numeric:
        outputs["numeric"] = _scaled(features, columns)
    return outputs


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
    values = tf.ragged.boolean_mask(values, values != "")
    length = feature.max_length
    kept = values[:, -length:] if isinstance(feature, Sequence) else values[:, :length]
    return kept.to_tensor("", shape=[None, length])


def _pair(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    missing = tf.logical_or(first == "", second == "")
    return tf.where(missing, "", tf.strings.join([first, second], _PAIR_SEPARATOR))


# Ids: one lookup for the columns ("slots") of all features' strings, joined side by side.


def _ids(features: FeatureSet, strings: Tensors, buckets: Tensors) -> Tensors:
    """Global ids in the layout of `ctr_keras.features`, (batch, width) for each feature."""
    named = [f for f in features.features if f.name in strings]
    if not named:
        return {}
    vocabularies = features.vocabularies
    position = {v.name: i for i, v in enumerate(vocabularies)}
    widths = [(*strings[f.name].shape, 1)[1] for f in named]
    slots = _repeat([position[features.vocabulary_name(f)] for f in named], widths)

    joined = _side_by_side([strings[f.name] for f in named])
    is_counted = [f.vocabulary is not None and f.vocabulary.is_counted for f in named]
    line, start = _look_up(vocabularies, joined, slots, _repeat(is_counted, widths))
    fixed = [v.fixed_ids for v in vocabularies]
    fixed_through = list(itertools.accumulate(fixed))
    # A value's line counts the file's header and the names of the vocabularies up to its own.
    known = line + tf.constant([fixed_through[i] - 1 - i for i in slots], tf.int64)
    choice = _fallbacks(named, joined, widths, buckets)
    unknown = tf.gather(start, slots) + choice % tf.constant([fixed[i] for i in slots], tf.int64)
    ids = tf.where(joined == "", tf.constant(0, tf.int64), tf.where(line < 0, unknown, known))
    return dict(zip([f.name for f in named], tf.split(ids, widths, axis=1), strict=True))


def _side_by_side(columns: list[tf.Tensor]) -> tf.Tensor:
    """Columns, (batch, width) or (batch,), as one matrix; those without a width cost one step."""
    if all(column.shape.rank == 1 for column in columns):
        return tf.stack(columns, axis=1)
    return tf.concat([c if c.shape.rank == 2 else c[:, None] for c in columns], axis=1)


def _repeat(values: list[_T], times: list[int]) -> list[_T]:
    return [value for value, n in zip(values, times, strict=True) for _ in range(n)]


def _look_up(
    vocabularies: tuple[Vocabulary, ...],
    strings: tf.Tensor,
    slots: list[int],
    is_counted: list[bool],
) -> tuple[tf.Tensor, tf.Tensor]:
    """The vocabulary line of each string (-1 for none), and the first id of each vocabulary."""
    fixed = (v.fixed_ids for v in vocabularies[:-1])
    fixed_before = tf.constant(list(itertools.accumulate(fixed, initial=0)), tf.int64)
    if not any(is_counted):
        return tf.fill(tf.shape(strings), tf.constant(-1, tf.int64)), 1 + fixed_before
    prefix = tf.constant([f"{vocabularies[i].name}=" for i in slots])
    keys = tf.strings.join([tf.broadcast_to(prefix, tf.shape(strings)), strings])
    counted_keys = tf.boolean_mask(keys, tf.logical_and(strings != "", is_counted))
    line, name_line = count_and_look_up(vocabularies, counted_keys, keys)
    names_before = tf.range(len(vocabularies), dtype=tf.int64)
    return line, name_line - names_before + fixed_before


def _fallbacks(
    features: list[Feature], joined: tf.Tensor, widths: list[int], buckets: Tensors
) -> tf.Tensor:
    """What picks an id among a vocabulary's fixed ones: the bucket of a number, else a hash."""
    hashes = tf.strings.to_hash_bucket_fast(joined, _HASH_RANGE)
    if not buckets:
        return hashes
    parts = tf.split(hashes, widths, axis=1)
    named = zip(features, parts, strict=True)
    return tf.concat([buckets[f.name][:, None] if f.name in buckets else h for f, h in named], 1)


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


def _scaled(features: FeatureSet, columns: Tensors) -> tf.Tensor:
    """The packed `numeric` input: (batch, columns), 0 where missing."""
    scaled: Tensors = {}
    for scale, function in _SCALES.items():
        group = [f for f in features.numeric if f.scale == scale]
        if group:
            values = tf.stack([columns[f.raw_column] for f in group], axis=1)
            values = tf.where(tf.math.is_finite(values), function(values), 0.0)
            scaled |= zip((f.name for f in group), tf.unstack(values, axis=1), strict=True)
    return tf.stack([scaled[f.name] for f in features.numeric], axis=1)


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
