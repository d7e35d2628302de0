"""The monitoring page.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import contextlib
import re

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.codes import StatusError, invalid_argument, not_found
from serving.server.metrics import Counter, Histogram, Metrics
from serving.server.server import Server
from tests.serving.toy_models import call, save_of_examples, save_times

PAGE = "/monitoring/prometheus/metrics"
SERVING = ":tensorflow:serving:"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_times(str(folder / "m" / "1"), 2)
    save_of_examples(str(folder / "examples" / "1"))
    config = folder / "monitoring.config"
    config.write_text("prometheus_config { enable: true }")
    with Server(folder, rest_api_port=0, port=0, monitoring_config_file=str(config)) as running:
        yield running


def value(server, sample):
    """A sample of the page; 0 if it is not there."""
    lines = call(server, PAGE)[2].decode().splitlines()
    found = [line for line in lines if line.startswith(f"{sample} ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0


def growth(server, sample, action):
    before = value(server, sample)
    action()
    return value(server, sample) - before


def test_13_the_page(server):
    status, headers, body = call(server, PAGE)
    assert (status, headers["Content-Type"]) == (200, "text/plain")
    text = body.decode()
    assert text.endswith("\n")
    assert "# HELP" not in text
    sample = re.compile(r"(:[a-z_:]+)\{(\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*)?\} [0-9.e+]+")
    kind = re.compile(r"# TYPE :[a-z_:]+ (counter|histogram|gauge|untyped)")
    for line in text.splitlines():
        assert sample.fullmatch(line) or kind.fullmatch(line), line


@pytest.mark.parametrize(("path", "status"), [(PAGE + "/", 404), (PAGE[:-1], 404)])
def test_13_the_path_must_match_exactly(server, path, status):
    assert call(server, path)[0] == status


def test_13_a_query_is_refused(server):
    status, headers, body = call(server, f"{PAGE}?x=1")
    assert (status, headers["Content-Type"]) == (400, "text/plain")
    assert body.decode() == f"Unexpected path: {PAGE}?x=1. Should be {PAGE}"


def test_13_off_unless_asked_for(tmp_path):
    with Server(tmp_path, rest_api_port=0, port=0) as server:
        assert call(server, PAGE)[0] == 404


def test_13_another_path(tmp_path):
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true path: "/my/metrics" }')
    with Server(tmp_path, rest_api_port=0, port=0, monitoring_config_file=str(config)) as server:
        assert call(server, "/my/metrics")[0] == 200
        assert call(server, PAGE)[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "model", "status"),
    [
        ("/v1/models/m:predict", {"instances": [1.0]}, "m", "OK"),
        ("/v1/models/m:predict", {"instances": ["a"]}, "m", "INVALID_ARGUMENT"),
        ("/v1/models/nope:predict", {"instances": [1.0]}, "nope", "NOT_FOUND"),
        ("/v1/models/m", None, "m", "OK"),
        ("/v1/models/m/metadata", None, "m", "OK"),
        ("/v1/models/nope", None, "nope", "NOT_FOUND"),
        ("/v1/foo", None, "", "INVALID_ARGUMENT"),
        ("/v1/models", None, "", "INVALID_ARGUMENT"),
        ("/v1/models/examples:regress", {"examples": [{}]}, "examples", "INVALID_ARGUMENT"),
    ],
)
def test_13_rest_requests_are_counted(server, path, body, model, status):
    sample = f'{SERVING}request_count{{model_name="{model}",status="{status}"}}'
    assert growth(server, sample, lambda: call(server, path, body)) == 1


def predict_over_grpc(server, model, kind=predict_pb2.PredictRequest, method="Predict"):
    asked = kind()
    asked.model_spec.name = model
    if method == "Predict":
        asked.inputs["x"].dtype = 1
    else:
        asked.input.example_list.examples.add()
    with grpc.insecure_channel(server.grpc_address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            getattr(service, method)(asked)
        except grpc.RpcError as error:
            return error.code()


def test_13_grpc_requests_are_counted(server):
    ok = f'{SERVING}request_count{{model_name="m",status="OK"}}'
    # an input of a scalar proto without values: the model takes it
    assert growth(server, ok, lambda: predict_over_grpc(server, "m")) == 1
    lost = f'{SERVING}request_count{{model_name="lost",status="NOT_FOUND"}}'
    assert growth(server, lost, lambda: predict_over_grpc(server, "lost")) == 1


def test_13_latency_counts_successes(server):
    rest = f'{SERVING}request_latency_count{{model_name="m",API="predict",entrypoint="REST"}}'
    good, bad = {"instances": [1.0]}, {"instances": ["a"]}
    assert growth(server, rest, lambda: call(server, "/v1/models/m:predict", good)) == 1
    assert growth(server, rest, lambda: call(server, "/v1/models/m:predict", bad)) == 0
    over_grpc = f'{SERVING}request_latency_count{{model_name="m",API="Predict",entrypoint="GRPC"}}'
    assert growth(server, over_grpc, lambda: predict_over_grpc(server, "m")) == 1
    assert growth(server, over_grpc, lambda: predict_over_grpc(server, "lost")) == 0
    run = f'{SERVING}runtime_latency_count{{model_name="m",API="Predict",runtime="TF1"}}'
    assert growth(server, run, lambda: call(server, "/v1/models/m:predict", good)) == 1


def test_13_examples_are_counted(server):
    sample = f'{SERVING}request_example_count_total{{model="examples"}}'
    document = {"signature_name": "value", "examples": [{}, {}, {}]}
    ask = [
        lambda: call(server, "/v1/models/examples:regress", document),
        lambda: predict_over_grpc(
            server, "examples", classification_pb2.ClassificationRequest, "Classify"
        ),
    ]
    assert [growth(server, sample, action) for action in ask] == [3, 1]


def test_13_buckets_are_cumulative():
    histogram = Histogram(":h", ["a"])
    for number in (5, 10, 11, 1e12):
        histogram.add("x", value=number)
    buckets = [line for line in histogram.lines() if "_bucket" in line]
    assert len(buckets) == 34
    assert buckets[0] == ':h_bucket{a="x",le="10"} 1'
    assert buckets[1] == ':h_bucket{a="x",le="18"} 3'
    assert buckets[-2].endswith("} 3")
    assert buckets[-1] == ':h_bucket{a="x",le="+Inf"} 4'


def test_labels_are_escaped():
    counter = Counter(":c", ["a"])
    counter.add('x"\\\n')
    assert list(counter.lines())[1] == ':c{a="x\\"\\\\\\n"} 1'


def test_clients_cannot_make_the_page_grow_without_end():
    metrics = Metrics()
    metrics.serves("real")
    for number in range(5000):
        count(metrics, f"model-{number}", not_found("no such model"))
    count(metrics, "real")
    count(metrics, "model-4999", invalid_argument("no JSON"))
    page = metrics.page()
    assert page.count(f"{SERVING}request_count{{") == 2003
    for name, status, times in [
        ("too many", "NOT_FOUND", 3000),
        ("too many", "INVALID_ARGUMENT", 1),
        ("real", "OK", 1),
    ]:
        sample = f'{SERVING}request_count{{model_name="{name}",status="{status}"}} {times}\n'
        assert sample in page


def count(metrics, name, error=None):
    with contextlib.suppress(StatusError), metrics.request(name, "", "REST"):
        if error:
            raise error


@pytest.mark.parametrize("name", ["a%FFb", "%ED%A0%80", "%22", "%5C", "%0A", "%00"])
def test_13_no_name_spoils_the_page(server, name):
    assert call(server, f"/v1/models/{name}")[0] == 404
    status, _, body = call(server, PAGE)
    assert status == 200
    assert body.decode()
