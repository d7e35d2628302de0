"""Single values in JSON and in arrays, in both directions, by TensorFlow Serving's rules."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.codes import Code, StatusError, invalid_argument
from serving.server.rest.json_text import dump_scalar, dumps
from serving.tensors import MAX_RANK, bytes_array, type_name
from serving.types import Array, Json

_FLOATS = {types_pb2.DT_FLOAT: np.float32, types_pb2.DT_DOUBLE: np.float64}
# Narrow integers are checked against int32 only and then cut, as TensorFlow Serving does.
_INTEGERS: dict[int, tuple[type[np.integer[Any]], type[np.integer[Any]]]] = {
    types_pb2.DT_INT32: (np.int32, np.int32),
    types_pb2.DT_INT16: (np.int32, np.int16),
    types_pb2.DT_INT8: (np.int32, np.int8),
    types_pb2.DT_UINT8: (np.int32, np.uint8),
    types_pb2.DT_INT64: (np.int64, np.int64),
    types_pb2.DT_UINT32: (np.uint32, np.uint32),
    types_pb2.DT_UINT64: (np.uint64, np.uint64),
}
READABLE = {*_FLOATS, *_INTEGERS, types_pb2.DT_BOOL, types_pb2.DT_STRING}
_JSON_TYPES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)(={0,2})")
_BASE64_BLANK = re.compile(r"[ \t\n\r\f\v]+")
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


# JSON to arrays


def fits(values: Sequence[Json], dtype: int) -> bool:
    """Whether scalars can go into an array of a readable type; into strings, only str can.

    Example:

    >>> fits([1, 300], types_pb2.DT_UINT8), fits([1, 3e9], types_pb2.DT_INT32)
    (True, False)
    """
    kinds = set(map(type, values))
    if dtype in _FLOATS:
        return kinds <= {int, float}
    if dtype in _INTEGERS:
        limits = np.iinfo(_INTEGERS[dtype][0])
        in_range = kinds == {int} and limits.min <= min(values) and max(values) <= limits.max
        return not values or in_range
    return kinds <= ({bool} if dtype == types_pb2.DT_BOOL else {str})


def read_scalar(value: Json, dtype: int) -> Json:
    """Checks one value that is not a list; a base64 object becomes its bytes."""
    if isinstance(value, dict):
        if dtype != types_pb2.DT_STRING:
            raise _wrong_type(value, dtype)
        if not is_base64(value):
            raise bad_value(value, "not formatted correctly for base64 data")
        return decode_base64(value["b64"])
    if dtype not in READABLE:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {dumps(value)} to type: {type_name(dtype)}",
        )
    if not fits([value], dtype):
        raise _wrong_type(value, dtype)
    return value


def make_array(values: Sequence[Json], shape: Sequence[int], dtype: int) -> Array:
    """Makes the array of flat values that fit; strings may be str or, from base64, bytes.

    Example:

    >>> make_array([1, 300], [2], types_pb2.DT_UINT8)
    array([ 1, 44], dtype=uint8)
    """
    if len(shape) > MAX_RANK:
        raise invalid_argument(f"A tensor of {len(shape)} dimensions is not supported")
    if dtype == types_pb2.DT_STRING:
        return bytes_array([_utf8(value) for value in values]).reshape(shape)
    if dtype in _INTEGERS:
        checked, kept = _INTEGERS[dtype]
        return np.array(values, checked).astype(kept, copy=False).reshape(shape)
    if dtype == types_pb2.DT_BOOL:
        return np.array(values, np.bool_).reshape(shape)
    if dtype not in _FLOATS:  # no values, so none that could not be converted
        return np.zeros(shape, tf.as_dtype(dtype).as_numpy_dtype)
    try:
        with np.errstate(over="ignore"):  # beyond the type's range is infinity
            return np.array(values, np.float64).astype(_FLOATS[dtype], copy=False).reshape(shape)
    except OverflowError as error:  # an integer of more than 308 digits
        message = "JSON Parse error: Number too big to be stored in double."
        raise invalid_argument(message) from error


def _utf8(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def is_base64(value: dict[str, Json]) -> bool:
    """Whether an object stands for bytes."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(string: str) -> bytes:
    """Decodes base64; white space and missing padding are accepted, wrong padding is not.

    Example:

    >>> decode_base64("aGk"), decode_base64("aG k=")
    (b'hi', b'hi')
    """
    match = _BASE64.fullmatch(_BASE64_BLANK.sub("", string))
    if match:
        digits, padding = match.groups()
        missing = "=" * (-len(digits) % 4)
        if len(missing) < 3 and padding in ("", missing):
            return binascii.a2b_base64(digits + missing)
    raise invalid_argument("Unable to base64 decode")


def json_type(value: Json) -> str:
    """What JSON's grammar calls a value, in error messages."""
    return str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]


def _wrong_type(value: Json, dtype: int) -> StatusError:
    return bad_value(value, f"Type: {json_type(value)} is not of expected type: {type_name(dtype)}")


def bad_value(value: Json, complaint: str) -> StatusError:
    """The error that quotes a value and says what is wrong with it."""
    return invalid_argument(f"JSON Value: {dumps(value)} {complaint}")


# Arrays to JSON


def write_scalars(name: str, array: Array, dtype: int) -> list[str]:
    """Every element of an output as JSON; strings of one named `..._bytes` in base64.

    Example:

    >>> write_scalars("flag", np.array([[True], [False]]), types_pb2.DT_BOOL)
    ['true', 'false']
    """
    flat = np.asarray(array, object if dtype == types_pb2.DT_STRING else None).reshape(-1)
    if dtype == types_pb2.DT_STRING:
        write = _base64_object if name.endswith("_bytes") else _string
        return [write(value) for value in flat]
    if dtype == types_pb2.DT_HALF:
        return write_floats(flat.astype(np.float32))
    if dtype in _FLOATS:
        return write_floats(flat)
    if dtype in _INTEGERS:
        return list(map(str, flat.tolist()))
    if dtype == types_pb2.DT_BOOL:
        return ["true" if value else "false" for value in flat.tolist()]
    message = f"Failed to write JSON value for tensor type: {type_name(dtype)}"
    raise invalid_argument(message)


def _base64_object(value: bytes) -> str:
    return f'{{"b64": "{base64.b64encode(value).decode()}"}}'


def _string(value: bytes) -> str:
    return dump_scalar(value.decode("utf-8", "surrogateescape"))


def write_floats(flat: Array) -> list[str]:
    """Writes floats with six significant digits where that reads back to the same value.

    Example:

    >>> write_floats(np.float32([0.1, 2, 1 / 3]))
    ['0.1', '2.0', '0.333333343']
    """
    digits = 9 if flat.dtype == np.float32 else 17
    values = flat.tolist()
    rounded = [f"{value:g}" for value in values]
    same = np.array(rounded, np.float64).astype(flat.dtype) == flat
    return [
        _with_point(short if exact else f"{value:.{digits}g}")
        for short, exact, value in zip(rounded, same.tolist(), values, strict=True)
    ]


def _with_point(number: str) -> str:
    """Keeps a whole number recognizable as a float."""
    if "." in number or "e" in number:
        return number
    return _NOT_FINITE.get(number) or number + ".0"
