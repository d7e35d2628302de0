"""Values that users pass to and from NumPy arrays of the types that a signature takes.

An array of strings is one of dtype object: bytes on the way to the server; on the way back str,
or bytes where the output's name ends in `_bytes`, as TensorFlow Serving's REST API has it. Bytes
that are not UTF-8 are surrogate escapes in it: `string.encode("utf-8", "surrogateescape")`.
"""

import math
import numbers
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.model import TensorInfo
from serving.types import Array, Arrays, DType, Value

_DTYPES = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_HALF": np.float16,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT8": np.uint8,
    "DT_UINT16": np.uint16,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_BOOL": np.bool_,
    "DT_COMPLEX64": np.complex64,
    "DT_COMPLEX128": np.complex128,
    "DT_STRING": np.object_,
}


def numpy_dtype(name: str) -> DType:
    """The NumPy type of a TensorFlow type; object for strings.

    Example:

    >>> numpy_dtype("DT_FLOAT")
    dtype('float32')
    """
    if name not in _DTYPES:
        raise ValueError(f"type {name} is not supported by this client")
    return np.dtype(_DTYPES[name])


def object_array(values: Sequence[Any], shape: tuple[int, ...]) -> Array:
    """An array of dtype object, whose elements (row-major) may be sequences themselves."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def to_arrays(
    columns: Mapping[str, Any],
    inputs: Mapping[str, TensorInfo],
    ignore: Collection[str] = (),
    first_row: int = 1,
) -> Arrays:
    """Columns as arrays of the types that a signature takes.

    None and NaN are missing values: `""` for strings, NaN for floats, an error for other types. A
    number for a string input becomes a string as Python has it, but for 7.0, an error: it may be
    `7`, of a column of a frame that has missing values, or `7.0`.

    Args:
        columns: dict. Input name to values: a (nested) list, an array, or a single value.
        inputs: dict. Input name to `TensorInfo`.
        ignore: collection of str. Columns to leave out.
        first_row: int. Number of the first row, for errors.

    Raises:
        ValueError: if a column is missing or unknown, or a value does not fit; says which.

    Example:

    >>> to_arrays({"price": [1, None]}, {"price": TensorInfo("DT_FLOAT")})["price"].tolist()
    [1.0, nan]
    """
    if missing := sorted(name for name in inputs if name not in columns):
        raise ValueError(f"the model also needs {_columns(missing)}")
    if surplus := [name for name in columns if name not in inputs and name not in ignore]:
        raise ValueError(f"the model has no input for {_columns(surplus)} (`ignore` leaves it out)")
    return {
        name: _to_array(name, columns[name], numpy_dtype(info.dtype), first_row)
        for name, info in inputs.items()
    }


def _columns(names: Sequence[Any]) -> str:
    return f"column{'s' * (len(names) > 1)} {', '.join(map(str, names))}"


def _to_array(name: str, values: Value, dtype: DType, first_row: int) -> Array:
    if is_pandas(values, "Series"):
        values = _series_values(values)
    if isinstance(values, np.ndarray):
        if _fits(values.dtype, dtype):
            return values.astype(dtype)
        values = values.tolist()  # elements of arrays of objects may be lists
    cells = np.array(values, object)
    convert, done = _CONVERSIONS[dtype.kind], []
    try:
        for cell in cells.flat:
            done.append(convert(cell, dtype))
    except ValueError as error:
        row = f"row {first_row + len(done) // (cells.size // len(cells))}, " if cells.ndim else ""
        raise ValueError(f"{row}column {name}: {error}") from error
    return object_array(done, cells.shape).astype(dtype, copy=False)


def _series_values(series: Any) -> Any:
    """The values of a pandas.Series, with None for those that are missing."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiub":
        return series.to_numpy()
    return series.astype(object).where(series.notna(), None).tolist()


def _fits(given: DType, wanted: DType) -> bool:
    """Whether arrays of a type can be cast as they are, without a look at each value."""
    if wanted.kind == "f":
        return given.kind in "fiu"
    return given.kind == wanted.kind != "O" and np.can_cast(given, wanted)


def _string(value: Value, dtype: DType) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    if _is_missing(value):
        return b""
    if isinstance(value, (bool, np.bool_)) or _is_whole_float(value):
        other = str(int(value))  # which of them only the vocabulary says, and it is not here
        raise ValueError(
            f'expected a string, got {value}: give it as in training, "{value}" or "{other}"'
        )
    if _is_number(value, numbers.Real):
        return str(value).encode()
    raise _unfit("a string", value)


def _is_whole_float(value: Value) -> bool:
    return isinstance(value, (float, np.floating)) and float(value).is_integer()


def _float(value: Value, dtype: DType) -> float:
    if type(value) is float:
        return value
    if _is_missing(value):
        return math.nan
    if _is_number(value, numbers.Real):
        return float(value)
    raise _unfit("a number", value)


def _integer(value: Value, dtype: DType) -> int:
    limits = np.iinfo(dtype)
    if _is_number(value, numbers.Integral) and limits.min <= value <= limits.max:
        return int(value)
    raise _unfit(f"a whole number from {limits.min} to {limits.max}", value)


def _boolean(value: Value, dtype: DType) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise _unfit("True or False", value)


def _complex(value: Value, dtype: DType) -> complex:
    if _is_number(value, numbers.Number):
        return complex(value)
    raise _unfit("a number", value)


_CONVERSIONS: dict[str, Callable[[Any, DType], Any]] = {
    "O": _string,
    "f": _float,
    "i": _integer,
    "u": _integer,
    "b": _boolean,
    "c": _complex,
}


def _is_number(value: Value, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_missing(value: Value) -> bool:
    return value is None or (isinstance(value, numbers.Real) and math.isnan(value))


def _unfit(expected: str, value: Value) -> ValueError:
    if isinstance(value, (list, tuple, np.ndarray)):
        return ValueError(f"expected {expected}, and lists of one length, got {value!r}")
    return ValueError(f"expected {expected}, got {value!r}")


def decode(name: str, array: Array) -> Array:
    """Strings of an output as users get them; one whose name ends in `_bytes` keeps its bytes.

    Example:

    >>> decode("genre", np.array([b"drama"], object)).tolist()
    ['drama']
    """
    if array.dtype != object or name.endswith("_bytes"):
        return array
    strings = [value.decode("utf-8", "surrogateescape") for value in array.flat]
    return object_array(strings, array.shape)


def is_pandas(value: Value, kind: str) -> bool:
    """Whether a value is of a class of pandas, without importing pandas to find out."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, kind))
