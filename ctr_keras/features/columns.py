"""Columns of a frame as the pipeline reads them from a file: strings, or float32 numbers.

A frame is anything with columns by name: of pandas, polars or pyarrow, or a dict of arrays or
lists. None of these is imported.

How a value is spelled as a string, which is what vocabularies hold:

- A string is taken as it is. `""`, None, NaN and what pandas has for missing mean missing, and so
  do the strings that `FeatureSet(missing=...)` names.
- An integer and a whole float are spelled alike, `3`; True and False are `1` and `0`. This is what
  the pipeline makes of Parquet. In a CSV file `3`, `3.0` and `03` are three values, and a reader
  that turns them into numbers loses that. A vocabulary of `3.0` or `True` is known by its values,
  and frames are then spelled like it (`spelling.py`); other such columns have to be strings.
- Other floats are refused, and long ones, which may have lost digits: from 1e10, in float32 from
  2**24, in float16 from 2**11.
- A time in a column of times is `2024-01-31 12:00:00`, with as many digits of seconds as the column
  has, which is what the pipeline makes of Parquet; one with a zone is that time in UTC, with a `Z`
  behind it. Single times have six digits of seconds, and days are `2024-01-31`.
  `Categorical(time_part=...)` reads all of them.
- A list, for `MultiValued` and `Sequence`, is joined by the feature's separator, and so is a dict
  (of pyarrow a map) of values and their weights.

Numbers are rounded to float32, and those that are not finite are missing. Strings that are numbers
are taken for them.
"""

import collections
import datetime
import functools
import re
from collections.abc import Callable, Container, Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ctr_keras.features.declarations import Categorical, Label, MultiValued, Sequence
from ctr_keras.features.labels import is_positive, remedy
from ctr_keras.settings import did_you_mean
from ctr_keras.types import Array

Frame: TypeAlias = Any  # columns by name

_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LONG_FLOATS = {2: 2.0**11, 4: 2.0**24, 8: 1e10}  # by size in bytes
_FIRST = np.zeros(1, np.intp)  # the code of a row that is alone


class Coded(NamedTuple):
    """A column as its distinct values and where they are: row `i` has `values[codes[i]]`."""

    values: SequenceOf[Any]
    codes: Array

    def counts(self) -> collections.Counter[str]:
        """How often each string is there, alone or in lists; missing ones are not counted."""
        counts: collections.Counter[str] = collections.Counter()
        rows = np.bincount(self.codes, minlength=len(self.values)).tolist()
        for value, in_rows in zip(self.values, rows, strict=True):
            for string in value if isinstance(value, list) else [value]:
                if string:
                    counts[string] += in_rows
        return counts

    def map(self, name: str, function: Callable[[Any], Any]) -> list[Any]:
        """The function of each value; a value it refuses is named with its row and column."""
        mapped = []
        for code, value in enumerate(self.values):
            try:
                mapped.append(function(value))
            except ValueError as error:
                row = int(np.argmax(self.codes == code))
                shown = value.item() if isinstance(value, np.generic) else value
                raise ValueError(f"column {name!r}, row {row}: {shown!r} {error}") from None
        return mapped


class Columns:
    """The columns of a frame that features read, all of one length.

    Args:
        frame: the frame.
        names: list of str. The columns.
        spellings: dict. By column, how whole numbers are spelled as categories. Defaults to `{}`:
            all as by `str`.
        missing: tuple of str. Values that mean a missing one. Defaults to `()`.

    Raises:
        ValueError: for a column that is not there or there twice, is not one-dimensional, or has
            another length.
    """

    def __init__(
        self,
        frame: Frame,
        names: Iterable[str],
        spellings: Mapping[str, Callable[[int], str]] = MappingProxyType({}),
        missing: SequenceOf[str] = (),
    ):
        self._spellings = spellings
        self._missing = frozenset(missing)
        self._strings: dict[str, Coded] = {}  # by feature: several parts of packing ask for them
        available = collections.Counter(_names(frame))
        self._columns = {}
        for name in names:
            if name not in available:
                raise ValueError(f"there is no column {name!r}{did_you_mean(name, available)}")
            if available[name] > 1:
                raise ValueError(f"column {name!r} occurs {available[name]} times: rename one")
            self._columns[name] = _cells(name, frame[name])
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must have the same length. Received: {lengths}")
        self.rows = next(iter(lengths.values()))

    def strings(self, feature: Categorical | MultiValued | Sequence) -> Coded:
        """The column of a feature of categories, spelled."""
        if feature.name not in self._strings:
            coded = self._read(feature)
            if self._missing:
                kept = ["" if value in self._missing else value for value in coded.values]
                coded = Coded(kept, coded.codes)
            self._strings[feature.name] = coded
        return self._strings[feature.name]

    def _read(self, feature: Categorical | MultiValued | Sequence) -> Coded:
        coded = _coded(self._columns[feature.raw_column])
        if {*map(type, coded.values)} == {str}:
            return coded
        whole = self._spellings.get(feature.raw_column, str)
        spell = functools.partial(_spelled, whole=whole)
        if not isinstance(feature, Categorical):
            spell = functools.partial(_spelled_list, feature, whole=whole)
        return Coded(coded.map(feature.raw_column, spell), coded.codes)

    def labels(self, label: Label) -> Array:
        """(rows, 1) float32 labels, 0 or 1."""
        coded = _coded(self._columns[label.name])
        read = functools.partial(_label, label)
        return np.array(coded.map(label.name, read), np.float32)[coded.codes][:, None]

    def numbers(self, name: str) -> Array:
        """(rows,) float32 numbers, NaN where missing."""
        return self.table([name])[:, 0]

    def table(self, names: SequenceOf[str]) -> Array:
        """(rows, columns) float32 numbers, NaN where missing."""
        columns = [_number_array(name, self._columns[name], self._missing) for name in names]
        with np.errstate(over="ignore"):
            table = side_by_side([column.astype(np.float32) for column in columns])
        is_infinite = np.isinf(table)
        if is_infinite.any():
            for name, column, of_column in zip(names, columns, is_infinite.T, strict=True):
                _check_finite(name, column, of_column)
            table[is_infinite] = np.nan
        if numbers := numbers_of(self._missing):
            table[np.isin(table, np.array(numbers, np.float32))] = np.nan
        return table


