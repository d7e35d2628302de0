"""Tensors on the wire: `TensorProto` to and from NumPy arrays (strings are arrays of bytes)."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.codes import Code, StatusError, invalid_argument
from serving.types import Array

# A proto may stand for far more elements than it holds (a short value list is filled up with its
# last value), so its size on the wire does not bound what it takes to unpack it.
MAX_FILLED_ELEMENTS = 1 << 24
MAX_RANK = 64  # NumPy's limit; TensorFlow's own is 254

_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
_NUMPY = {dtype: np.dtype(tf.as_dtype(dtype).as_numpy_dtype) for dtype in _VALUE_FIELDS}
# How the elements of some types are written: bit patterns, and complex numbers as pairs.
_WIRE_VIEWS = {
    types_pb2.DT_HALF: np.uint16,
    types_pb2.DT_BFLOAT16: np.uint16,
    types_pb2.DT_COMPLEX64: np.float32,
    types_pb2.DT_COMPLEX128: np.float64,
}
# What the others are read as. Integers narrower than the wire's int32 wrap around, as
# TensorFlow's own reader lets them.
_WIRE = {
    dtype: np.dtype(np.int32) if _VALUE_FIELDS[dtype] == "int_val" else numpy_dtype
    for dtype, numpy_dtype in _NUMPY.items()
    if dtype not in _WIRE_VIEWS
}
_CPP_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


def type_name(dtype: int) -> str:
    """The name that TensorFlow's C++ messages give a `DataType` enum value.

    Example:

    >>> type_name(types_pb2.DT_FLOAT)
    'float'
    """
    if dtype == types_pb2.DT_INVALID or dtype not in types_pb2.DataType.values():
        return "INVALID"
    name: str = tf.as_dtype(dtype).name
    return _CPP_NAMES.get(name, name)


def to_array(proto: tensor_pb2.TensorProto) -> Array:
    """Reads a `TensorProto`; an array of DT_STRING is of dtype object, holding bytes.

    Raises:
        StatusError: INVALID_ARGUMENT for a proto that is not a tensor, RESOURCE_EXHAUSTED for one
            that would unpack to more than `MAX_FILLED_ELEMENTS` copies of one value.

    Example:

    >>> to_array(tf.make_tensor_proto([1.5, 2.5])).tolist()
    [1.5, 2.5]
    """
    told = proto.tensor_shape
    # A row comes as dozens of vectors, for each of which a loop would take longer than its value.
    shape = [told.dim[0].size] if len(told.dim) == 1 else [dim.size for dim in told.dim]
    if told.unknown_rank or (shape and min(shape) < 0):
        raise invalid_argument(f"tensor shape is not fully defined: {shape}")
    if len(shape) > MAX_RANK:
        raise invalid_argument(f"a tensor of {len(shape)} dimensions is not supported")
    size = math.prod(shape)
    values = _from_content(proto, size) if proto.tensor_content else _from_values(proto, size)
    if values is None:
        values = _from_anything(proto, size)
    return values if len(shape) == 1 else values.reshape(shape)


def _from_values(proto: tensor_pb2.TensorProto, size: int) -> Array | None:
    """The typed values, where there is exactly one per element and no bits to be reinterpreted."""
    dtype = proto.dtype
    if dtype not in _WIRE:
        return None
    values = getattr(proto, _VALUE_FIELDS[dtype])
    if len(values) != size:
        return None
    return np.fromiter(values, _WIRE[dtype], size).astype(_NUMPY[dtype], copy=False)


def _from_content(proto: tensor_pb2.TensorProto, size: int) -> Array | None:
    """The raw bytes, for the types whose elements are of one length."""
    if proto.dtype not in _VALUE_FIELDS or proto.dtype == types_pb2.DT_STRING:
        return None
    dtype = _NUMPY[proto.dtype]
    if len(proto.tensor_content) != size * dtype.itemsize:
        raise invalid_argument("tensor content does not match the tensor's shape")
    return np.frombuffer(proto.tensor_content, dtype)


def _from_anything(proto: tensor_pb2.TensorProto, size: int) -> Array:
    """Leaves the rare forms (short value lists, quantized types, ...) to TensorFlow's reader."""
    if size > MAX_FILLED_ELEMENTS:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"a tensor of {size} elements is too large")
    try:
        array: Array = tf.io.parse_tensor(proto.SerializeToString(), proto.dtype).numpy()
    except (tf.errors.OpError, TypeError, ValueError) as error:
        raise invalid_argument(f"not a tensor: {error}") from error
    return array


def to_proto(array: Array | bytes, dtype: int, as_content: bool = False) -> tensor_pb2.TensorProto:
    """Writes an array, or the bytes of a string scalar, as a `TensorProto`.

    It has typed value fields, as in TensorFlow Serving, or with `as_content` the raw bytes, which
    strings do not have.

    Raises:
        StatusError: UNIMPLEMENTED for a type that has no value field (resources, quantized types).

    Example:

    >>> list(to_proto(np.float32([1, 2]), types_pb2.DT_FLOAT).float_val)
    [1.0, 2.0]
    """
    if dtype not in _VALUE_FIELDS:
        raise StatusError(Code.UNIMPLEMENTED, f"Output of type {type_name(dtype)} is not supported")
    array = np.asarray(array, object if dtype == types_pb2.DT_STRING else None)
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = np.ascontiguousarray(array).reshape(-1)
    if as_content and dtype != types_pb2.DT_STRING:
        proto.tensor_content = flat.tobytes()
        return proto
    if dtype in _WIRE_VIEWS:
        flat = flat.view(_WIRE_VIEWS[dtype])
    getattr(proto, _VALUE_FIELDS[dtype]).extend(flat.tolist())
    return proto


def bytes_array(values: Sequence[bytes]) -> Array:
    """A flat array of dtype object, whatever the lengths of the values."""
    return np.fromiter(values, object, len(values))
