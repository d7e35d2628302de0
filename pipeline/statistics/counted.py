"""What was counted of all rows: merged, moved between splits, kept in a file next to the data."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ctr_keras.files import open_input, open_output
from ctr_keras.types import Array
from pipeline.splits import SPLITS
from pipeline.statistics.counts import Counts, DistinctSample, Moments, merge, without_and_with

_INTEGERS, _NUMBERS = pa.list_(pa.int64()), pa.list_(pa.float64())
_SUMS, _WHOLE = ("sums", "squares"), pa.list_(pa.string())  # of moments: integers of any size
_COUNTS = {
    **{"strings": pa.list_(pa.string()), "numbers": _NUMBERS},
    **{"counts": _INTEGERS, "total": _INTEGERS, "error": pa.float64()},
}
_PARTS = {  # of a column, each None where it has none
    "counts": pa.struct(_COUNTS),
    "sample": pa.struct({"hashes": _INTEGERS, "rows": _INTEGERS, "limit": pa.uint64()}),
    "moments": pa.struct(
        {of.name: _NUMBERS for of in dataclasses.fields(Moments)} | dict.fromkeys(_SUMS, _WHOLE)
    ),
    "lengths": pa.struct(_COUNTS),
}
_SCHEMA = pa.schema({"feature": pa.string(), "rows": _INTEGERS, **_PARTS})

Targets = Sequence[int | None]  # where the rows of each split go; None for nowhere


@dataclasses.dataclass(frozen=True)
class Column:
    """What was counted of a feature.

    Attributes:
        rows: (splits, 1 + labels) rows with a value, and those of them with each label.
        counts: Counts. Of the values, in lists each of them.
        sample: DistinctSample.
        moments: Moments or None. Of numbers.
        lengths: Counts or None. Of the lengths of lists.
    """

    rows: Array
    counts: Counts
    sample: DistinctSample
    moments: Moments | None = None
    lengths: Counts | None = None

    @classmethod
    def merge(cls, parts: Sequence[Column]) -> Column:
        """That of all rows."""
        moments = [part.moments for part in parts if part.moments is not None]
        lengths = [part.lengths for part in parts if part.lengths is not None]
        return cls(
            np.sum([part.rows for part in parts], axis=0),
            merge([part.counts for part in parts]),
            DistinctSample.merge([part.sample for part in parts]),
            functools.reduce(operator.add, moments) if moments else None,
            merge(lengths) if lengths else None,
        )

    def moved(self, targets: Targets) -> Column:
        """That of the same rows in other splits."""
        return Column(
            _moved(self.rows, targets),
            _moved_counts(self.counts, targets),
            dataclasses.replace(self.sample, rows=_moved(self.sample.rows.T, targets).T),
            self.moments and self.moments.moved(targets),
            self.lengths and _moved_counts(self.lengths, targets),
        )

    def of_label(self, place: int) -> Column:
        """With counts of rows without one of the labels, and with it."""
        rows, counts = without_and_with(self.rows, place), self.counts.of_label(place)
        lengths = self.lengths and self.lengths.of_label(place)
        return dataclasses.replace(self, rows=rows, counts=counts, lengths=lengths)


@dataclasses.dataclass(frozen=True)
class Counted:
    """What was counted of all rows, `(splits, 1 + labels)` as in `Column`, and of each feature."""

    rows: Array
    columns: Mapping[str, Column]

    @classmethod
    def merge(cls, parts: Sequence[Counted]) -> Counted:
        """That of all rows of the parts."""
        names = parts[0].columns
        columns = {name: Column.merge([part.columns[name] for part in parts]) for name in names}
        return cls(np.sum([part.rows for part in parts], axis=0), columns)

    def moved(self, targets: Targets) -> Counted:
        """That of the same rows in other splits: `targets` has that of each one's rows, or None."""
        columns = {name: column.moved(targets) for name, column in self.columns.items()}
        return Counted(_moved(self.rows, targets), columns)

    def of_label(self, place: int) -> Counted:
        """With counts of rows without one of the labels, and with it."""
        columns = {name: column.of_label(place) for name, column in self.columns.items()}
        return Counted(without_and_with(self.rows, place), columns)


