"""Single values: which go into which type, base64, and how numbers are printed."""

import base64
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.codes import Code, StatusError
from serving.server.rest.scalars import (
    decode_base64,
    fits,
    is_base64,
    json_type,
    make_array,
    read_scalar,
    write_floats,
    write_scalars,
)

EXACT = settings(max_examples=150, deadline=None, derandomize=True, database=None)
# Narrow integers are checked against int32.
LIMITS = {
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def enum(name):
    return tf.as_dtype(name).as_datatype_enum


@pytest.mark.parametrize("name", LIMITS)
def test_integers_fit_up_to_their_limits(name):
    low, high = LIMITS[name]
    assert fits([low, high, 0], enum(name))
    assert not fits([0, low - 1], enum(name))
    assert not fits([high + 1, 0], enum(name))
    for other in (1.0, True, None, "1"):
        assert not fits([other], enum(name))
        assert not fits([1, other], enum(name))
    assert fits([], enum(name))


@pytest.mark.parametrize(
    ("name", "fitting", "others"),
    [
        ("float32", [1, 2.5, 1e300], [True, None, "1"]),
        ("float64", [1, 2.5], [False, None, "1", {}]),
        ("bool", [True, False], [1, 0.0, None, "true"]),
        ("string", ["", "a"], [1, None, True, {}]),
    ],
)
def test_other_values_fit_their_own_kind_alone(name, fitting, others):
    assert fits(fitting, enum(name))
    assert fits([], enum(name))
    for other in others:
        assert not fits([*fitting, other], enum(name))


def refused(call, *arguments):
    with pytest.raises(StatusError) as raised:
        call(*arguments)
    return raised.value.code, raised.value.message


def test_read_scalar():
    assert read_scalar(3, enum("int8")) == 3
    assert read_scalar("é", enum("string")) == "é"
    assert read_scalar({"b64": "AAEC/w"}, enum("string")) == b"\x00\x01\x02\xff"


@pytest.mark.parametrize(
    ("value", "name", "code", "message"),
    [
        (True, "int32", 3, "JSON Value: true Type: True is not of expected type: int32"),
        ({"b64": "AA"}, "float32", 3, "Type: Object is not of expected type: float"),
        ({"b64": "AA"}, "int64", 3, "Type: Object is not of expected type: int64"),
        ({"b64": 1}, "string", 3, 'JSON Value: {"b64": 1} not formatted correctly for base64 data'),
        ({"b64": "?"}, "string", 3, "Unable to base64 decode"),
        (1.5, "complex64", 12, "Conversion of JSON Value: 1.5 to type: complex64"),
    ],
)
def test_what_read_scalar_refuses(value, name, code, message):
    got, text = refused(read_scalar, value, enum(name))
    assert got == Code(code)
    assert message in text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "Null"),
        (True, "True"),
        (False, "False"),
        ({}, "Object"),
        ([], "Array"),
        ("", "String"),
        (1, "Number"),
        (1.5, "Number"),
    ],
)
def test_json_type(value, kind):
    assert json_type(value) == kind


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("int8", [127, 128, -129], [127, -128, 127]),
        ("int16", [32768], [-32768]),
        ("uint8", [-1, 256], [255, 0]),
        ("uint32", [2**32 - 1], [2**32 - 1]),
        ("uint64", [2**64 - 1], [2**64 - 1]),
        ("int64", [-(2**63)], [-(2**63)]),
        ("float32", [1e39, -1e39, 2**200, 0.1], [np.inf, -np.inf, np.inf, np.float32(0.1)]),
        ("float64", [2**64, 0.1], [2.0**64, 0.1]),
        ("bool", [True, False], [True, False]),
        ("string", ["é", b"\xff", "\udcff"], ["é".encode(), b"\xff", b"\xff"]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_make_array(name, values, expected):
    array = make_array(values, [1, len(values)], enum(name))
    assert array.dtype == tf.as_dtype(name).as_numpy_dtype
    assert array.shape == (1, len(values))
    assert array[0].tolist() == expected


def test_make_array_without_values_has_the_type_that_json_cannot_carry():
    array = make_array([], [2, 0], enum("complex64"))
    assert (array.dtype, array.shape) == (np.complex64, (2, 0))


def test_what_make_array_refuses():
    assert make_array([1], [1] * 64, enum("int8")).ndim == 64
    assert refused(make_array, [1], [1] * 65, enum("int8")) == (
        Code.INVALID_ARGUMENT,
        "A tensor of 65 dimensions is not supported",
    )
    assert refused(make_array, [10**309], [1], enum("float64")) == (
        Code.INVALID_ARGUMENT,
        "JSON Parse error: Number too big to be stored in double.",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b64": "AA=="}, True),
        ({"b64": ""}, True),
        ({"b64": 1}, False),
        ({"b64": "AA==", "x": 1}, False),
        ({"x": "AA=="}, False),
        ({}, False),
    ],
)
def test_is_base64(value, expected):
    assert is_base64(value) is expected


