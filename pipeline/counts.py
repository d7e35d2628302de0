"""What is counted of the rows that are written, batch by batch: (name, number) pairs.

`report.py` says what the names mean to a reader.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features import Categorical, Crossed, Feature, FeatureSet, Numeric
from ctr_keras.features.columns import numbers_of
from ctr_keras.features.packing import time_part
from ctr_keras.types import Array
from pipeline.splits import SPLITS

USER, TIME = "\x1frow.user", "\x1frow.time"  # columns that end here
_PARTITIONS = 32  # of the users


def span_of_times(batch: pa.RecordBatch, splits: Array) -> Iterator[tuple[str, tuple[int, int]]]:
    """The first and the last time of each split, if times are known."""
    if TIME not in batch.schema.names:
        return
    times = np.asarray(batch.column(TIME).flatten())
    for index, name in enumerate(SPLITS):
        of_split = times[(splits == index) & ~np.isnan(times)]
        if len(of_split):
            yield name, (int(of_split.min()), int(of_split.max()))


def widest(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The first and the last time of several spans."""
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)


def users_by_split(batch: pa.RecordBatch, splits: Array) -> Iterator[tuple[int, Array]]:
    """By partition of the users, distinct numbers that stand for a user and one of its splits."""
    if USER not in batch.schema.names:
        return
    users = np.asarray(batch.column(USER).flatten())
    known = users != 0
    codes = np.unique(len(SPLITS) * users[known] + splits[known])
    partition = codes // len(SPLITS) % _PARTITIONS
    for i in np.unique(partition).tolist():
        yield i, codes[partition == i]


def distinct(parts: Iterable[Array]) -> Array:
    """The numbers that are in any of several arrays."""
    return np.asarray(np.unique(np.concatenate(list(parts))))


def count_users(codes: Array) -> Iterator[tuple[str, int]]:
    """`users: <splits>` of a partition: how many users are in exactly these."""
    users, splits = np.divmod(codes, len(SPLITS))
    _, place = np.unique(users, return_inverse=True)
    is_in = np.zeros((place.max(initial=-1) + 1, len(SPLITS)), bool)
    is_in[place, splits] = True
    for row, count in zip(*np.unique(is_in, axis=0, return_counts=True), strict=True):
        names = (name for name, there in zip(SPLITS, row, strict=True) if there)
        yield f"users: {' '.join(names)}", int(count)


def count_clicks(
    features: FeatureSet, batch: pa.RecordBatch, splits: Array
) -> Iterator[tuple[str, int]]:
    """`clicks: <split>`; and of each further label `clicks of <label>: <split>`, and the rows that
    have it without the first one, `alone: <label>`."""
    first, *others = (np.asarray(batch.column(name).flatten()) for name in features.label_names)
    for index, split in enumerate(SPLITS):
        yield f"clicks: {split}", int(first[splits == index].sum())
    for name, labels in zip(features.label_names[1:], others, strict=True):
        for index, split in enumerate(SPLITS):
            yield f"clicks of {name}: {split}", int(labels[splits == index].sum())
        yield f"alone: {name}", int((labels > first).sum())


def count_missing(features: FeatureSet, batch: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    """`missing: <feature>`, and of features of times `unread: <feature>`, the values that are there
    but no times."""
    missing_numbers = numbers_of(features.missing)
    for feature in features.features:
        if not isinstance(feature, Crossed):
            column = batch.column(feature.raw_column).flatten()
            yield from _count_missing(feature, column, missing_numbers)


def _count_missing(
    feature: Feature, column: pa.Array, missing_numbers: list[float]
) -> Iterator[tuple[str, int]]:
    if isinstance(feature, Numeric):
        values = np.asarray(column)
        is_missing = ~np.isfinite(values) | np.isin(values, np.array(missing_numbers, values.dtype))
        yield f"missing: {feature.name}", int(is_missing.sum())
        return
    empty = pc.sum(pc.equal(column, "")).as_py() or 0
    unread = 0
    if isinstance(feature, Categorical) and feature.time_part:
        coded = column.dictionary_encode()
        is_read = [time_part(value, feature) != "" for value in coded.dictionary.to_pylist()]
        unread = int((~np.array(is_read, bool)[coded.indices]).sum()) - empty
        yield f"unread: {feature.name}", unread
    yield f"missing: {feature.name}", empty + unread