def _moved(rows: Array, targets: Targets) -> Array:
    """Arrays of splits in other splits, those that meet there added."""
    moved = np.zeros_like(rows)
    for source, target in enumerate(targets):
        if target is not None:
            moved[target] += rows[source]
    return moved


def _moved_counts(counts: Counts, targets: Targets) -> Counts:
    cells = _moved(counts.counts.swapaxes(0, 1), targets).swapaxes(0, 1)
    is_there = cells.any((1, 2))
    values = pa.array(counts.values).filter(pa.array(is_there))
    values = values if isinstance(counts.values, pa.Array) else values.to_numpy()
    return Counts(values, cells[is_there], _moved(counts.total, targets), counts.error)


# The file.


def write_counted(counted: Counted, path: str) -> None:
    """Writes a Parquet file with a row for each feature; the first has the rows of all."""
    table: list[dict[str, Any]] = [{"feature": "", "rows": counted.rows.ravel()}]
    for name, column in counted.columns.items():
        parts = {
            "counts": _of_counts(column.counts),
            "sample": dict(vars(column.sample), rows=column.sample.rows.ravel()),
            "moments": column.moments and _of_moments(column.moments),
            "lengths": column.lengths and _of_counts(column.lengths),
        }
        table.append({"feature": name, "rows": column.rows.ravel(), **parts})
    with open_output(path) as file:
        pyarrow.parquet.write_table(pa.Table.from_pylist(table, _SCHEMA), file, compression="zstd")


def read_counted(path: str) -> Counted:
    """Reads what `write_counted` has written."""
    with open_input(path) as file:
        table = pyarrow.parquet.read_table(file)
    rows = [_table(of) for of in table["rows"]]
    parts = {name: list(table[name])[1:] for name in _PARTS}
    columns = {
        str(name): Column(
            of_rows,
            _to_counts(counts),
            DistinctSample(
                _numbers(sample["hashes"]),
                _numbers(sample["rows"]).reshape(-1, len(SPLITS)),
                sample["limit"].as_py(),
            ),
            _to_moments(moments) if moments.is_valid else None,
            _to_counts(lengths) if lengths.is_valid else None,
        )
        for name, of_rows, counts, sample, moments, lengths in zip(
            table["feature"].to_pylist()[1:], rows[1:], *parts.values(), strict=True
        )
    }
    return Counted(rows[0], columns)


def _of_counts(counts: Counts) -> dict[str, Any]:
    """Values in their own order: that of strings is the one in which rows were counted."""
    values = pa.array(counts.values)
    order = pa.compute.sort_indices(values)
    return {
        "strings" if pa.types.is_string(values.type) else "numbers": values.take(order),
        "counts": counts.counts[order.to_numpy()].ravel(),
        "total": counts.total.ravel(),
        "error": counts.error,
    }


def _of_moments(moments: Moments) -> dict[str, Any]:
    return {**vars(moments), **{name: [*map(hex, getattr(moments, name))] for name in _SUMS}}


def _to_moments(stored: pa.StructScalar) -> Moments:
    parts: dict[str, Any] = {
        name: [int(of, 16) for of in values.as_py()] if name in _SUMS else _numbers(values)
        for name, values in stored.items()
    }
    return Moments(**parts)


def _to_counts(stored: pa.StructScalar) -> Counts:
    strings, total = stored["strings"], _table(stored["total"])
    values = strings.values if strings.is_valid else _numbers(stored["numbers"])
    counts = _numbers(stored["counts"]).reshape(-1, *total.shape)
    return Counts(values, counts, total, stored["error"].as_py())


def _table(stored: pa.ListScalar) -> Array:
    return _numbers(stored).reshape(len(SPLITS), -1)


def _numbers(stored: pa.ListScalar) -> Array:
    return np.asarray(stored.values)