@EXACT
@given(st.binary(max_size=40), st.booleans(), st.integers(0, 40))
def test_base64_comes_back(data, padded, place):
    text = base64.b64encode(data).decode()
    text = text if padded else text.rstrip("=")
    assert decode_base64(text[:place] + " \t\r\n\v\f" + text[place:]) == data


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=", "AAA==", "AAAA=", "=", "A===", "A-_A", "é"])
def test_what_is_not_base64(text):
    assert refused(decode_base64, text) == (Code.INVALID_ARGUMENT, "Unable to base64 decode")


@pytest.mark.parametrize(
    ("output", "array", "expected"),
    [
        ("y", np.array([[b"a", b'"'], [b"\xc3\xa9", b""]], object), ['"a"', '"\\""', '"é"', '""']),
        ("y_bytes", np.array([b"hi", b"\xff"], object), ['{"b64": "aGk="}', '{"b64": "/w=="}']),
        ("y_bytes", np.float32([0.5]), ["0.5"]),
        ("y", np.float16([[0.1], [1]]), ["0.0999755859", "1.0"]),
        ("y", np.float32([1 / 3]), ["0.333333343"]),
        ("y", np.float64([0.1, 2e9]), ["0.1", "2e+09"]),
        ("y", np.uint64([2**64 - 1]), ["18446744073709551615"]),
        ("y", np.int8([[-1], [3]]), ["-1", "3"]),
        ("y", np.array([True, False]), ["true", "false"]),
        ("y", np.float32(7), ["7.0"]),
    ],
)
def test_write_scalars(output, array, expected):
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    assert write_scalars(output, array, dtype.as_datatype_enum) == expected


def test_complex_numbers_cannot_be_written():
    assert refused(write_scalars, "y", np.complex64([1j]), enum("complex64")) == (
        Code.INVALID_ARGUMENT,
        "Failed to write JSON value for tensor type: complex64",
    )


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floats_come_back_bit_for_bit(kind):
    bits = {"float32": "uint32", "float64": "uint64"}[kind]
    draw = np.random.default_rng(0)
    drawn = draw.integers(0, np.iinfo(bits).max, 2000, bits).view(kind)
    values = np.concatenate([drawn, draw.normal(size=2000).round(3).astype(kind)])
    values = values[np.isfinite(values)]
    printed = write_floats(values)
    np.testing.assert_array_equal(np.array([json.loads(x) for x in printed]).astype(kind), values)
    assert all(type(json.loads(x)) is float for x in printed)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.333333343"),
        (np.float64(1 / 3), "0.33333333333333331"),
        (np.float32(123456), "123456.0"),
        (np.float32(1234567), "1234567.0"),
        (np.float32(1e20), "1e+20"),
        (np.float32(-0.0), "-0.0"),
        (np.float64(math.nan), "NaN"),
        (np.float64(math.inf), "Infinity"),
        (np.float32(-math.inf), "-Infinity"),
    ],
)
def test_floats_are_printed_shortly(value, printed):
    assert write_floats(np.array([value])) == [printed]
