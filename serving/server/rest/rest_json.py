"""TensorFlow Serving's JSON rules: request documents to arrays, output arrays to JSON text.

A value is converted on one of two ways. The quick one flattens whole columns at C speed and gives
up at the first irregularity. The exact one visits value by value in TensorFlow Serving's order,
takes what the quick one could not (such as base64 objects), and words every error.
"""

import base64
import binascii
import collections
import itertools
import re
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.server.errors import Code, StatusError, invalid_argument
from serving.server.rest.json_text import JsonError, dump_scalar, dumps, loads
from serving.tensors import MAX_RANK, Arrays, DTypes, bytes_array, type_name

_FLOATS = {types_pb2.DT_FLOAT: np.float32, types_pb2.DT_DOUBLE: np.float64}
# Narrow integers are checked against int32 only and then cut, as TensorFlow Serving does.
_INTEGERS = {
    types_pb2.DT_INT32: (np.int32, np.int32),
    types_pb2.DT_INT16: (np.int32, np.int16),
    types_pb2.DT_INT8: (np.int32, np.int8),
    types_pb2.DT_UINT8: (np.int32, np.uint8),
    types_pb2.DT_INT64: (np.int64, np.int64),
    types_pb2.DT_UINT32: (np.uint32, np.uint32),
    types_pb2.DT_UINT64: (np.uint64, np.uint64),
}
_READABLE = {*_FLOATS, *_INTEGERS, types_pb2.DT_BOOL, types_pb2.DT_STRING}
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


def read_document(body: bytes) -> dict[str, Any]:
    """Parses a request body.

    Args:
        body: bytes.

    Returns:
        dict.

    Raises:
        StatusError: INVALID_ARGUMENT if it is no JSON, no object, or its signature_name no string.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = loads(body)
    except JsonError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _blame(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise _blame(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def read_inputs(document: dict[str, Any], dtypes: DTypes) -> tuple[Arrays, bool]:
    """Reads the tensors of a predict request.

    Args:
        document: dict. From `read_document`.
        dtypes: dict. The signature's input names to `DataType` enum values.

    Returns:
        (arrays, in_rows): dict of input name to NumPy array; whether the format is rows.

    Raises:
        StatusError: INVALID_ARGUMENT with TensorFlow Serving's text, UNIMPLEMENTED for a type
            that JSON cannot carry.

    Example:

    >>> read_inputs({"instances": [1.5, 2]}, {"x": types_pb2.DT_FLOAT})
    ({'x': array([1.5, 2. ], dtype=float32)}, True)
    """
    if "instances" in document and "inputs" in document:
        raise _blame(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise _blame(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise _blame(document, "No values in 'instances' array")
        return _read_rows(rows, dtypes), True
    if "inputs" in document:
        return _read_columns(document["inputs"], dtypes), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def write_outputs(arrays: Arrays, dtypes: DTypes, in_rows: bool) -> str:
    """Writes a predict response.

    Args:
        arrays: dict. Output name to NumPy array.
        dtypes: dict. Output name to `DataType` enum value.
        in_rows: bool. Row format ("predictions") or columns ("outputs").

    Returns:
        str. JSON text.

    Raises:
        StatusError: INVALID_ARGUMENT if an output cannot be written in that format.

    Example:

    >>> write_outputs({"y": np.float32([0.1, 2])}, {"y": types_pb2.DT_FLOAT}, in_rows=True)
    '{"predictions": [0.1, 2.0]}'
    """
    if not arrays:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if in_rows:
        _check_batch(arrays)
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    texts = {name: _scalar_texts(name, array, dtypes[name]) for name, array in arrays.items()}
    if not in_rows:
        columns = {name: _nested(texts[name], shape) for name, shape in shapes.items()}
        return f'{{"outputs": {_named(columns)}}}'
    rows = {name: _batch(texts[name], shape) for name, shape in shapes.items()}
    names = list(rows)
    items = (_named(dict(zip(names, row, strict=True))) for row in zip(*rows.values(), strict=True))
    return f'{{"predictions": [{", ".join(items)}]}}'


# Requests


def _read_rows(rows: list, dtypes: DTypes) -> Arrays:
    named = _is_object(rows[0])
    if not named and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    arrays = _rows_quickly(rows, dtypes, named)
    return _rows_exactly(rows, dtypes, named) if arrays is None else arrays


def _rows_quickly(rows: list, dtypes: DTypes, named: bool) -> Arrays | None:
    if not named:
        (name, dtype), *others = dtypes.items()
        array = None if others else _quickly(rows, dtype)
        return None if array is None else {name: array}
    if any(type(row) is not dict or row.keys() != dtypes.keys() for row in rows):
        return None
    groups = collections.defaultdict(list)
    for name, dtype in dtypes.items():
        groups[dtype].append(name)
    arrays = {}
    for dtype, names in groups.items():  # together, as a call costs more than a value
        columns = _quickly([[row[name] for row in rows] for name in names], dtype)
        if columns is None:  # of several shapes, or not regular at all
            columns = [_quickly([row[name] for row in rows], dtype) for name in names]
        if any(column is None for column in columns):
            return None
        arrays.update(zip(names, columns, strict=True))
    return arrays


def _rows_exactly(rows: list, dtypes: DTypes, named: bool) -> Arrays:
    shapes, values = {}, {}
    for position, row in enumerate(rows):
        if _is_object(row) != named:
            raise invalid_argument(
                f"Expecting object but got list at item {position} of input list"
                if named
                else f"Expecting value/list but got object at item {position} of input list"
            )
        for name, value in row.items() if named else [(next(iter(dtypes)), row)]:
            try:
                _add_row_value(name, value, dtypes, shapes, values)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {position}{key} of 'instances' list. "
                    f"Error: {error}"
                ) from error
        if named and row.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. "
                f"JSON object: {dumps(row)} keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {
        name: _array(flat, [len(rows), *shapes[name]], dtypes[name])
        for name, flat in values.items()
    }


def _add_row_value(
    name: str, value: Any, dtypes: DTypes, shapes: dict[str, list], values: dict[str, list]
) -> None:
    if name not in dtypes:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    shape, flat = _exactly(value, dtypes[name])
    wanted = shapes.setdefault(name, shape)
    if shape != wanted:
        if np.prod(shape) != np.prod(wanted):
            raise invalid_argument(
                f"Expecting tensor size: {int(np.prod(wanted))} but got: {len(flat)}"
            )
        raise invalid_argument(f"Expecting shape {_shape(wanted)} but got: {_shape(shape)}")
    values.setdefault(name, []).extend(flat)


def _read_columns(inputs: Any, dtypes: DTypes) -> Arrays:
    if not _is_object(inputs):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        array = _quickly(inputs[name], dtype)
        if array is None:
            shape, flat = _exactly(inputs[name], dtype)
            array = _array(flat, shape, dtype)
        arrays[name] = array
    return arrays


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value: dict) -> bool:
    """Whether an object stands for bytes."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


