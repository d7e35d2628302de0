"""The gRPC services on the official stubs, over real sockets.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.server import Server

STATUS = grpc.StatusCode


def request(model, signature="", outputs=(), **inputs):
    made = predict_pb2.PredictRequest(output_filter=outputs)
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


def floats(*values):
    return np.array(values, np.float32)


def failure(method, message):
    with pytest.raises(grpc.RpcError) as caught:
        method(message, timeout=30)
    return caught.value.code(), caught.value.details()


def test_8_predict(prediction_service):
    response = prediction_service.Predict(request("toy", x=floats(1, 2)))
    assert list(response.outputs["y"].float_val) == [2.5, 3.0]
    assert response.model_spec.name == "toy"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 7


@pytest.mark.parametrize(
    ("dtype", "field", "values"),
    [
        ("float32", "float_val", [1.5, -2.0]),
        ("float64", "double_val", [1.5, -2.0]),
        ("int8", "int_val", [-128, 127]),
        ("int16", "int_val", [-32768, 32767]),
        ("int32", "int_val", [-5, 5]),
        ("uint8", "int_val", [0, 255]),
        ("int64", "int64_val", [-(2**63), 2**63 - 1]),
        ("uint32", "uint32_val", [0, 2**32 - 1]),
        ("uint64", "uint64_val", [0, 2**64 - 1]),
        ("bool", "bool_val", [True, False]),
        ("string", "string_val", [b"\xff\x00", b""]),
    ],
)
def test_8_outputs_are_typed_values(prediction_service, dtype, field, values):
    array = np.array(values, tf.as_dtype(dtype).as_numpy_dtype)
    asked = request("toy", f"echo_{dtype}", x=array.reshape(1, 2))
    output = prediction_service.Predict(asked).outputs["y"]
    assert output.dtype == tf.as_dtype(dtype).as_datatype_enum
    assert [dim.size for dim in output.tensor_shape.dim] == [1, 2]
    assert list(getattr(output, field)) == values
    assert not output.tensor_content


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1.5), ("complex64", 1 - 2j)])
def test_8_types_that_have_no_json(prediction_service, dtype, value):
    array = np.array([value, 0], dtype)
    output = prediction_service.Predict(request("toy", f"echo_{dtype}", x=array)).outputs["y"]
    assert tf.make_ndarray(output).tolist() == array.tolist()


def test_8_inputs_as_content_as_values_and_as_one_value_for_all(prediction_service):
    asked = request("toy", "two")
    asked.inputs["a"].CopyFrom(tf.make_tensor_proto(floats(1, 2, 3)))
    assert asked.inputs["a"].tensor_content
    asked.inputs["b"].dtype = tf.float32.as_datatype_enum
    asked.inputs["b"].tensor_shape.dim.add(size=3)
    asked.inputs["b"].float_val.append(10)
    assert list(prediction_service.Predict(asked).outputs["sum"].float_val) == [11, 12, 13]


def test_8_a_small_message_cannot_fill_the_memory(prediction_service):
    asked = request("toy", x=floats(1))
    asked.inputs["x"].tensor_shape.dim[0].size = 2**40
    code, _ = failure(prediction_service.Predict, asked)
    assert code in (STATUS.RESOURCE_EXHAUSTED, STATUS.INVALID_ARGUMENT)


def test_8_output_filter(prediction_service):
    asked = request("toy", "two", ["sum"], a=floats(1), b=floats(2))
    assert prediction_service.Predict(asked).outputs.keys() == {"sum"}
    asked = request("toy", "two", ["sum", "nope"], a=floats(1), b=floats(2))
    code, details = failure(prediction_service.Predict, asked)
    assert code == STATUS.INVALID_ARGUMENT
    assert details.startswith("output tensor alias not found in signature: nope Outputs expected")
    asked = request("toy", "two", ["sum", "sum"], a=floats(1), b=floats(2))
    assert failure(prediction_service.Predict, asked) == (
        STATUS.INVALID_ARGUMENT,
        "duplicate output tensor alias: sum",
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input size does not match signature: 0!=2 len({}) != len({a,b}). Sent extra: {}. "),
        (
            {"a": floats(1), "b": floats(1), "c": floats(1)},
            "Sent extra: {c}. Missing but required: {}.",
        ),
        ({"a": floats(1)}, "Missing but required: {b}."),
        ({"a": floats(1), "c": floats(1)}, "Signature input alias: b not found in request"),
        (
            {"a": np.array([True]), "b": floats(1)},
            "Expects arg[0] to be float but bool is provided",
        ),
    ],
)
def test_8_input_checks(prediction_service, inputs, message):
    code, details = failure(prediction_service.Predict, request("toy", "two", **inputs))
    assert code == STATUS.INVALID_ARGUMENT
    assert message in details


def test_8_defaults_stand_in_for_absent_inputs(prediction_service):
    asked = request("defaults", a=floats(1, 2))
    assert list(prediction_service.Predict(asked).outputs["y"].float_val) == [71, 72]
    asked = request("defaults", a=floats(1), b=floats(2))
    assert list(prediction_service.Predict(asked).outputs["y"].float_val) == [21]
    code, _ = failure(prediction_service.Predict, request("defaults", b=floats(2)))
    assert code == STATUS.INVALID_ARGUMENT


def test_8_signatures_without_inputs(prediction_service):
    assert list(prediction_service.Predict(request("toy", "nothing")).outputs["y"].float_val) == [1]


def test_8_many_inputs_keep_their_names(prediction_service):
    inputs = {f"f{i}": floats(i + 1) for i in (3, 0, 5, 1, 4, 2)}
    output = prediction_service.Predict(request("toy", "wide", **inputs)).outputs["y"]
    assert list(output.float_val) == [654321]


def test_8_many_inputs_of_unequal_shapes(prediction_service):
    inputs = {f"f{i}": floats(i + 1) for i in range(5)}
    asked = request("toy", "wide", f5=floats(6, 7), **inputs)
    assert list(prediction_service.Predict(asked).outputs["y"].float_val) == [654321, 754321]


def test_8_unknown_signature(prediction_service):
    assert failure(prediction_service.Predict, request("toy", "nope", x=floats(1))) == (
        STATUS.FAILED_PRECONDITION,
        'Serving signature key "nope" not found.',
    )


def test_8_errors_of_the_model(prediction_service):
    asked = request("toy", "two", a=floats(1, 2), b=floats(1, 2, 3))
    code, details = failure(prediction_service.Predict, asked)
    assert code == STATUS.INVALID_ARGUMENT
    assert "Incompatible shapes" in details


def test_8_long_errors_are_cut(prediction_service):
    _, details = failure(prediction_service.Predict, request("m" * 2000))
    assert len(details) == 1024 + len("...TRUNCATED")
    assert details.endswith("m...TRUNCATED")


def test_3_model_spec(prediction_service):
    asked = request("toy", x=floats(1))
    asked.model_spec.version.value = 7
    assert prediction_service.Predict(asked).model_spec.version.value == 7
    asked.model_spec.version.value = 8
    assert failure(prediction_service.Predict, asked) == (
        STATUS.NOT_FOUND,
        "Servable not found for request: Specific(toy, 8)",
    )
    asked.model_spec.version_label = "stable"
    assert failure(prediction_service.Predict, asked) == (
        STATUS.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )
    assert failure(prediction_service.Predict, request("nope")) == (
        STATUS.NOT_FOUND,
        "Servable not found for request: Latest(nope)",
    )
    assert failure(prediction_service.Predict, request("")) == (
        STATUS.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    )
    assert failure(prediction_service.Predict, predict_pb2.PredictRequest()) == (
        STATUS.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )


def test_4_model_status(model_service):
    asked = get_model_status_pb2.GetModelStatusRequest()
    assert failure(model_service.GetModelStatus, asked)[0] == STATUS.INVALID_ARGUMENT
    asked.model_spec.name = "toy"
    (status,) = model_service.GetModelStatus(asked).model_version_status
    assert (status.version, status.state, status.status.error_code) == (7, 30, 0)
    asked.model_spec.version.value = 8
    assert failure(model_service.GetModelStatus, asked) == (
        STATUS.NOT_FOUND,
        "Could not find version 8 of model toy",
    )


def test_5_metadata(prediction_service):
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    asked.model_spec.name = "toy"
    assert failure(prediction_service.GetModelMetadata, asked)[0] == STATUS.INVALID_ARGUMENT
    asked.metadata_field.append("signature_def")
    response = prediction_service.GetModelMetadata(asked)
    assert (response.model_spec.name, response.model_spec.version.value) == ("toy", 7)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(definitions)
    assert definitions.signature_def["two"].inputs.keys() == {"a", "b"}
    asked.metadata_field.append("other")
    assert failure(prediction_service.GetModelMetadata, asked) == (
        STATUS.INVALID_ARGUMENT,
        "Metadata field other is not supported",
    )


def test_16_tf1_saved_model(prediction_service):
    asked = request("tf1", key=np.array([[b"a", b"b"]], object))
    output = prediction_service.Predict(asked).outputs["id"]
    assert list(output.int64_val) == [101, 102]
    assert [dim.size for dim in output.tensor_shape.dim] == [1, 2]


def test_request_size_cap(tmp_path):
    with (
        Server(tmp_path, rest_api_port=0, port=0, max_request_bytes=1000) as small,
        grpc.insecure_channel(small.grpc_address) as channel,
    ):
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        code, details = failure(service.Predict, request("m", x=np.zeros(1000)))
        assert code == STATUS.RESOURCE_EXHAUSTED
        assert "1000" in details
        assert failure(service.Predict, request("m", x=np.zeros(10)))[0] == STATUS.NOT_FOUND
