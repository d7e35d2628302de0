"""Predict's requests: documents to arrays, and the words of TensorFlow Serving's errors."""

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from serving.codes import Code, StatusError
from serving.server.rest import requests
from serving.server.rest.requests import read_document, read_inputs

FLOAT, INT, STRING = types_pb2.DT_FLOAT, types_pb2.DT_INT32, types_pb2.DT_STRING
HALF = types_pb2.DT_HALF
X = {"x": FLOAT}
TWO = {"a": INT, "b": INT}


def refused(call, *arguments):
    with pytest.raises(StatusError) as raised:
        call(*arguments)
    return raised.value.code, raised.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b"[1]", "JSON Value: [1] Is not object"),
        (
            b'{"signature_name": 1}',
            'JSON Value: {"signature_name": 1} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
    ],
)
def test_what_is_no_document(body, message):
    assert refused(read_document, body) == (Code.INVALID_ARGUMENT, message)


def test_documents():
    for document in ({}, {"signature_name": "s"}, {"instances": [1]}):
        assert read_document(str(document).replace("'", '"').encode()) == document


def check(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape), name
        assert arrays[name].tolist() == array.tolist(), name


MIXED = {"s": STRING, "f": FLOAT, "g": FLOAT, "i": INT}
ROWS = [
    {"s": "a", "f": 1, "g": [1, 2], "i": 5},
    {"i": 6, "g": [3, 4], "f": 2.5, "s": "é"},
]
COLUMNS = {
    "s": np.array([b"a", "é".encode()], object),
    "f": np.float32([1, 2.5]),
    "g": np.float32([[1, 2], [3, 4]]),
    "i": np.int32([5, 6]),
}


@pytest.mark.parametrize("exactly", [False, True])
def test_rows_of_several_inputs(exactly):
    rows = [dict(row) for row in ROWS]
    if exactly:  # base64 is for the exact way
        rows[0]["s"] = {"b64": "YQ"}
    arrays, in_rows = read_inputs({"instances": rows}, MIXED)
    assert in_rows is True
    check(arrays, COLUMNS)


@pytest.mark.parametrize("exactly", [False, True])
def test_columns_of_several_inputs(exactly):
    inputs = {"s": ["a", "é"], "f": [1, 2.5], "g": [[1, 2], [3, 4]], "i": [5, 6], "surplus": None}
    if exactly:
        inputs["s"] = [{"b64": "YQ"}, "é"]
    arrays, in_rows = read_inputs({"inputs": inputs}, MIXED)
    assert in_rows is False
    check(arrays, COLUMNS)


@pytest.mark.parametrize(
    ("document", "dtypes"),
    [
        ({"instances": ROWS}, MIXED),
        ({"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}, X),
        ({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, X),
        ({"inputs": {"a": [[1, 2]], "b": 3}}, TWO),
        ({"inputs": [[[]]]}, X),
    ],
)
def test_regular_values_are_not_visited_one_by_one(document, dtypes, monkeypatch):
    monkeypatch.delattr(requests, "_exactly")
    assert read_inputs(document, dtypes)[0].keys() == dtypes.keys()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"instances": [1, 2]}, [1, 2]),
        ({"instances": [{"x": 1}, {"x": 2}]}, [1, 2]),
        ({"instances": [[[1, 2]], [[3, 4]]]}, [[[1, 2]], [[3, 4]]]),
        ({"instances": [[], []]}, [[], []]),
        ({"inputs": [1, 2]}, [1, 2]),
        ({"inputs": {"x": [1, 2]}}, [1, 2]),
        ({"inputs": 3}, 3),
        ({"inputs": []}, []),
        ({"inputs": [[[], []]]}, [[[], []]]),
    ],
)
def test_one_input(document, expected):
    arrays, in_rows = read_inputs(document, X)
    assert in_rows is ("instances" in document)
    check(arrays, {"x": np.array(expected, "float32")})


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"instances": [{"b64": "AQ"}, {"b64": "/w=="}]}, [b"\x01", b"\xff"]),
        ({"instances": [{"x": {"b64": "AQ"}}, {"x": "b"}]}, [b"\x01", b"b"]),
        (
            {"instances": [[[{"b64": "AQ"}, "b"]], [["c", "d"]]]},
            [[[b"\x01", b"b"]], [[b"c", b"d"]]],
        ),
        ({"inputs": {"b64": "AQ"}}, b"\x01"),
        ({"inputs": [["a", {"b64": "AQ"}], ["c", "d"]]}, [[b"a", b"\x01"], [b"c", b"d"]]),
        ({"inputs": {"x": {"b64": "AQ"}}}, b"\x01"),
    ],
)
def test_bytes_in_base64(document, expected):
    arrays, _ = read_inputs(document, {"x": STRING})
    assert arrays["x"].tolist() == expected


