"""Bodies that nobody meant: the server answers every one, and blames the request, not itself."""

import http.client
import json
import os
import pathlib
from random import Random

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from serving.server.server import Server
from tests.serving import toy_models
from tests.serving.processes import running

# How many requests over REST, and a quarter of it over gRPC: 2,500 in all, always the same.
# `make fuzz` sends ten times as many, others each time.
REQUESTS = int(os.environ.get("CTR_KERAS_FUZZ", 2_000))
FUZZ = settings(
    max_examples=REQUESTS,
    deadline=None,
    database=None,
    derandomize="CTR_KERAS_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
# Requests that are fine: (model, verb, document). Mutations start from these.
GOOD = [
    ("toy", "predict", {"instances": [1.0, 2.5, -3e8]}),
    ("toy", "predict", {"inputs": {"x": [1.0, 2.0]}}),
    ("toy", "predict", {"signature_name": "two", "instances": [{"a": 1, "b": 2.5}] * 3}),
    ("toy", "predict", {"signature_name": "two", "inputs": {"a": [1], "b": [2]}}),
    ("toy", "predict", {"signature_name": "pairs", "instances": [[1, 2], [3, 4]]}),
    ("toy", "predict", {"signature_name": "mixed", "instances": [{"s": "é", "f": 1.5, "i": 7}]}),
    ("toy", "predict", {"signature_name": "strings", "instances": ["a", {"b64": "AAEC"}]}),
    ("toy", "predict", {"signature_name": "echo_int64", "inputs": [[1], [2]]}),
    ("toy", "predict", {"signature_name": "echo_bool", "inputs": [True, False]}),
    ("toy", "predict", {"signature_name": "echo_uint8", "instances": [0, 255]}),
    ("toy", "predict", {"signature_name": "wide", "instances": [{f"f{i}": i for i in range(6)}]}),
    ("defaults", "predict", {"instances": [{"a": 1, "b": 2}]}),
    ("tf1", "predict", {"instances": ["a", "b", "z"]}),
    ("examples", "classify", {"examples": [{"x": 0.5, "name": "a"}]}),
    ("examples", "classify", {"context": {"name": "c"}, "examples": [{"x": [0.5]}, {}]}),
    ("examples", "regress", {"signature_name": "value", "examples": [{"x": 1.5}]}),
]
TOKENS = [
    *(b'[ ] { } , : " \\ \\u d800 \\ud800 true false null NaN Infinity -Inf 0 -1 1.5'.split()),
    *(b'1e999 -0 1e 00 9223372036854775808 -9223372036854775809 1e-400 {"b64":"!"}'.split()),
    *(b'"instances" "inputs" "signature_name" "examples" "context" "x" "a" "b64"'.split()),
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"[" * 3000,
    b'{"a":' * 500,
    b'""',
    b"9" * 400,
]
ALLOWED = {200, 400, 404}


# One draw of a generator for each request: drawing every choice makes Hypothesis the slow part.
RANDOM = st.randoms(use_true_random=True)


def mutated(random: Random, good: bytes) -> bytes:
    """`good` with up to five changes: cut off, or a piece cut out, doubled or replaced."""
    body = good
    for _ in range(random.randint(1, 5)):
        start = random.randint(0, len(body))
        end = min(len(body), start + random.randint(0, 20))
        token, piece = random.choice(TOKENS), body[start:end]
        middle = random.choice(
            [b"", piece * 2, token, token + piece, random.randbytes(random.randint(1, 8))]
        )
        body = body[:start] + middle + (body[end:] if random.random() < 0.9 else b"")
    return body


def resident_bytes(pid: int) -> int:
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """A server process, whose memory must not grow much after a first thousand requests."""
    folder = tmp_path_factory.mktemp("models")
    toy_models.save_all(folder)
    with running(f"--models={folder}") as started:
        started.wait_for("Serving ")
        connection = http.client.HTTPConnection(started.rest_address)
        for _ in range(1000):
            connection.request("POST", "/v1/models/toy:predict", b'{"instances": [1.0')
            connection.getresponse().read()
        before = resident_bytes(started.pid)
        yield started
        grown = resident_bytes(started.pid) - before
        assert grown < 100 << 20, f"{grown >> 20} MiB more than before"


def test_the_good_requests_are_good(server):
    for model, verb, document in GOOD:
        status, _, body = toy_models.call(server, f"/v1/models/{model}:{verb}", document)
        assert status == 200, (document, body)


@pytest.mark.slow
def test_mutated_bodies_get_documented_answers(process):
    connection = http.client.HTTPConnection(process.rest_address)
    texts = [(model, verb, json.dumps(document).encode()) for model, verb, document in GOOD]

    @FUZZ
    @given(RANDOM)
    def check(random):
        model, verb, good = random.choice(texts)
        path, body = f"/v1/models/{model}:{verb}", mutated(random, good)
        connection.request("POST", path, body)
        response = connection.getresponse()
        text = response.read()
        assert response.status in ALLOWED, (path, body, response.status, text)
        answer = json.loads(text.decode("utf-8", "surrogateescape"))
        assert ("error" in answer) == (response.status != 200)

    check()
    status, _, _ = toy_models.call(process, "/v1/models/toy:predict", {"instances": [1.0]})
    assert status == 200


def good_protos() -> list[bytes]:
    made = []
    for signature, value in [
        ("", np.float32([1, 2])),
        ("echo_string", np.array([b"a", b"bc"], object)),
        ("echo_int64", np.arange(6).reshape(2, 3)),
        ("pairs", np.float32([[1, 2]])),
    ]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "toy"
        request.model_spec.signature_name = signature
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
        made.append(request.SerializeToString())
    return made


UNDERSTOOD = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # a proto that claims to be huge
}


@pytest.mark.slow
def test_mutated_protos_get_documented_answers(process):
    protos = good_protos()
    with grpc.insecure_channel(process.grpc_address) as channel:
        ask = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        @settings(FUZZ, max_examples=REQUESTS // 4)
        @given(RANDOM)
        def check(random):
            body = mutated(random, random.choice(protos))
            call = ask.future(body)
            call.exception(30)
            unreadable = "deserializing" in (call.details() or "")  # no proto at all
            assert unreadable or call.code() in UNDERSTOOD, (body, call.details())

        check()


def test_the_cap_holds_for_what_is_sent_in_pieces(tmp_path):
    """A body without a length is cut off, too."""
    with Server(tmp_path, rest_api_port=0, port=0, max_request_bytes=1000) as small:
        connection = http.client.HTTPConnection(small.rest_address)
        connection.request("POST", "/v1/models/m:predict", iter([b" " * 600] * 3))
        assert connection.getresponse().status == 413