def numbers_of(missing: Iterable[str]) -> list[float]:
    """Those of the values that mean a missing one that are numbers.

    Example:

    >>> numbers_of(["NA", "-1"])
    [-1.0]
    """
    return [float(value) for value in missing if _NUMBER.fullmatch(value)]


def side_by_side(columns: SequenceOf[Array]) -> Array:
    """(rows, columns), of few rows faster than `np.stack`."""
    return np.concatenate(columns).reshape(len(columns), len(columns[0])).T.copy()


def _names(frame: Frame) -> list[str]:
    for attribute in ("column_names", "columns"):  # of pyarrow; of pandas and polars
        if hasattr(frame, attribute):
            return list(getattr(frame, attribute))
    if hasattr(frame, "keys"):
        return list(frame.keys())
    raise TypeError(
        "expected columns by name (a frame of pandas, polars or pyarrow, or a dict of arrays), got "
        f"{type(frame).__name__}"
    )


def _cells(name: str, column: Any) -> Array | list[Any]:
    """A column as an array, or as a list of values of any type."""
    if isinstance(column, list | tuple):
        return list(column)
    if (times := _times(column)) is not None:
        return times
    nulls = getattr(column, "null_count", 0)  # of pyarrow; of polars a method
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    is_nullable = kind in ("i", "u") and getattr(column, "hasnans", False)  # of pandas
    if is_nullable or (nulls() if callable(nulls) else nulls):
        # As an array it would have NaN for null, and integers would be floats.
        return list(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())
    array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} must be one-dimensional. Received: {array.shape}")
    if array.dtype.kind == "M":
        return _spelled_times(array)
    if array.dtype.kind not in "biufOSU":
        raise ValueError(f"column {name!r} is of {array.dtype}: give it as strings or numbers")
    return array if array.dtype.kind in "biuf" else array.tolist()


def _times(column: Any) -> list[str] | None:
    """A column of a type that may have a zone, spelled; None for any other. As an array it would be
    of objects in pandas, and in pyarrow say nothing of its zone."""
    kind: Any = getattr(column, "type", getattr(column, "dtype", None))
    kind = getattr(kind, "pyarrow_dtype", kind)  # of pandas
    if hasattr(kind, "time_zone"):  # of polars
        unit, zone = kind.time_unit, kind.time_zone
    elif hasattr(kind, "tz"):
        unit, zone = kind.unit, kind.tz
    else:
        return None
    return _spelled_times(np.asarray(column, f"M8[{unit}]"), zone)


def _spelled_times(times: Array, zone: Any = None) -> list[str]:
    """Times of datetime64, which are in UTC if they had a zone, spelled; `""` for missing ones."""
    behind = "" if zone is None else "Z"
    spelled = np.datetime_as_string(times).tolist()
    return ["" if time == "NaT" else f"{time.replace('T', ' ')}{behind}" for time in spelled]


