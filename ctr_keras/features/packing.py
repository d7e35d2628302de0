"""From the columns of a frame to the packed inputs, as the transform graph of the pipeline has it.

`pipeline.preprocessing` says the same with TensorFlow; tests hold both equal. Here a column is its
distinct values, so that what is done to strings is done once a value, not once a row.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ctr_keras.features.columns import Coded, Columns, Frame, side_by_side
from ctr_keras.features.declarations import (
    Categorical,
    Feature,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.features.hashing import hash_buckets
from ctr_keras.features.spelling import warn_of_unknown
from ctr_keras.features.statistics import (
    Numbers,
    Statistics,
    extremes,
    learns_numbers,
    mean_and_deviation,
    quantiles,
)
from ctr_keras.features.times import SPELL, part_of, read_time
from ctr_keras.features.weights import split_weight
from ctr_keras.types import Array

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet

Counts: TypeAlias = collections.Counter[str]

_PAIR_SEPARATOR = "\x1f"


def fit(features: FeatureSet, frame: Frame, earlier: FeatureSet | None = None) -> Statistics:
    """The statistics of a frame of training rows; numbers that an earlier set has stay as there."""
    columns = Columns(frame, features.raw_columns, missing=features.missing)
    if not columns.rows:
        raise ValueError("there is no row to fit on")
    learned = (f for f in features.features if isinstance(f, Numeric) and learns_numbers(f))
    numbers = {
        f.name: _known(f, earlier) or _statistics(f, columns.numbers(f.raw_column)) for f in learned
    }
    of_features = _feature_values(features, columns, numbers)
    _check_times(features, columns, of_features)
    return Statistics(_frequent(features, _counts(features, of_features)), numbers)


def grow(features: FeatureSet, statistics: Statistics, frame: Frame) -> Statistics:
    """The statistics with the values appended that are frequent in more training rows."""
    columns = Columns(frame, features.raw_columns, features.spellings, features.missing)
    values = _feature_values(features, columns, statistics.numbers)
    new = _frequent(features, _counts(features, values))
    return dataclasses.replace(
        statistics,
        values={
            name: (*known, *(value for value in new[name] if value not in statistics.places(name)))
            for name, known in statistics.values.items()
        },
    )


def count(features: FeatureSet, numbers: Numbers, frame: Frame) -> dict[str, Counts]:
    """How often the rows of a frame have each value, by counted vocabulary."""
    columns = Columns(frame, features.raw_columns, missing=features.missing)
    return _counts(features, _feature_values(features, columns, numbers))


def pack(features: FeatureSet, statistics: Statistics, frame: Frame) -> dict[str, Array]:
    """The packed inputs of a frame's rows."""
    columns = Columns(frame, features.raw_columns, features.spellings, features.missing)
    values = _feature_values(features, columns, statistics.numbers)
    warn_of_unknown(features, values)
    packed = {}
    for name, members in features.id_inputs.items():
        if name == members[0].name:
            packed[name] = _ids_of_lists(features, members[0], values[name], statistics)
        else:
            coded = [(features.vocabulary_name(f), values[f.name]) for f in members]
            packed[name] = _ids_of_columns(features, coded, statistics)
    if features.numeric:
        packed["numeric"] = _scaled(features.numeric, columns, statistics.numbers)
    for name, feature in features.weights_inputs.items():
        packed[name] = _weights_of_lists(feature, columns.strings(feature))
    return packed


def labels(features: FeatureSet, frame: Frame) -> Array:
    """The labels of a frame's rows, (rows, labels) float32."""
    columns = Columns(frame, features.label_names)
    return np.concatenate([columns.labels(task) for task in features.tasks], axis=1)


# Categories: the values of each feature, a string or, of `MultiValued` and `Sequence`, a list of
# those that are kept; "" is missing.


def read_categories(features: FeatureSet, columns: Columns) -> dict[str, Coded]:
    """The values of features that are read as they are spelled: not buckets and crosses."""
    return {
        feature.name: _read(feature, columns.strings(feature))
        for feature in features.features
        if isinstance(feature, Categorical | MultiValued | Sequence)
    }


def _feature_values(features: FeatureSet, columns: Columns, numbers: Numbers) -> dict[str, Coded]:
    values = read_categories(features, columns)
    for feature in features.features:
        if isinstance(feature, Numeric) and feature.bucket_count:
            values[feature.name] = _buckets(feature, columns, numbers)
    for pair in features.crossed:
        values[pair.name] = _pairs(values[pair.first], values[pair.second])
    return values


def _read(feature: Categorical | MultiValued | Sequence, strings: Coded) -> Coded:
    if isinstance(feature, MultiValued) and feature.weight_separator:
        lists = _weighted(feature, strings)
        return Coded([[value for value, _ in pairs] for pairs in lists], strings.codes)
    if not isinstance(feature, Categorical):
        return Coded([_kept(feature, value) for value in strings.values], strings.codes)
    if feature.time_part is None:
        return strings
    return Coded([time_part(value, feature) for value in strings.values], strings.codes)


def _kept(feature: MultiValued | Sequence, value: str) -> list[str]:
    values = [part for part in value.split(feature.separator) if part]
    length = feature.max_length
    return values[-length:] if isinstance(feature, Sequence) else values[:length]


def _weighted(feature: MultiValued, strings: Coded) -> list[list[tuple[str, float]]]:
    """The values that are kept, each with its weight."""

    def kept(text: str) -> list[tuple[str, float]]:
        items = filter(None, text.split(feature.separator))
        pairs = [split_weight(item, str(feature.weight_separator)) for item in items]
        return [(value, weight) for value, weight in pairs if value][: feature.max_length]

    return strings.map(feature.raw_column, kept)


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
        columns.strings(feature).map(feature.raw_column, refuse)


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
    counted = (vocabulary.name for vocabulary in features.vocabularies if vocabulary.is_counted)
    return {name: values[name].counts() for name in counted}


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