# One value


def _quickly(value: Any, dtype: int) -> np.ndarray | None:
    """The array of a regular nesting of values that all fit the type, else None."""
    shape, level = [], [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if any(type(item) is not list or len(item) != size for item in level):
            return None
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    if dtype not in _READABLE or not _fits(level, dtype):
        return None
    return _array(level, shape, dtype)


def _fits(values: list, dtype: int) -> bool:
    """Whether scalars can go into an array of the type; for strings, whether all are text."""
    kinds = set(map(type, values))
    if dtype in _FLOATS:
        return kinds <= {int, float}
    if dtype in _INTEGERS:
        limits = np.iinfo(_INTEGERS[dtype][0])
        return not values or (
            kinds == {int} and limits.min <= min(values) and max(values) <= limits.max
        )
    return kinds <= ({bool} if dtype == types_pb2.DT_BOOL else {str})


def _exactly(value: Any, dtype: int) -> tuple[list[int], list]:
    """Shape and flat values of one JSON value, or the error that TensorFlow Serving reports."""
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat, pending = [], [(value, 0)]
    while pending:
        item, level = pending.pop()
        if not isinstance(item, list):
            if level != len(shape):
                raise invalid_argument(
                    f"JSON Value: {dumps(item)} found at incorrect level: {level + 1} "
                    f"in the JSON DOM. Expected at level: {len(shape)}"
                )
            flat.append(_scalar(item, dtype))
        elif level >= len(shape):
            raise invalid_argument(
                f"Encountered list at unexpected level: {level} expected < {len(shape)}"
            )
        elif len(item) != shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(item)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        else:
            pending.extend((child, level + 1) for child in reversed(item))
    return shape, flat


def _scalar(value: Any, dtype: int) -> Any:
    if isinstance(value, dict):
        if dtype != types_pb2.DT_STRING:
            raise _wrong_type(value, dtype)
        if not is_base64(value):
            raise _blame(value, "not formatted correctly for base64 data")
        return decoded(value["b64"])
    if dtype not in _READABLE:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {dumps(value)} to type: {type_name(dtype)}",
        )
    if not _fits([value], dtype):
        raise _wrong_type(value, dtype)
    return value