def _coded(column: Array | list[Any]) -> Coded:
    """Equal values become one; of objects without an order by hashing them."""
    if isinstance(column, np.ndarray):
        values, codes = np.unique(column, return_inverse=True)
        # Floats keep their type, which says how many digits they hold.
        return Coded(list(values) if column.dtype.kind == "f" else values.tolist(), codes)
    if len(column) == 1:  # a request's
        return Coded(column, _FIRST)
    try:
        places = {value: place for place, value in enumerate(dict.fromkeys(column))}
        codes = np.fromiter(map(places.__getitem__, column), np.intp, len(column))
        return Coded(list(places), codes)
    except TypeError:  # there is a value that cannot be hashed, such as a list
        return Coded(column, np.arange(len(column)))


def _number_array(name: str, column: Array | list[Any], missing: Container[str]) -> Array:
    """A column of numbers as an array, NaN where missing."""
    if isinstance(column, np.ndarray):
        return column
    if {*map(type, column)} <= {float, type(None)}:
        return np.array(column, np.float64)  # of None it makes NaN
    coded = _coded(column)
    numbers = coded.map(name, functools.partial(_number, missing))
    return np.array(numbers, np.float64)[coded.codes]


def _check_finite(name: str, column: Array, is_infinite: Array) -> None:
    """Checks that no number became infinite as a float32."""
    is_too_large = is_infinite & np.isfinite(column)
    if is_too_large.any():
        row = int(np.argmax(is_too_large))
        largest = f"{np.finfo(np.float32).max:.2g}, the largest float32"
        raise ValueError(f"column {name!r}, row {row}: {column[row]} is beyond {largest}")


def _spelled_list(feature: MultiValued | Sequence, value: Any, whole: Callable[[int], str]) -> str:
    """A list as the string that the pipeline makes of it. One with a missing value is missing, as
    in Parquet."""
    of_weight = getattr(feature, "weight_separator", None)
    if of_weight is not None and isinstance(value, dict):
        value = [*value.items()]
    if not isinstance(value, list | tuple | np.ndarray):
        return _spelled(value, whole)
    if any(map(_is_missing, value)):
        return ""
    items = [_spelled_item(item, of_weight, whole) for item in value]
    if any(feature.separator in item for item in items):
        raise ValueError(f"has an item that holds the separator {feature.separator!r}")
    return feature.separator.join(items)


def _spelled_item(item: Any, of_weight: str | None, whole: Callable[[int], str]) -> str:
    """A value, or a pair of a value and its weight, which is missing where it is None."""
    if of_weight is None or not isinstance(item, tuple):
        return _spelled(item, whole)
    value, weight = item
    return f"{_spelled(value, whole)}{of_weight}{'' if weight is None else weight}"


def _spelled(value: Any, whole: Callable[[int], str] = str) -> str:
    """A value as the string that it is in a vocabulary, `""` for a missing one; `whole` spells
    whole numbers."""
    if isinstance(value, str):
        return str(value)
    if _is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | np.integer | np.bool_):  # True is one
        return whole(int(value))
    if isinstance(value, datetime.date | np.datetime64):  # a datetime is a date, too
        return _spelled_time(value)
    if not isinstance(value, float | np.floating):
        raise ValueError(f"is a {type(value).__name__}, not a string or an integer")
    size = getattr(value, "itemsize", 8)  # in bytes; a float of Python has no such attribute
    if abs(float(value)) >= _LONG_FLOATS.get(size, _LONG_FLOATS[8]):
        raise ValueError(
            f"is a long number as a float{8 * size}: read the column as integers or strings"
        )
    if not float(value).is_integer():
        raise ValueError("is not a category: a float must be whole")
    return whole(int(value))


def _spelled_time(value: datetime.date | np.datetime64) -> str:
    """A time or day of a list, or of a column of objects."""
    zone = getattr(value, "tzinfo", None)
    if isinstance(value, datetime.datetime):
        naive = value.astimezone(datetime.UTC).replace(tzinfo=None) if zone else value
        value = np.datetime64(naive, "us")
    return _spelled_times(np.array([value], "M8"), zone)[0]


def _number(missing: Container[str], value: Any) -> float:
    if isinstance(value, bytes):
        value = value.decode()
    if _is_missing(value):
        return float("nan")
    if isinstance(value, int | float | np.number | np.bool_):
        return float(value)
    if isinstance(value, str):
        if not value or value in missing or _NOT_FINITE.fullmatch(value):
            return float("nan")
        if _NUMBER.fullmatch(value):
            return float(value)
    raise ValueError("is not a number")


def _label(label: Label, value: Any) -> float:
    try:
        spelled = _spelled(value)
    except ValueError:  # a float that is not whole, or an object
        spelled = str(value)
    is_click = is_positive(label, spelled)
    if not spelled and is_click is None:
        raise ValueError("is missing: a label must not be")
    if is_click is None:
        raise ValueError(f"is a label {remedy(label)}")
    return float(is_click)


def _is_missing(value: Any) -> bool:
    """None, NaN, and the `NA` and `NaT` of pandas."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")
