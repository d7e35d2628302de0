"""A predict request: a JSON document to input arrays, by TensorFlow Serving's rules.

A value is converted in one of two ways. The quick one flattens whole columns at C speed and gives
up at the first irregularity. The exact one visits value by value in TensorFlow Serving's order,
takes what the quick one could not (such as base64 objects), and words every error.
"""

import collections
import itertools

import numpy as np

from serving.codes import StatusError, invalid_argument
from serving.server.rest.json_text import JsonError, dumps, loads
from serving.server.rest.scalars import (
    READABLE,
    bad_value,
    fits,
    is_base64,
    make_array,
    read_scalar,
)
from serving.types import Array, Arrays, DTypes, Json


def read_document(body: bytes) -> dict[str, Json]:
    """Parses a request body: an object, whose signature_name, if any, is a string.

    Example:

    >>> read_document(b'{"instances": [1, 2]}')
    {'instances': [1, 2]}
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = loads(body)
    except JsonError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise bad_value(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise bad_value(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def read_inputs(document: dict[str, Json], dtypes: DTypes) -> tuple[Arrays, bool]:
    """Reads the tensors of a predict request, and tells whether they were in row format.

    Raises:
        StatusError: INVALID_ARGUMENT with TensorFlow Serving's message, UNIMPLEMENTED for a type
            that JSON cannot carry.

    Example:

    >>> from tensorflow.core.framework import types_pb2
    >>> read_inputs({"instances": [1.5, 2]}, {"x": types_pb2.DT_FLOAT})
    ({'x': array([1.5, 2. ], dtype=float32)}, True)
    """
    if "instances" in document and "inputs" in document:
        raise bad_value(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise bad_value(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise bad_value(document, "No values in 'instances' array")
        return _read_rows(rows, dtypes), True
    if "inputs" in document:
        return _read_columns(document["inputs"], dtypes), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _read_rows(rows: list[Json], dtypes: DTypes) -> Arrays:
    named = _is_object(rows[0])
    if not named and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    arrays = _rows_quickly(rows, dtypes, named)
    return _rows_exactly(rows, dtypes, named) if arrays is None else arrays


def _rows_quickly(rows: list[Json], dtypes: DTypes, named: bool) -> Arrays | None:
    if not named:
        (name, dtype), *others = dtypes.items()
        array = None if others else _quickly(rows, dtype)
        return None if array is None else {name: array}
    if any(type(row) is not dict or row.keys() != dtypes.keys() for row in rows):
        return None
    groups = collections.defaultdict(list)
    for name, dtype in dtypes.items():
        groups[dtype].append(name)
    arrays: Arrays = {}
    for dtype, names in groups.items():  # together, as a call costs more than a value
        columns = _quickly([[row[name] for row in rows] for name in names], dtype)
        if columns is not None:
            arrays.update(zip(names, columns, strict=True))
            continue
        for name in names:  # of several shapes, or not regular at all
            column = _quickly([row[name] for row in rows], dtype)
            if column is None:
                return None
            arrays[name] = column
    return arrays


def _rows_exactly(rows: list[Json], dtypes: DTypes, named: bool) -> Arrays:
    shapes: dict[str, list[int]] = {}
    values: dict[str, list[Json]] = {}
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
        name: make_array(flat, [len(rows), *shapes[name]], dtypes[name])
        for name, flat in values.items()
    }


def _add_row_value(
    name: str,
    value: Json,
    dtypes: DTypes,
    shapes: dict[str, list[int]],
    values: dict[str, list[Json]],
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


def _read_columns(inputs: Json, dtypes: DTypes) -> Arrays:
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
            array = make_array(flat, shape, dtype)
        arrays[name] = array
    return arrays


def _is_object(value: Json) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _quickly(value: Json, dtype: int) -> Array | None:
    """The array of a regular nesting of values that all fit the type, else None."""
    shape: list[int] = []
    level = [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if any(type(item) is not list or len(item) != size for item in level):
            return None
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    if dtype not in READABLE or not fits(level, dtype):
        return None
    return make_array(level, shape, dtype)


def _exactly(value: Json, dtype: int) -> tuple[list[int], list[Json]]:
    """Shape and flat values of one JSON value, or the error that TensorFlow Serving reports."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat: list[Json] = []
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        if not isinstance(item, list):
            if level != len(shape):
                raise invalid_argument(
                    f"JSON Value: {dumps(item)} found at incorrect level: {level + 1} "
                    f"in the JSON DOM. Expected at level: {len(shape)}"
                )
            flat.append(read_scalar(item, dtype))
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


def _shape(sizes: list[int]) -> str:
    return f"[{','.join(map(str, sizes))}]"
