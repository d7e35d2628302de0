"""A share of the requests goes to a second version, whose scores are compared and not answered."""

import contextlib
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server import shadow as module
from serving.server.options import Options, ShadowOption
from serving.tensors import to_proto
from tests.serving.processes import running
from tests.serving.server.test_model_config import config_text, entry, predicted, serving
from tests.serving.toy_models import call, save_times

PAGE = "/monitoring/prometheus/metrics"
LABELS = (
    "model_version_policy { specific { versions: 3 versions: 4 } } "
    'version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 4 }'
)
WHERE = "m/labels/stable"


@pytest.fixture
def models(tmp_path):
    for version in (3, 4):
        save_times(str(tmp_path / "m" / str(version)), version)
    return tmp_path


@contextlib.contextmanager
def shadowed(models, share=1):
    labelled = config_text(entry("m", models / "m", LABELS))
    options = {"allow_version_labels_for_unavailable_models": True, "shadow": f"canary:{share}"}
    with serving(models, labelled, **options) as server:
        while not are_available(server):
            threading.Event().wait(0.01)
        yield server


def are_available(server):
    return call(server, "/v1/models/m")[2].count(b"AVAILABLE") == 2


def counted(server, statuses):
    """Waits until so many requests of each status were shadowed, and gives the metrics."""
    metrics = server._core.metrics
    while metrics.shadowed_requests.total() < sum(statuses.values()):
        threading.Event().wait(0.005)
    for status, count in statuses.items():
        line = f'shadow_request_count{{model_name="m",status="{status}"}} {count}'
        assert line in metrics.page()
    return metrics.page()


def test_a_server_process_counts_how_scores_differ_and_logs_it(models):
    (models / "models.config").write_text(config_text(entry("m", models / "m", LABELS)))
    monitoring = models / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with running(
        f"--model_config_file={models / 'models.config'}",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models",
        "--shadow=canary:1",
    ) as server:
        server.wait_for("Serving ")
        server.wait_until(lambda: are_available(server))
        assert predicted(server, WHERE, 0.5) == 1.5
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.version_label = "m", "stable"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([0.0, 2.0]))
        with grpc.insecure_channel(server.grpc_address) as channel:
            answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
        assert answer.model_spec.version.value == 3
        assert predicted(server, "m/labels/canary", 9) == 36  # which has nothing to compare with

        def page():
            return call(server, PAGE)[2].decode()

        server.wait_until(lambda: 'shadow_request_count{model_name="m",status="OK"} 2' in page())
        for line in ("score_count", 3), ("differing_count", 2), ("difference_sum", 2.5):
            assert '_{}{{model_name="m"}} {}\n'.format(*line) in page()
        assert 'shadow_largest_difference{model_name="m"} 2\n' in page()
        runs = 'runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 3'
        assert runs in page()  # those for clients
        server.terminate()
        assert server.ended() == 0
        assert (
            "Shadow of model m, version 4 next to 3: 2 of 3 scores of 2 requests differ, by 0.833 "
            "in the mean and 2 at most"
        ) in server.output


def test_a_shadow_that_is_slow_keeps_no_request_waiting(models, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(module, "predict", lambda *_: released.wait())
    with shadowed(models) as server:
        for _ in range(300):
            assert predicted(server, WHERE) == 3
        counted(server, {"RESOURCE_EXHAUSTED": 43})  # one runs, 256 wait
        released.set()


def test_a_shadow_that_fails_breaks_no_answer_and_says_so_once(tmp_path, caplog):
    save_times(str(tmp_path / "m" / "3"), 3)
    other = tf.Module()
    other.call = tf.function(lambda x: {"z": x}, [tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(other, str(tmp_path / "m" / "4"), {"serving_default": other.call})
    with shadowed(tmp_path) as server:
        for _ in range(3):
            assert predicted(server, WHERE) == 3
        counted(server, {"FAILED_PRECONDITION": 3})
    said = [m for m in caplog.messages if m.startswith("The shadow of model m has no scores")]
    assert len(said) == 1
    assert "output y is of shape (1,), and of (0,) there" in said[0]


def test_models_without_the_label_are_left_alone(models):
    with serving(models, config_text(entry("m", models / "m")), shadow="canary:1") as server:
        assert predicted(server) == 4
        assert server._core._shadow._background.stop()
        assert server._core.metrics.shadowed_requests.total() == 0


def test_a_share_of_the_requests_is_sampled(models):
    with shadowed(models, share=0.3) as server:
        for _ in range(200):
            predicted(server, WHERE)
        assert server._core._shadow._background.stop()
        assert 30 < server._core.metrics.shadowed_requests.total() < 90


def test_scores_that_are_no_number_count_and_are_in_no_sum():
    def outputs(*values):
        return {"y": to_proto(np.float32(values), 1)}

    nan, inf = np.nan, np.inf
    found = module._compared((1, 2), outputs(1, nan, nan, inf, 2), outputs(1, nan, 3, 4, 2.25))
    assert (found.scores, found.differing, found.total, found.largest) == (5, 3, 0.25, 0.25)


@pytest.mark.parametrize("text", ["canary", "canary:", ":0.5", "canary:0", "canary:1.5", "a:nan"])
def test_an_option_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match=rf"such as canary:0.1, not {text}$"):
        ShadowOption.of(text)


def test_labels_are_needed():
    with pytest.raises(ValueError, match="--shadow needs --model_config_file"):
        Options(models="models", shadow="canary:0.1")
