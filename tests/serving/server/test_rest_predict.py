"""The JSON rules of predict, over real sockets.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import base64
import json
import math

import pytest

from serving.server.server import Server
from tests.serving.toy_models import call, save_sparse, save_with_inputs

PREDICT = "/v1/models/toy:predict"


def predict(server, document, signature):
    named = {"signature_name": signature, **document} if signature else document
    status, _, body = call(server, PREDICT, named)
    return status, json.loads(body.decode("utf-8", "surrogateescape"))


def answer(server, document, signature=None):
    status, answered = predict(server, document, signature)
    assert status == 200, answered
    return answered


def error(server, document, signature=None, status=400):
    got, answered = predict(server, document, signature)
    assert got == status, answered
    return answered["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"instances": x}', "JSON Parse error: Invalid value. at offset: 14"),
        (b'{"instances": [1}', "JSON Parse error: Missing a comma or ] after an array element."),
        (b"[1]", "JSON Value: [1] Is not object"),
        (b'{"signature_name": 1}', "'signature_name' key must be a string value."),
        (b'{"signature_name": "s"}', 'Serving signature name: "s" not found in signature def'),
        (b'{"signature_name": "nothing"}', "Failed to get input map for signature: nothing"),
        (b'{"inputs": 1, "instances": 1}', "only one of 'inputs' or 'instances' keys to exist"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": 1}', "Expecting 'instances' to be an list/array"),
        (b'{"instances": []}', "No values in 'instances' array"),
    ],
)
def test_6_1_errors(server, body, message):
    status, _, answered = call(server, PREDICT, body)
    assert status == 400
    assert message in json.loads(answered)["error"]


def test_6_1_json_is_checked_before_the_model_is_looked_up(server):
    assert call(server, "/v1/models/nope:predict", b"{")[0] == 400
    assert call(server, "/v1/models/nope:predict", b"{}")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [1], "other": {}} trailing',
        b'{"instances": [1], "instances": [2]}',
        b'{"signature_name": "", "instances": [1]}',
    ],
)
def test_6_1_what_is_ignored(server, body):
    status, _, answered = call(server, PREDICT, body)
    assert (status, json.loads(answered)) == (200, {"predictions": [2.5]})


def test_6_1_nan_and_infinity(server):
    body = b'{"instances": [NaN, Infinity, Inf, -Infinity, -Inf]}'
    status, _, answered = call(server, PREDICT, body)
    assert status == 200
    assert answered == b'{"predictions": [NaN, Infinity, Infinity, -Infinity, -Infinity]}'


def test_6_1_deep_nesting(server):
    deep = b"[" * 100_000 + b"]" * 100_000
    assert call(server, PREDICT, b'{"instances": ' + deep + b"}")[0] == 400
    assert call(server, PREDICT, b'{"x": ' + deep + b', "instances": [1]}')[0] == 200


def test_6_1_utf8_in_and_out(server):
    document = '{"signature_name": "echo_string", "instances": ["é😀", "\\u00e9"]}'.encode()
    assert call(server, PREDICT, document)[2] == '{"predictions": ["é😀", "é"]}'.encode()


@pytest.mark.parametrize("rows", [[1, 2], [{"x": 1}, {"x": 2}]])
def test_6_2_one_input(server, rows):
    assert answer(server, {"instances": rows}) == {"predictions": [2.5, 3.0]}


def test_6_2_several_inputs_and_outputs(server):
    rows = [{"a": 1, "b": 2}, {"b": 0.5, "a": 4}]
    assert answer(server, {"instances": rows}, "two") == {
        "predictions": [{"sum": 3.0, "difference": -1.0}, {"sum": 4.5, "difference": 3.5}]
    }


def test_6_2_many_inputs_keep_their_names(server):
    row = {f"f{i}": i + 1 for i in range(6)}
    shuffled = dict(reversed(row.items()))
    got = answer(server, {"instances": [row, shuffled]}, "wide")
    assert got == {"predictions": [654321.0, 654321.0]}


@pytest.mark.parametrize(
    ("signature", "rows", "message"),
    [
        (None, [1, {"x": 1}], "Expecting value/list but got object at item 1 of input list"),
        (None, [{"x": 1}, 1], "Expecting object but got list at item 1 of input list"),
        ("two", [1], "instances is a plain list, but expecting list of objects"),
        ("two", [{"a": 1, "c": 1}], "JSON object: does not have named input: c"),
        ("two", [{"a": 1, "b": 1}, {"a": 1}], "Failed to process element: 1 of 'instances' list."),
        ("two", [{"a": 1}], "keys must be equal to: a,b"),
        (
            "two",
            [{"a": "x", "b": 1}],
            "Failed to process element: 0 key: a of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        ("echo_float32", [[1, 2], [5, 6, 7]], "Expecting tensor size: 2 but got: 3"),
        ("echo_float32", [[1, 2], [[5, 6]]], "Expecting shape [2] but got: [1,2]"),
        ("echo_float32", [1, [1]], "Expecting shape [] but got: [1]"),
        (
            None,
            ["x"],
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
    ],
)
def test_6_2_errors(server, signature, rows, message):
    assert message in error(server, {"instances": rows}, signature)


@pytest.mark.parametrize("inputs", [[1, 2], {"x": [1, 2]}, {"x": [1, 2], "surplus": "z"}])
def test_6_3_one_input(server, inputs):
    assert answer(server, {"inputs": inputs}) == {"outputs": [2.5, 3.0]}


def test_6_3_several_inputs_and_outputs(server):
    inputs = {"a": [1, 2], "b": [3, 4], "surplus": 1}
    assert answer(server, {"inputs": inputs}, "two") == {
        "outputs": {"sum": [4.0, 6.0], "difference": [-2.0, -2.0]}
    }


def test_6_3_scalar(server):
    assert answer(server, {"inputs": 5}, "echo_int32") == {"outputs": 5}
    assert answer(server, {"inputs": {"b64": "YWI="}}, "echo_string") == {"outputs": "ab"}


def test_6_3_errors(server):
    message = error(server, {"inputs": {"a": [1]}}, "two")
    assert message == "Missing named input: b in 'inputs' object."
    message = error(server, {"inputs": [1]}, "two")
    assert message.startswith("inputs is a plain value/list, but expecting an object")


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [1, 2.5, -3e-5]),
        ("float64", [1, 0.1, 1e300]),
        ("int8", [-128, 127]),
        ("int16", [-32768, 32767]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["", 'a"b\n', "é"]),
    ],
)
def test_6_4_values_survive(server, dtype, values):
    signature = f"echo_{dtype}"
    assert answer(server, {"instances": values}, signature) == {"predictions": values}
    nested = [[values, values]]
    assert answer(server, {"inputs": nested}, signature) == {"outputs": nested}


@pytest.mark.parametrize(
    ("dtype", "value", "kind", "expected"),
    [
        ("float32", "1", "String", "float"),
        ("float32", True, "True", "float"),
        ("float32", None, "Null", "float"),
        ("float64", {}, "Object", "double"),
        ("int32", 1.0, "Number", "int32"),
        ("int32", 2**31, "Number", "int32"),
        ("int64", 2**63, "Number", "int64"),
        ("uint32", -1, "Number", "uint32"),
        ("bool", 1, "Number", "bool"),
        ("string", 1, "Number", "string"),
    ],
)
def test_6_4_nothing_is_coerced(server, dtype, value, kind, expected):
    message = error(server, {"inputs": [value]}, f"echo_{dtype}")
    assert f"Type: {kind} is not of expected type: {expected}" in message


def test_6_4_beyond_float32(server):
    got = answer(server, {"inputs": [1e39, -1e39, 1e-50]}, "echo_float32")
    assert got == {"outputs": [math.inf, -math.inf, 0.0]}


def test_6_4_types_that_json_cannot_carry(server):
    message = error(server, {"inputs": [1.5]}, "echo_float16", status=501)
    assert message == "Conversion of JSON Value: 1.5 to type: half"
    message = error(server, {"instances": [1.5]}, "echo_float16", status=400)
    assert message.endswith("UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: half")


def test_6_4_base64(server):
    raw = bytes(range(256))
    rows = [{"b64": base64.b64encode(raw).decode()}, "text"]
    first, second = answer(server, {"instances": rows}, "strings")["predictions"]
    assert base64.b64decode(first["raw_bytes"]["b64"]) == raw
    assert first["text"].encode("utf-8", "surrogateescape") == raw
    assert second == {"text": "text", "raw_bytes": {"b64": "dGV4dA=="}}
    message = error(server, {"inputs": {"b64": "?"}}, "echo_string")
    assert message == "Unable to base64 decode"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([[1], [1, 2]], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ([1, [1]], "Encountered list at unexpected level"),
        ([[1], 1], "found at incorrect level"),
    ],
)
def test_6_4_ragged(server, inputs, message):
    assert message in error(server, {"inputs": inputs}, "echo_int32")


def test_6_4_empty(server):
    assert answer(server, {"inputs": [[], []]}, "echo_int32") == {"outputs": [[], []]}
    assert answer(server, {"inputs": []}, "echo_string") == {"outputs": []}


def test_6_4_shapes_are_left_to_the_model(server):
    got = answer(server, {"instances": [[1, 2], [3, 4]]}, "pairs")
    assert got == {"predictions": [3.0, 7.0]}
    message = error(server, {"inputs": {"a": [1, 2], "b": [1, 2, 3]}}, "two")
    assert "Incompatible shapes" in message
    assert "[Op:" not in message


def test_6_5_scalar_output(server):
    assert answer(server, {"inputs": [1, 2]}, "total") == {"outputs": 3.0}
    message = error(server, {"instances": [1, 2]}, "total")
    assert "Tensor name: y has no shape information" in message


def test_6_5_uneven_outputs(server):
    message = error(server, {"instances": [1]}, "uneven")
    assert message == "Tensor name: b has inconsistent batch size: 2 expecting: 1"
    assert answer(server, {"inputs": [1]}, "uneven") == {"outputs": {"a": [1.0], "b": [1.0, 1.0]}}


def test_6_5_complex_numbers_cannot_be_written(server):
    message = error(server, {"instances": [1]}, "imaginary")
    assert message == "Failed to write JSON value for tensor type: complex64"


@pytest.mark.parametrize(
    ("dtype", "sent", "printed"),
    [
        ("float32", "9000000", "9e+06"),
        ("float32", "999999", "999999.0"),
        ("float32", "0.5", "0.5"),
        ("float32", "0.0003", "0.0003"),
        ("float32", "0.00003", "3e-05"),
        ("float32", "555557.5", "555557.5"),
        ("float32", "1435774380", "1.43577434e+09"),
        ("float32", "-0.0", "-0.0"),
        ("float64", "0.1", "0.1"),
        ("float64", "0.123456789", "0.123456789"),
        ("int64", "123456789012", "123456789012"),
    ],
)
def test_6_5_numbers(server, dtype, sent, printed):
    body = f'{{"signature_name": "echo_{dtype}", "instances": [{sent}]}}'.encode()
    answered = call(server, PREDICT, body)[2].decode()
    assert answered == f'{{"predictions": [{printed}]}}'


def test_16_tf1_saved_model(server):
    path = "/v1/models/tf1/versions/123:predict"
    status, _, body = call(server, path, {"instances": ["b", "z"]})
    assert (status, json.loads(body)) == (200, {"predictions": [102, 99]})


def test_odd_signatures(tmp_path):
    save_with_inputs(str(tmp_path / "own" / "1"), "self", "x")
    save_sparse(str(tmp_path / "sparse" / "1"))
    with Server(tmp_path, rest_api_port=0, port=0) as server:
        asked = {"inputs": {"self": [1.0], "x": [2.0]}}
        assert call(server, "/v1/models/own:predict", asked)[::2] == (200, b'{"outputs": [5.0]}')
        status, _, body = call(server, "/v1/models/sparse:predict", {"instances": [1.0]})
        message = "Output y is a SparseTensor, which answers cannot hold"
        assert (status, json.loads(body)) == (501, {"error": message})