def _array(values: list, shape: list[int], dtype: int) -> np.ndarray:
    """Makes the array of values that fit; strings may be text or, from base64, bytes."""
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


def decoded(text: str) -> bytes:
    """Decodes base64; white space and a missing padding are fine, a wrong padding is not."""
    match = _BASE64.fullmatch(_BASE64_BLANK.sub("", text))
    if match:
        digits, padding = match.groups()
        missing = "=" * (-len(digits) % 4)
        if len(missing) < 3 and padding in ("", missing):
            return binascii.a2b_base64(digits + missing)
    raise invalid_argument("Unable to base64 decode")


def json_type(value: Any) -> str:
    """What JSON's grammar calls a value, in error messages."""
    return str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]


def _wrong_type(value: Any, dtype: int) -> StatusError:
    return _blame(value, f"Type: {json_type(value)} is not of expected type: {type_name(dtype)}")


def _blame(value: Any, complaint: str) -> StatusError:
    return invalid_argument(f"JSON Value: {dumps(value)} {complaint}")


def _shape(sizes: list[int]) -> str:
    return f"[{','.join(map(str, sizes))}]"


# Responses


def _check_batch(arrays: Arrays) -> None:
    batch = None
    for name, array in arrays.items():
        if np.ndim(array) == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)


def _scalar_texts(name: str, array: np.ndarray, dtype: int) -> list[str]:
    """The JSON text of every element, in order."""
    if dtype == types_pb2.DT_STRING:
        values = np.asarray(array, object).reshape(-1)
        return [_bytes_text(value) if name.endswith("_bytes") else _text(value) for value in values]
    flat = np.asarray(array).reshape(-1)
    if dtype == types_pb2.DT_HALF:
        return float_texts(flat.astype(np.float32))
    if dtype in _FLOATS:
        return float_texts(flat)
    if dtype in _INTEGERS:
        return list(map(str, flat.tolist()))
    if dtype == types_pb2.DT_BOOL:
        return ["true" if value else "false" for value in flat.tolist()]
    message = f"Failed to write JSON value for tensor type: {type_name(dtype)}"
    raise invalid_argument(message)


def _bytes_text(value: bytes) -> str:
    return f'{{"b64": "{base64.b64encode(value).decode()}"}}'


def _text(value: bytes) -> str:
    return dump_scalar(value.decode("utf-8", "surrogateescape"))


def float_texts(flat: np.ndarray | list[float]) -> list[str]:
    """Writes floats with six significant digits where that reads back to the same value.

    Args:
        flat: array or list. Elements of a list are taken for float32.

    Returns:
        list of str.
    """
    flat = np.asarray(flat, None if isinstance(flat, np.ndarray) else np.float32)
    digits = 9 if flat.dtype == np.float32 else 17
    values = flat.tolist()
    texts = [f"{value:g}" for value in values]
    same = np.array(texts, np.float64).astype(flat.dtype) == flat
    return [
        _with_point(text if exact else f"{value:.{digits}g}")
        for text, exact, value in zip(texts, same.tolist(), values, strict=True)
    ]


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _with_point(text: str) -> str:
    """Keeps a whole number recognizable as a float."""
    if "." in text or "e" in text:
        return text
    return _NOT_FINITE.get(text) or text + ".0"


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    """Puts brackets around the elements, from the innermost dimension outwards."""
    if 0 in shape:
        return _hollow(shape)
    for size in reversed(shape):
        groups = range(0, len(texts), size)
        texts = [f"[{', '.join(texts[start : start + size])}]" for start in groups]
    return texts[0]


def _hollow(shape: tuple[int, ...]) -> str:
    """The nesting of an array without elements: [2, 0] is [[], []]."""
    text = "[]"
    for size in reversed(shape[: shape.index(0)]):
        text = f"[{', '.join([text] * size)}]"
    return text


def _batch(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """The text of each element along the first dimension."""
    if shape[0] == 0:
        return []
    size = len(texts) // shape[0]
    return [_nested(texts[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def _named(texts: dict[str, str]) -> str:
    """One text alone stands for itself; several become an object."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "{" + ", ".join(f"{dump_scalar(name)}: {text}" for name, text in texts.items()) + "}"