def _ids_of_columns(
    features: FeatureSet, columns: SequenceOf[tuple[str, Coded]], statistics: Statistics
) -> Array:
    """Global ids of columns, each with its vocabulary's name, (rows, columns) int32; 0 where
    missing."""
    ids = look_up(features, [(name, coded.values) for name, coded in columns], statistics)
    starts = itertools.accumulate((len(coded.values) for _, coded in columns), initial=0)
    codes = side_by_side([coded.codes for _, coded in columns])
    return np.asarray(ids[codes + list(starts)[:-1]])


def _ids_of_lists(
    features: FeatureSet, feature: Feature, coded: Coded, statistics: Statistics
) -> Array:
    """Global ids of a feature's lists, (rows, max_length) int32; 0 behind their ends."""
    counts = np.array([len(of_value) for of_value in coded.values], np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ids = np.zeros((len(counts), getattr(feature, "max_length", 1)), np.int32)
    strings = list(itertools.chain.from_iterable(coded.values))
    named = [(features.vocabulary_name(feature), strings)]
    ids[rows, columns] = look_up(features, named, statistics)
    return ids[coded.codes]


def _weights_of_lists(feature: MultiValued, strings: Coded) -> Array:
    """Weights of a feature's lists, (rows, max_length) float32; 0 behind their ends."""
    lists = _weighted(feature, strings)
    weights = np.zeros((len(lists), feature.max_length), np.float32)
    for row, pairs in enumerate(lists):
        weights[row, : len(pairs)] = [weight for _, weight in pairs]
    return weights[strings.codes]


def look_up(
    features: FeatureSet,
    named: SequenceOf[tuple[str, SequenceOf[str]]],
    statistics: Statistics,
) -> Array:
    """Global ids of strings, vocabulary by vocabulary, (strings,) int32; 0 of missing ones.

    `named` are the vocabularies' names, each with its strings.
    """
    owners = {vocabulary.name: vocabulary for vocabulary in features.vocabularies}
    vocabularies = [owners[name] for name, _ in named]
    strings = [string for _, of_vocabulary in named for string in of_vocabulary]
    counts = [len(of_vocabulary) for _, of_vocabulary in named]
    start = np.repeat([features.id_ranges[v.name].start for v in vocabularies], counts)
    fixed = np.repeat([v.fixed_ids for v in vocabularies], counts)
    is_number = np.repeat([v.number_buckets is not None for v in vocabularies], counts)
    found = (map(statistics.places(name).get, of, itertools.repeat(-1)) for name, of in named)
    place = np.fromiter(itertools.chain.from_iterable(found), np.int64, len(strings))
    is_present = np.fromiter(map(bool, strings), bool, len(strings))
    ids = np.where(is_present, start + fixed + place, 0)
    # The place -1 of an unknown value is the last fixed id: right where there is but one.
    unknown = np.flatnonzero(is_present & (place < 0) & (fixed > 1))
    for pick, chosen in (
        (_number_buckets, unknown[is_number[unknown]]),
        (hash_buckets, unknown[~is_number[unknown]]),
    ):
        if len(chosen):
            ids[chosen] = start[chosen] + pick([strings[i] for i in chosen], fixed[chosen])
    return ids.astype(np.int32)


def _number_buckets(names: list[str], buckets: Array) -> Array:
    return np.array(names, np.int64)


# Numbers: NaN is missing.


def _known(feature: Numeric, earlier: FeatureSet | None) -> tuple[float, ...]:
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


def _scaled(features: SequenceOf[Numeric], columns: Columns, numbers: Numbers) -> Array:
    """(rows, features) float32, 0 where missing."""
    raw = columns.table([f.raw_column for f in features])
    is_present = np.isfinite(raw)
    scaled = np.where(is_present, raw, np.float32(0))
    places: dict[str, list[int]] = {}
    for place, feature in enumerate(features):
        places.setdefault(feature.scale, []).append(place)
    for scale, group in places.items():
        learned = np.array([numbers.get(features[place].name, ()) for place in group])
        scaled[:, group] = _SCALES[scale](scaled[:, group], *learned.T)
    return np.where(is_present, scaled, np.float32(0))


def _log_squared(values: Array) -> Array:
    return np.where(values > 2, np.floor(_log_squared_continuous(values)), values)


def _log_squared_continuous(values: Array) -> Array:
    squared = np.log(np.maximum(values, 2).astype(np.float64)) ** 2
    return np.where(values > 2, squared.astype(np.float32), values)


def _min_max(values: Array, low: Array, high: Array) -> Array:
    low, high = low.astype(np.float32), high.astype(np.float32)
    has_spread = low < high  # of no number, low is infinite
    spread = np.subtract(high, low, where=has_spread, out=np.zeros_like(low))
    return np.clip(_divided(values - low, spread), np.float32(0), np.float32(1))


def _z_score(values: Array, mean: Array, deviation: Array) -> Array:
    return _divided(values.astype(np.float64) - mean, deviation).astype(np.float32)


def _divided(values: Array, divisors: Array) -> Array:
    """0 where the divisor is 0."""
    return np.divide(values, divisors, where=divisors != 0, out=np.zeros_like(values))


_SCALES: Mapping[str, Callable[..., Array]] = {
    "identity": np.asarray,
    "log_squared": _log_squared,
    "log_squared_continuous": _log_squared_continuous,
    "min_max": _min_max,
    "z_score": _z_score,
}
