"""Rows of prepared data by the values of a field, as the raw log has them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ctr_keras.features import GROUP, Feature, FeatureSet, Numeric, Vocabulary
from ctr_keras.settings import did_you_mean
from ctr_keras.types import Array, Rows

_NUMBER_SLICES = 5
_PAIR_SEPARATOR = "\x1f"  # between the values of a crossed feature


class Slice(NamedTuple):
    """Rows of one value, or of a kind that has no value: its name is in parentheses.

    Attributes:
        value: str.
        rows: int array. Their numbers.
    """

    value: str
    rows: Array


class Column(NamedTuple):
    """Where a feature is in the packed inputs."""

    packed: str
    place: slice

    @classmethod
    def of(cls, features: FeatureSet, name: str) -> "Column":
        """That of a feature.

        Raises:
            ValueError: if there is none of that name.
        """
        for packed, members in features.packed_features.items():
            names = [member.name for member in members]
            if name in names:
                start = names.index(name)
                is_list = packed == name  # an input of its own
                return cls(packed, slice(None) if is_list else slice(start, start + 1))
        known = (feature.name for feature in features.features)
        raise ValueError(f"unknown field {name!r}{did_you_mean(name, known)}")

    @classmethod
    def of_weight(cls, features: FeatureSet) -> "Column":
        """That of the rows' weights.

        Raises:
            ValueError: if the data set declares none.
        """
        if not features.label.weight:
            raise ValueError("rows have no weights: the data set's YAML declares no `weight:`")
        return cls(features.label.weight, slice(0, 1))

    @classmethod
    def of_group(cls, features: FeatureSet, name: str = "") -> "Column":
        """That of the rows' groups: of the column that the data set declares, or of a feature.

        Raises:
            ValueError: if there is no such feature, or no name and the data set declares none.
        """
        declared = features.label.group
        if not name and not declared:
            raise ValueError("rows have no groups: the data set's YAML declares no `group:`")
        return cls(GROUP, slice(0, 1)) if name in ("", declared) else cls.of(features, name)

    def read(self, inputs: Mapping[str, Array]) -> Array:
        """Its `(rows, width)` of packed inputs."""
        return np.asarray(inputs[self.packed])[:, self.place]


def read_columns(batches: Iterable[Rows], columns: Mapping[str, Column]) -> dict[str, Array]:
    """Columns `(rows, width)` by name, of all batches of packed inputs and labels."""
    read: dict[str, list[Array]] = {name: [] for name in columns}
    for inputs, _ in batches:
        for name, column in columns.items():
            read[name].append(column.read(inputs))
    return {name: np.concatenate(parts) for name, parts in read.items()}


def slices(features: FeatureSet, name: str, column: Array, at_most: int = 20) -> list[Slice]:
    """The rows by a field's values.

    Args:
        features: FeatureSet, fitted: with the values of its vocabularies.
        name: str. Any field; a row with several values is in several slices.
        column: `(rows, width)`, its column.
        at_most: int. Values of a slice of their own, the most frequent ones; the others have one
            together. Buckets of numbers all have theirs. Defaults to `20`.

    Returns:
        Slices that have rows: those of values, then other, unknown and missing values.
    """
    feature = features[name]
    if isinstance(feature, Numeric) and not feature.bucket_count:
        return _of_numbers(feature, features.statistics.numbers.get(name, ()), column[:, 0])
    return _of_ids(features, feature, column, at_most)


def groups_of(features: FeatureSet, name: str, ids: Array) -> Array:
    """The groups of rows for metrics by group.

    Args:
        features: FeatureSet.
        name: str. A field with one category a row, or the group that the data set declares, whose
            name may be left out.
        ids: `(rows, 1)`, the column `Column.of_group`.

    Returns:
        `(rows,)` float64 ids, NaN where the value is missing or, of a field, not in the vocabulary:
        rows of users that are not known are not rows of one user.

    Raises:
        ValueError: if the field has not one category a row.
    """
    if name in ("", features.label.group):
        return np.where(ids == 0, np.nan, ids).ravel()
    feature = features[name]
    if features.vocabulary_name(feature) not in features.id_ranges or ids.shape[1] != 1:
        raise ValueError(
            f"rows are grouped by one category each, and {name!r} is a {feature.kind} field"
        )
    known = (ids != 0) & ~np.isin(ids, _unknown_ids(features, feature))
    return np.where(known, ids, np.nan).ravel()


# Categories.


def _of_ids(features: FeatureSet, feature: Feature, ids: Array, at_most: int) -> list[Slice]:
    unknown = _unknown_ids(features, feature)
    values, counts = np.unique(ids, return_counts=True)
    is_value = (values != 0) & ~np.isin(values, unknown)
    values, counts = values[is_value], counts[is_value]
    others = values[:0]
    if not isinstance(feature, Numeric):  # buckets stay in their order
        by_count = values[np.argsort(-counts, kind="stable")]
        values, others = by_count[:at_most], by_count[at_most:]
    value_of = _values(features, feature)
    found = [
        *(Slice(value_of(number), _rows_with(ids, [number])) for number in values.tolist()),
        Slice(f"({len(others)} others)", _rows_with(ids, others)),
        Slice("(unknown)", _rows_with(ids, unknown)),
        Slice("(missing)", np.flatnonzero((ids == 0).all(axis=1))),
    ]
    return [of_value for of_value in found if len(of_value.rows)]


def _rows_with(ids: Array, wanted: Sequence[int] | Array) -> Array:
    return np.flatnonzero(np.isin(ids, wanted).any(axis=1))


def _vocabulary(features: FeatureSet, feature: Feature) -> tuple[Vocabulary, int]:
    """The vocabulary of a feature and its first id."""
    name = features.vocabulary_name(feature)
    (vocabulary,) = (v for v in features.vocabularies if v.name == name)
    return vocabulary, features.id_ranges[name].start


def _unknown_ids(features: FeatureSet, feature: Feature) -> Array:
    """The ids of what is not in the vocabulary."""
    vocabulary, start = _vocabulary(features, feature)
    return np.arange(start, start + (vocabulary.oov_buckets if vocabulary.is_counted else 0))


def _values(features: FeatureSet, feature: Feature) -> Callable[[int], str]:
    """The value of an id in the raw log."""
    vocabulary, start = _vocabulary(features, feature)
    if vocabulary.hash_buckets:
        return lambda number: f"hash bucket {number - start}"
    if isinstance(feature, Numeric):
        limits = feature.boundaries or features.statistics.numbers[feature.name]
        return lambda number: _bucket(limits, number - start)
    known = features.statistics.values[vocabulary.name]
    start += vocabulary.oov_buckets
    return lambda number: known[number - start].replace(_PAIR_SEPARATOR, " x ")


def _bucket(limits: Sequence[float], number: int) -> str:
    if number == 0:
        return f"below {limits[0]:g}"
    low = f"{limits[number - 1]:g}"
    return f"{low} to below {limits[number]:g}" if number < len(limits) else f"{low} and above"


# Numbers.


def _of_numbers(feature: Numeric, learned: Sequence[float], scaled: Array) -> list[Slice]:
    """Slices of about equally many rows, and one of 0 after scaling: that is missing, too."""
    present = np.flatnonzero(scaled)
    cuts = np.arange(1, _NUMBER_SLICES) / _NUMBER_SLICES
    limits = np.unique(np.quantile(scaled[present], cuts)) if len(present) else cuts
    bucket = np.searchsorted(limits, scaled[present], side="right")
    found = []
    for number in np.unique(bucket):
        rows = present[bucket == number]
        low, high = (_raw(feature, learned, of(scaled[rows])) for of in (np.min, np.max))
        value = low if low == high else f"{low} to {high}"
        is_log = feature.scale.startswith("log_squared")  # which several numbers share
        found.append(Slice(f"{feature.scale} {value}" if is_log else value, rows))
    zero = np.flatnonzero(scaled == 0)
    if len(zero):
        found.append(Slice(f"({_raw(feature, learned, 0.0)} or missing)", zero))
    return found


def _raw(feature: Numeric, learned: Sequence[float], value: float) -> str:
    """The number before it was scaled, where that can be undone."""
    if feature.scale == "min_max":
        value = learned[0] + value * (learned[1] - learned[0])
    elif feature.scale == "z_score":
        value = learned[0] + value * learned[1]
    return f"{value:.4g}"