def test_without_values_there_is_a_type_that_json_cannot_carry():
    check(read_inputs({"inputs": []}, {"x": HALF})[0], {"x": np.zeros(0, "float16")})
    check(read_inputs({"instances": [[], []]}, {"x": HALF})[0], {"x": np.zeros((2, 0), "float16")})


@pytest.mark.parametrize(
    ("document", "dtypes", "message"),
    [
        ({}, X, "Missing 'inputs' or 'instances' key"),
        (
            {"inputs": 1, "instances": [1]},
            X,
            'JSON Value: {"inputs": 1, "instances": [1]} Not formatted correctly expecting only '
            "one of 'inputs' or 'instances' keys to exist",
        ),
        (
            {"instances": 1},
            X,
            "JSON Value: {\"instances\": 1} Expecting 'instances' to be an list/array",
        ),
        ({"instances": []}, X, "JSON Value: {\"instances\": []} No values in 'instances' array"),
        (
            {"instances": [1]},
            TWO,
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            {"inputs": [1]},
            TWO,
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        ({"inputs": {"a": 1}}, TWO, "Missing named input: b in 'inputs' object."),
        (
            {"instances": [{"x": 1}, 2]},
            X,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"instances": [1, {"x": 2}]},
            X,
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            {"instances": [1, "2"]},
            X,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "2" Type: String is not of expected type: float',
        ),
        (
            {"instances": [{"a": 1, "b": 2}, {"a": 1, "b": None}]},
            TWO,
            "Failed to process element: 1 key: b of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON Value: null Type: Null is not of expected type: int32",
        ),
        (
            {"instances": [{"a": 1, "b": 2, "c": 3}]},
            TWO,
            "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: c",
        ),
        (
            {"instances": [{"a": 1, "b": 2}, {"b": 1}]},
            TWO,
            "Failed to process element: 1 of 'instances' list. "
            'JSON object: {"b": 1} keys must be equal to: a,b',
        ),
        (
            {"instances": [[1, 2], [3]]},
            X,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            {"instances": [[[1, 2]], [3, 4]]},
            X,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [1,2] but got: [2]",
        ),
        (
            {"inputs": [[1], 2]},
            X,
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ({"inputs": [1, [2]]}, X, "Encountered list at unexpected level: 1 expected < 1"),
        (
            {"inputs": [[1, 2], [3, 4, 5]]},
            X,
            "Encountered list at unexpected size: 3 at level: 1 expected size: 2",
        ),
        (
            {"inputs": [[1, 2], [3]]},
            X,
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            {"inputs": [[], [1]]},
            X,
            "Encountered list at unexpected size: 1 at level: 1 expected size: 0",
        ),
        (
            {"inputs": [[[1, "x"], ["y"]], []]},
            X,
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
    ],
)
def test_errors_are_those_of_tensorflow_serving(document, dtypes, message):
    assert refused(read_inputs, document, dtypes) == (Code.INVALID_ARGUMENT, message)


def test_types_that_json_cannot_carry():
    assert refused(read_inputs, {"inputs": [1.5]}, {"x": HALF}) == (
        Code.UNIMPLEMENTED,
        "Conversion of JSON Value: 1.5 to type: half",
    )
