"""From the columns of a frame to the packed inputs, as the transform graph of the pipeline has it.

`pipeline.preprocessing` says the same with TensorFlow; tests hold both equal. Here a column is its
distinct values, so that what is done to strings is done once a value, not once a row.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ctr_keras.features.columns import Coded, Columns, Frame
from ctr_keras.features.declarations import (
    Categorical,
    Crossed,
    Feature,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.features.hashing import hash_buckets
from ctr_keras.features.statistics import (
    Numbers,
    Statistics,
    extremes,
    learns_numbers,
    mean_and_deviation,
    quantiles,
)
from ctr_keras.features.times import SPELL, part_of, read_time
from ctr_keras.types import Array

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet

Counts: TypeAlias = collections.Counter[str]

_PAIR_SEPARATOR = "\x1f"


def fit(features: FeatureSet, frame: Frame, earlier: FeatureSet | None = None) -> Statistics:
    """The statistics of a frame of training rows; numbers that an earlier set has stay as there."""
    columns = Columns(frame, features.raw_columns)
    if not columns.rows:
        raise ValueError("there is no row to fit on")
    learned = (f for f in features.features if isinstance(f, Numeric) and learns_numbers(f))
    numbers = {
        f.name: _kept(f, earlier) or _statistics(f, columns.numbers(f.raw_column)) for f in learned
    }
    of_features = _feature_values(features, columns, numbers)
    _check_times(features, columns, of_features)
    return Statistics(_frequent(features, _counts(features, of_features)), numbers)


def grow(features: FeatureSet, statistics: Statistics, frame: Frame) -> Statistics:
    """The statistics with the values appended that are frequent in more training rows."""
    new = _frequent(features, count(features, statistics.numbers, frame))
    return dataclasses.replace(
        statistics,
        values={
            name: (*known, *(value for value in new[name] if value not in statistics.places(name)))
            for name, known in statistics.values.items()
        },
    )


def count(features: FeatureSet, numbers: Numbers, frame: Frame) -> dict[str, Counts]:
    """How often the rows of a frame have each value, by counted vocabulary."""
    columns = Columns(frame, features.raw_columns)
    return _counts(features, _feature_values(features, columns, numbers))


def pack(features: FeatureSet, statistics: Statistics, frame: Frame) -> dict[str, Array]:
    """The packed inputs of a frame's rows."""
    columns = Columns(frame, features.raw_columns)
    values = _feature_values(features, columns, statistics.numbers)
    packed = {}
    for name, members in features.packed_features.items():
        if name == "numeric":
            scaled = (_scaled(f, columns, statistics.numbers) for f in features.numeric)
            packed[name] = np.stack(list(scaled), axis=1)
        else:
            ids = (_ids(features, f, values[f.name], statistics) for f in members)
            packed[name] = np.concatenate(list(ids), axis=1)
    return packed


def labels(features: FeatureSet, frame: Frame) -> Array:
    """The labels of a frame's rows, (rows, labels) float32."""
    columns = Columns(frame, features.label_names)
    return np.concatenate([columns.labels(task) for task in features.tasks], axis=1)


# Categories: the values of each feature, a string or, of `MultiValued` and `Sequence`, a list of
# those that are kept; "" is missing.


def _feature_values(features: FeatureSet, columns: Columns, numbers: Numbers) -> dict[str, Coded]:
    values = {}
    for feature in features.features:
        if isinstance(feature, Numeric):
            if feature.bucket_count:
                values[feature.name] = _buckets(feature, columns, numbers)
        elif not isinstance(feature, Crossed):
            separator = getattr(feature, "separator", None)
            strings = columns.strings(feature.raw_column, separator)
            kept = [_read(feature, value) for value in strings.values]
            values[feature.name] = Coded(kept, strings.codes)
    for feature in features.crossed:
        values[feature.name] = _pairs(values[feature.first], values[feature.second])
    return values


def _read(feature: Categorical | MultiValued | Sequence, value: str) -> str | list[str]:
    if isinstance(feature, Categorical):
        return value if feature.time_part is None else time_part(value, feature)
    kept = [part for part in value.split(feature.separator) if part]
    length = feature.max_length
    return kept[-length:] if isinstance(feature, Sequence) else kept[:length]


def time_part(value: str, feature: Categorical) -> str:
    """The part of a time that a feature takes, `""` if there is none."""
    time = read_time(value, feature.zone)
    part = feature.time_part
    if time is None or part is None or (part == "hour" and not time.has_hour):
        return ""
    return str(part_of(part, time.seconds))


def _check_times(features: FeatureSet, columns: Columns, values: Mapping[str, Coded]) -> None:
    """Refuses a column of times none of which is read: single ones are missing."""
    for feature in features.features:
        if not isinstance(feature, Categorical) or feature.time_part is None:
            continue
        if any(values[feature.name].values):
            continue

        refuse = functools.partial(_refuse_time, feature.time_part)
        columns.strings(feature.raw_column).map(feature.raw_column, refuse)


def _refuse_time(part: str, value: str) -> None:
    if value:
        raise ValueError(
            f"has no {part}, and no other row has one: {SPELL} (ctr_keras/features/times.py has "
            "all spellings)"
        )


