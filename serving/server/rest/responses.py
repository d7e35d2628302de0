"""The answer to a predict request: output arrays to JSON."""

import numpy as np

from serving.codes import invalid_argument
from serving.server.rest.json_text import dump_scalar
from serving.server.rest.scalars import write_scalars
from serving.types import Arrays, DTypes


def write_outputs(arrays: Arrays, dtypes: DTypes, in_rows: bool) -> str:
    """Writes a predict response in row format ("predictions") or columns ("outputs").

    Raises:
        StatusError: INVALID_ARGUMENT if an output cannot be written in that format.

    Example:

    >>> from tensorflow.core.framework import types_pb2
    >>> write_outputs({"y": np.float32([0.1, 2])}, {"y": types_pb2.DT_FLOAT}, in_rows=True)
    '{"predictions": [0.1, 2.0]}'
    """
    if not arrays:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if in_rows:
        _check_batch(arrays)
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    scalars = {name: write_scalars(name, array, dtypes[name]) for name, array in arrays.items()}
    if not in_rows:
        columns = {name: _nested(scalars[name], shape) for name, shape in shapes.items()}
        return f'{{"outputs": {_named(columns)}}}'
    rows = {name: _batch(scalars[name], shape) for name, shape in shapes.items()}
    items = (_named(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True))
    return f'{{"predictions": [{", ".join(items)}]}}'


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


def _nested(scalars: list[str], shape: tuple[int, ...]) -> str:
    """Puts brackets around the elements, from the innermost dimension outwards."""
    if 0 in shape:
        return _hollow(shape)
    for size in reversed(shape):
        groups = range(0, len(scalars), size)
        scalars = [f"[{', '.join(scalars[start : start + size])}]" for start in groups]
    return scalars[0]


def _hollow(shape: tuple[int, ...]) -> str:
    """The nesting of an array without elements: [2, 0] is [[], []]."""
    nesting = "[]"
    for size in reversed(shape[: shape.index(0)]):
        nesting = f"[{', '.join([nesting] * size)}]"
    return nesting


def _batch(scalars: list[str], shape: tuple[int, ...]) -> list[str]:
    """Each element along the first dimension, as JSON."""
    if shape[0] == 0:
        return []
    size = len(scalars) // shape[0]
    return [_nested(scalars[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def _named(values: dict[str, str]) -> str:
    """One value alone stands for itself; several become an object."""
    if len(values) == 1:
        return next(iter(values.values()))
    return "{" + ", ".join(f"{dump_scalar(name)}: {value}" for name, value in values.items()) + "}"
