"""Classify, Regress and MultiInference, over REST and gRPC.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import json

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from serving.server.server import Server
from tests.serving.toy_models import call, save_of_examples, save_times, warmup_file

INVALID = grpc.StatusCode.INVALID_ARGUMENT
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def rest(server, verb, document, model="examples"):
    status, _, body = call(server, f"/v1/models/{model}:{verb}", document)
    return status, json.loads(body)


def example(**features):
    made = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, str):
            made.features.feature[name].bytes_list.value.append(value.encode())
        else:
            made.features.feature[name].float_list.value.append(value)
    return made


def request(kind, signature, *examples, model="examples", context=None):
    made = kind()
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    made.input.CopyFrom(given(*examples, context=context))
    return made


def given(*examples, context=None):
    made = input_pb2.Input()
    if context is None:
        made.example_list.examples.extend(examples)
    else:
        made.example_list_with_context.context.CopyFrom(context)
        made.example_list_with_context.examples.extend(examples)
    return made


def classification(*args, **kwargs):
    return request(classification_pb2.ClassificationRequest, *args, **kwargs)


def regression(*args, **kwargs):
    return request(regression_pb2.RegressionRequest, *args, **kwargs)


def failure(method, asked):
    with pytest.raises(grpc.RpcError) as raised:
        method(asked)
    return raised.value.code(), raised.value.details()


# Classify


@pytest.mark.parametrize("signature", [{}, {"signature_name": "both"}, {"signature_name": ""}])
def test_7_classify_over_rest(server, signature):
    rows = [{"x": 0.25, "name": "é"}, {"name": ["b"], "x": [1.0]}]
    status, answer = rest(server, "classify", {"examples": rows, **signature})
    assert status == 200
    assert answer == {"results": [[["é", 0.25], ["no", 0.75]], [["b", 1.0], ["no", 0.0]]]}


def test_7_classify_over_grpc(prediction_service):
    asked = classification("", example(x=0.25, name="a"), example(x=1.0))
    response = prediction_service.Classify(asked)
    rows = [[(c.label, c.score) for c in r.classes] for r in response.result.classifications]
    assert rows == [[("a", 0.25), ("no", 0.75)], [("nobody", 1.0), ("no", 0.0)]]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (
        "examples",
        "serving_default",
        2,
    )


def test_7_no_classes_no_labels_no_scores_zeros(server):
    document = {"signature_name": "scores_alone", "examples": [{"x": 0.5}]}
    assert rest(server, "classify", document)[1] == {"results": [[["", 0.5], ["", 0.5]]]}
    document = {"signature_name": "classes_alone", "examples": [{"name": "a"}]}
    assert rest(server, "classify", document)[1] == {"results": [[["a", 0.0]]]}


# Regress


@pytest.mark.parametrize("signature", ["value", "column"])
def test_7_regress_over_both(server, prediction_service, signature):
    document = {"signature_name": signature, "examples": [{"x": 1.5}, {"x": [2.0]}, {}]}
    assert rest(server, "regress", document) == (200, {"results": [3.0, 4.0, -2.0]})
    response = prediction_service.Regress(regression(signature, example(x=1.5), example(x=2.0)))
    assert [row.value for row in response.result.regressions] == [3.0, 4.0]
    assert response.model_spec.signature_name == signature


# Examples in JSON


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{"x": None}], "Feature: x has element with unexpected JSON type: Null"),
        ([{"x": {"y": 1}}], "Feature: x has element with unexpected JSON type: Object"),
        ([{"x": [[1.0]]}], "Feature: x has element with unexpected JSON type: Array"),
        ([{"x": [10, 10.0]}], "Unexpected element type in feature: x expecting type: int64"),
        ([{"x": [1.0, "a"]}], "Unexpected element type in feature: x expecting type: float"),
        ([{"x": ["a", 1]}], "Unexpected element type in feature: x expecting type: bytes"),
        ([{"x": 2**63}], "Feature: x has uint64_t element. Only int64_t is supported."),
        ([{"x": {"b64": "*"}}], "Unable to base64 decode"),
        ([1], "Example must be JSON object but got JSON Number"),
        ([[]], "Example must be JSON object but got JSON Array"),
        (["a"], "Example must be JSON object but got JSON String"),
        ([None], "Example must be JSON object but got JSON Null"),
        ([True], "Example must be JSON object but got JSON True"),
        ({}, "Expecting 'examples' value to be an list/array"),
        ([], "'examples' value is an empty array"),
    ],
)
@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_7_examples_that_make_no_sense(server, verb, examples, message):
    status, answer = rest(server, verb, {"signature_name": "value", "examples": examples})
    assert (status, answer["error"]) == (400, message)


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_7_no_examples_key(server, verb):
    status, answer = rest(server, verb, {"instances": [1]})
    assert status == 400
    assert answer["error"] == (
        "When method is classify, key 'examples' is expected and was not found"
    )


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"signature_name": 1}', b"{}"])
def test_7_json_is_checked_before_the_model_is_looked_up(server, body):
    assert call(server, "/v1/models/nope:classify", body)[0] == 400
    assert call(server, "/v1/models/nope:regress", b'{"examples": [{}]}')[0] == 404


def test_7_an_integer_is_int64_which_a_float_feature_refuses(server):
    status, answer = rest(server, "regress", {"signature_name": "value", "examples": [{"x": 1}]})
    assert status == 400
    assert "int64" in answer["error"]


@pytest.mark.parametrize(("token", "value"), [("1e0", "2.0"), ("NaN", "NaN"), ("-Infinity", None)])
def test_7_tokens_that_are_floats(server, token, value):
    body = f'{{"signature_name": "value", "examples": [{{"x": {token}}}]}}'.encode()
    status, _, answer = call(server, "/v1/models/examples:regress", body)
    assert (status, answer.decode()) == (200, f'{{"results": [{value or token}]}}')


def test_7_base64_is_bytes(server):
    document = {"signature_name": "classes_alone", "examples": [{"name": {"b64": "YWI="}}]}
    assert rest(server, "classify", document)[1] == {"results": [[["ab", 0.0]]]}


def test_7_an_empty_list_is_an_absent_value(server):
    document = {"signature_name": "value", "examples": [{"x": []}]}
    assert rest(server, "regress", document) == (200, {"results": [-2.0]})


# Context


def test_7_context_goes_into_every_example_that_lacks_the_feature(server, prediction_service):
    document = {"context": {"name": "c", "x": 0.5}, "examples": [{}, {"x": 1.0, "name": "own"}]}
    wanted = [[["c", 0.5], ["no", 0.5]], [["own", 1.0], ["no", 0.0]]]
    assert rest(server, "classify", document) == (200, {"results": wanted})
    asked = classification(
        "", example(), example(x=1.0, name="own"), context=example(name="c", x=0.5)
    )
    rows = prediction_service.Classify(asked).result.classifications
    assert [[[c.label, c.score] for c in row.classes] for row in rows] == wanted


def test_7_context_must_be_an_object(server):
    status, answer = rest(server, "classify", {"context": [], "examples": [{}]})
    assert (status, answer["error"]) == (400, "Example must be JSON object but got JSON Array")


# Signatures that do not fit


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("nope", "No signature was found with the name: nope"),
        ("other_input", "Expected one input Tensor"),
        ("value", 'at least one of "classes" or "scores"'),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [1]"),
    ],
)
def test_7_signatures_unfit_for_classify(server, prediction_service, signature, message):
    document = {"signature_name": signature, "examples": [{"x": 1.0}]}
    status, answer = rest(server, "classify", document)
    assert status == 400
    assert message in answer["error"]
    code, details = failure(prediction_service.Classify, classification(signature, example(x=1.0)))
    assert code == INVALID
    assert message in details


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("nope", "No signature was found with the name: nope"),
        ("other_input", "Expected one input Tensor"),
        ("other_output", "Expected one output Tensor"),
        ("both", "Expected one output Tensor"),
        ("pairs", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1]"),
        ("total", "Expected output batch size to be 2 but got 1"),
        ("doubles", "Expected outputs Tensor of DT_FLOAT. Got: DT_DOUBLE"),
    ],
)
def test_7_signatures_unfit_for_regress(server, prediction_service, signature, message):
    document = {"signature_name": signature, "examples": [{"x": 1.0}, {"x": 2.0}]}
    status, answer = rest(server, "regress", document)
    assert status == 400
    assert message in answer["error"]
    asked = regression(signature, example(x=1.0), example(x=2.0))
    code, details = failure(prediction_service.Regress, asked)
    assert code == INVALID
    assert message in details


def test_7_empty_input(prediction_service):
    for method, asked in [
        (prediction_service.Classify, classification("")),
        (prediction_service.Regress, regression("value")),
        (prediction_service.Regress, regression("value", context=example(x=1.0))),
    ]:
        assert failure(method, asked) == (INVALID, "Input is empty.")


def test_7_predict_may_call_any_signature(server):
    serialized = example(x=3.0).SerializeToString()
    assert b"\x80" not in serialized  # so that it can be sent as text
    document = {"signature_name": "value", "instances": [serialized.decode()]}
    assert rest(server, "predict", document) == (200, {"predictions": [6.0]})


@pytest.mark.parametrize("kind", [classification, regression])
def test_8_which_model_answers(prediction_service, kind):
    method = {classification: "Classify", regression: "Regress"}[kind]
    ask = getattr(prediction_service, method)
    asked = kind("", example(x=1.0), model="nope")
    assert failure(ask, asked) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(nope)",
    )
    asked = kind("", example(x=1.0))
    asked.model_spec.version.value = 9
    assert failure(ask, asked) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(examples, 9)",
    )
    asked = kind("", example(x=1.0), model="")
    assert failure(ask, asked) == (INVALID, "ModelSpec has no name specified.")
    asked.ClearField("model_spec")
    assert failure(ask, asked) == (INVALID, "Missing ModelSpec")


def test_14_method_names_are_checked_on_request(tmp_path):
    save_of_examples(str(tmp_path / "examples" / "1"))
    options = {"rest_api_port": 0, "port": 0, "enable_signature_method_name_check": True}
    with Server(tmp_path, **options) as server:
        for verb, signature in [("classify", "both"), ("regress", "value")]:
            document = {"signature_name": signature, "examples": [{"x": 1.0}]}
            status, answer = rest(server, verb, document)
            assert status == 400
            assert f"method_name to be tensorflow/serving/{verb}" in answer["error"]


# MultiInference


def multi(*tasks):
    made = inference_pb2.MultiInferenceRequest()
    for signature, method, *model in tasks:
        task = made.tasks.add(method_name=method)
        task.model_spec.name = model[0] if model else "examples"
        task.model_spec.signature_name = signature
    made.input.CopyFrom(given(example(x=0.5, name="a")))
    return made


def test_8_multi_inference(prediction_service):
    response = prediction_service.MultiInference(multi(("", CLASSIFY), ("value", REGRESS)))
    first, second = response.results
    assert [c.label for c in first.classification_result.classifications[0].classes] == ["a", "no"]
    assert second.regression_result.regressions[0].value == 1.0
    assert [r.model_spec.signature_name for r in response.results] == ["serving_default", "value"]
    assert {r.model_spec.version.value for r in response.results} == {2}


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([("nope", REGRESS)], INVALID, "Requested signature not found in model graph: nope"),
        ([("value", REGRESS)] * 2, INVALID, "Duplicate evaluation of signature: value"),
        (
            [("value", REGRESS), ("value", REGRESS, "toy")],
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("value", "tensorflow/serving/predict")],
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            [("value", REGRESS, "nope")],
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(nope)",
        ),
        ([], INVALID, "Inference request must have at least one task"),
    ],
)
def test_8_multi_inference_errors(prediction_service, tasks, code, message):
    assert failure(prediction_service.MultiInference, multi(*tasks)) == (code, message)


def test_8_multi_inference_without_input(prediction_service):
    asked = multi(("value", REGRESS))
    asked.ClearField("input")
    code, details = failure(prediction_service.MultiInference, asked)
    assert code == INVALID
    assert "Input is empty" in details


# Warm-up


def test_11_every_kind_of_request_warms_up(tmp_path):
    version = tmp_path / "examples" / "1"
    save_of_examples(str(version))
    log = prediction_log_pb2.PredictionLog
    records = [log(), log(), log()]
    records[0].classify_log.request.CopyFrom(classification("", example(x=1.0)))
    records[1].regress_log.request.CopyFrom(regression("value", example(x=1.0)))
    records[2].multi_inference_log.request.CopyFrom(multi(("value", REGRESS)))
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(warmup_file(str(version))) as writer:
        for record in records:
            writer.write(record.SerializeToString())
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with Server(
        tmp_path, rest_api_port=0, port=0, monitoring_config_file=str(monitoring)
    ) as server:
        assert rest(server, "regress", {"signature_name": "value", "examples": [{}]})[0] == 200
        page = call(server, "/monitoring/prometheus/metrics")[2].decode()
    name = f'{{model_path="{version}",status="OK"}}'
    assert f":tensorflow:serving:model_warmup_records_read{name} 3\n" in page


@pytest.mark.parametrize("warms_up", [True, False])
def test_11_warm_up_can_be_turned_off(tmp_path, warms_up):
    version = tmp_path / "m" / "1"
    save_times(str(version), 2)
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(warmup_file(str(version))) as writer:
        writer.write(b"\xff\xff")  # fails whoever reads it
    with Server(tmp_path, rest_api_port=0, port=0, enable_model_warmup=warms_up) as server:
        status = call(server, "/v1/models/m:predict", {"instances": [1.0]})[0]
    assert status == (404 if warms_up else 200)