def _pairs(first: Coded, second: Coded) -> Coded:
    width = max(len(second.values), 1)
    pairs, codes = np.unique(first.codes * width + second.codes, return_inverse=True)
    both = [(first.values[i // width], second.values[i % width]) for i in pairs.tolist()]
    return Coded([f"{a}{_PAIR_SEPARATOR}{b}" if a and b else "" for a, b in both], codes)


# Vocabularies and ids.


def _counts(features: FeatureSet, values: Mapping[str, Coded]) -> dict[str, Counts]:
    """How often each value occurs, by counted vocabulary."""
    counts: dict[str, Counts] = {}
    for vocabulary in features.vocabularies:
        if vocabulary.is_counted:
            coded = values[vocabulary.name]
            of_vocabulary = counts.setdefault(vocabulary.name, collections.Counter())
            rows = np.bincount(coded.codes, minlength=len(coded.values)).tolist()
            for value, in_rows in zip(coded.values, rows, strict=True):
                for part in _parts(value):
                    of_vocabulary[part] += in_rows
    return counts


def _frequent(features: FeatureSet, counts: Mapping[str, Counts]) -> dict[str, list[str]]:
    """The values of each vocabulary by falling frequency, ties by value. One with a line break is
    never in a vocabulary, as it could not stand in the file."""
    least = {vocabulary.name: vocabulary.min_count for vocabulary in features.vocabularies}
    kept = {
        name: [
            (-number, value)
            for value, number in of_vocabulary.items()
            if number >= least[name] and "\n" not in value and "\r" not in value
        ]
        for name, of_vocabulary in counts.items()
    }
    return {name: [value for _, value in sorted(of)] for name, of in kept.items()}


def _parts(value: str | list[str]) -> list[str]:
    """The strings of a value, without missing ones."""
    return value if isinstance(value, list) else [value] if value else []


def _ids(features: FeatureSet, feature: Feature, coded: Coded, statistics: Statistics) -> Array:
    """Global ids of a feature's values, (rows, width) int32; 0 where missing."""
    parts = [_parts(value) for value in coded.values]
    counts = np.array([len(of_value) for of_value in parts], np.int64)
    rows = np.repeat(np.arange(len(parts)), counts)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ids = np.zeros((len(parts), getattr(feature, "max_length", 1)), np.int32)
    strings = list(itertools.chain.from_iterable(parts))
    ids[rows, columns] = look_up(features, features.vocabulary_name(feature), strings, statistics)
    return ids[coded.codes]


def look_up(
    features: FeatureSet, vocabulary_name: str, strings: list[str], statistics: Statistics
) -> Array:
    """Global ids of strings that are not missing, (strings,) int64."""
    (vocabulary,) = (v for v in features.vocabularies if v.name == vocabulary_name)
    start = features.id_ranges[vocabulary_name].start
    if vocabulary.number_buckets:
        return start + np.array(strings, np.int64)
    if not vocabulary.is_counted:
        return start + hash_buckets(strings, vocabulary.fixed_ids)
    places = statistics.places(vocabulary_name)
    found: Iterator[int] = map(places.get, strings, itertools.repeat(-1))
    place = np.fromiter(found, np.int64, len(strings))
    unknown = np.flatnonzero(place < 0)
    ids = start + vocabulary.fixed_ids + place
    ids[unknown] = start + hash_buckets([strings[i] for i in unknown], vocabulary.fixed_ids)
    return ids


# Numbers: NaN is missing.


def _kept(feature: Numeric, earlier: FeatureSet | None) -> tuple[float, ...]:
    """The statistics of a number that an earlier set scales in the same way; else nothing."""
    before = earlier[feature.name] if earlier is not None and feature.name in earlier else None
    if earlier is None or not isinstance(before, Numeric):
        return ()
    is_same = (before.scale, before.buckets) == (feature.scale, feature.buckets)
    return tuple(earlier.statistics.numbers[feature.name]) if is_same else ()


def _statistics(feature: Numeric, column: Array) -> tuple[float, ...]:
    present = column[np.isfinite(column)]
    if feature.buckets is not None:
        return quantiles(present, feature.buckets)
    if feature.scale == "min_max":
        return extremes(present)
    exact = present.astype(np.float64)
    return mean_and_deviation(len(exact), float(exact.sum()), float((exact**2).sum()))


def _buckets(feature: Numeric, columns: Columns, numbers: Numbers) -> Coded:
    column = columns.numbers(feature.raw_column)
    boundaries = numbers[feature.name] if feature.boundaries is None else feature.boundaries
    bucket = np.searchsorted(np.array(boundaries, np.float32), column, side="right")
    names = ["", *(str(i) for i in range(len(boundaries) + 1))]
    return Coded(names, np.where(np.isfinite(column), bucket + 1, 0))


def _scaled(feature: Numeric, columns: Columns, numbers: Numbers) -> Array:
    """(rows,) float32, 0 where missing."""
    column = columns.numbers(feature.raw_column)
    values = np.where(np.isfinite(column), column, np.float32(0))
    if feature.scale.startswith("log_squared"):
        squared = (np.log(np.maximum(values, 2).astype(np.float64)) ** 2).astype(np.float32)
        squared = np.floor(squared) if feature.scale == "log_squared" else squared
        values = np.where(values > 2, squared, values)
    elif feature.scale == "min_max":
        low, high = np.array(numbers[feature.name], np.float32)
        spread = float(high - low) if low < high else 0.0  # of no number, low is infinite
        values = np.clip(_divided(values - low, spread), np.float32(0), np.float32(1))
    elif feature.scale == "z_score":
        mean, deviation = numbers[feature.name]
        values = _divided(values.astype(np.float64) - mean, deviation).astype(np.float32)
    return np.where(np.isfinite(column), values, np.float32(0))


def _divided(values: Array, divisor: float) -> Array:
    return values / divisor if divisor else np.zeros_like(values)
