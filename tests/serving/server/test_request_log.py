"""Requests that are logged: what a file holds, that it can be replayed, that nobody waits."""

import threading
import types

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from serving.codes import StatusError
from serving.server.config import LogConfig, ModelConfig, read_models
from serving.server.metrics import Metrics
from serving.server.request_log import RequestLog, _Files, of_messages
from serving.versions import WARMUP_FILE
from tests.serving.server.test_model_config import config_text, entry, reload, serving
from tests.serving.toy_models import call, save_times

SERVABLE = types.SimpleNamespace(name="m", version=3)


def logging_config(prefix, rate=1.0):
    return (
        f'logging_config {{ log_collector_config {{ filename_prefix: "{prefix}" }} '
        f"sampling_config {{ sampling_rate: {rate} }} }}"
    )


def logged(folder):
    files = sorted(map(str, folder.glob("*.tfrecord")))
    records = tf.data.TFRecordDataset(files).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def record_of(size=1):
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(size, np.float32)))
    return of_messages("predict_log", request, predict_pb2.PredictResponse())


def log_to(prefix, rate=1.0, max_bytes=1 << 20):
    metrics = Metrics()
    made = RequestLog(metrics, max_bytes)
    made.configure([ModelConfig("m", prefix.parent, log=LogConfig(str(prefix), rate))])
    return made, metrics


@pytest.fixture
def models(tmp_path):
    save_times(str(tmp_path / "m" / "3"), 3)
    return tmp_path


def test_requests_of_both_apis_are_logged_and_warm_the_next_version_up(models):
    listed = entry("m", models / "m", logging_config(models / "log" / "m"))
    with serving(models, config_text(listed)) as server:
        assert call(server, "/v1/models/m:predict", {"instances": [{"x": 2}]})[0] == 200
        assert call(server, "/v1/models/m:predict", {"instances": ["wrong"]})[0] == 400
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([5.0]))
        with grpc.insecure_channel(server.grpc_address) as channel:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
        reload(server, config_text(entry("m", models / "m")))  # from now on nothing is logged
        assert call(server, "/v1/models/m:predict", {"instances": [{"x": 9}]})[0] == 200
    found = logged(models / "log")
    assert [tf.make_ndarray(r.predict_log.request.inputs["x"]).tolist() for r in found] == [
        *([2.0], [5.0])
    ]
    scores = [next(iter(r.predict_log.response.outputs.values())) for r in found]
    assert [tf.make_ndarray(score).tolist() for score in scores] == [[6.0], [15.0]]
    for metadata in (record.log_metadata for record in found):
        assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("m", 3)
        assert metadata.sampling_config.sampling_rate == 1

    save_times(str(models / "m" / "4"), 4)
    (models / "m" / "4" / "assets.extra").mkdir()
    (file,) = (models / "log").iterdir()
    file.rename(models / "m" / "4" / WARMUP_FILE)
    with serving(models, config_text(entry("m", models / "m"))) as server:
        assert server._core.metrics.warmup_records.total() == 2


def test_a_share_of_the_requests_is_sampled(tmp_path):
    request_log, metrics = log_to(tmp_path / "log", rate=0.3)
    for _ in range(500):
        request_log.offer(SERVABLE, record_of())
        if request_log._background._waiting.qsize() > 100:
            while not request_log._background.is_idle:
                threading.Event().wait(0.001)
    request_log.stop()
    assert len(logged(tmp_path)) == metrics.logged_requests.total()
    assert 100 < len(logged(tmp_path)) < 200


def test_a_full_file_is_followed_by_the_next(tmp_path):
    request_log, _ = log_to(tmp_path / "log", max_bytes=1000)
    for _ in range(8):
        request_log.offer(SERVABLE, record_of(size=100))  # over 400 bytes
    request_log.stop()
    assert len(list(tmp_path.iterdir())) == 4
    assert len(logged(tmp_path)) == 8


def test_a_slow_disk_keeps_no_request_waiting(tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(_Files, "write", lambda *_, **__: released.wait())
    request_log, metrics = log_to(tmp_path / "log")
    for _ in range(400):
        request_log.offer(SERVABLE, record_of())
    dropped = 'request_log_count{model_name="m",status="RESOURCE_EXHAUSTED"} '
    assert int(metrics.page().partition(dropped)[2].split()[0]) in (143, 144)
    released.set()
    request_log.stop()


def test_a_disk_that_fails_is_said_once_and_used_again_when_it_is_mended(tmp_path, caplog):
    (tmp_path / "logs").touch()  # where a folder should be
    request_log, metrics = log_to(tmp_path / "logs" / "log")
    for _ in range(3):
        request_log.offer(SERVABLE, record_of())
    while metrics.logged_requests.total() < 3:
        threading.Event().wait(0.001)
    (tmp_path / "logs").unlink()
    request_log.offer(SERVABLE, record_of())
    request_log.stop()
    assert len([r for r in caplog.messages if "Cannot log requests of model m" in r]) == 1
    assert len(logged(tmp_path / "logs")) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (logging_config("", 1.0), "logging_config of model m has no filename_prefix"),
        (logging_config("log", 1.5), "logging_config of model m: sampling_rate is 0 to 1, not 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, config, message):
    (tmp_path / "models.config").write_text(config_text(entry("m", tmp_path, config)))
    with pytest.raises(StatusError, match=message):
        read_models(tmp_path / "models.config")


@pytest.mark.parametrize("given", [True, False])
def test_reflection_tells_of_the_services(models, given):
    from grpc_reflection.v1alpha import proto_reflection_descriptor_database as database

    listed = config_text(entry("m", models / "m"))
    with (
        serving(models, listed, enable_grpc_reflection=given) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        described = database.ProtoReflectionDescriptorDatabase(channel)
        if not given:
            with pytest.raises(grpc.RpcError) as raised:
                described.get_services()
            assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
            return
        assert set(described.get_services()) >= {
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
        }
        file = described.FindFileContainingSymbol("tensorflow.serving.PredictionService")
        assert {method.name for method in file.service[0].method} >= {"Predict", "Classify"}
        file = described.FindFileContainingSymbol("tensorflow.serving.ModelService")
        assert len(file.service[0].method) == 2
