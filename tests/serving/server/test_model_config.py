"""Configuration: files, version policies, labels, reloads.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import json
import shutil
import threading
import time

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.codes import Code, StatusError
from serving.server.config import listed_models, read_batching, read_metrics_path, read_models
from serving.server.server import Server
from tests.serving.processes import free_port
from tests.serving.toy_models import (
    call,
    copy_version,
    save_broken,
    save_times,
    wait_for_state,
)

STATUS = grpc.StatusCode


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """SavedModels that multiply by 2, 3 and 4, to be copied."""
    folder = tmp_path_factory.mktemp("saved")
    for factor in (2, 3, 4):
        save_times(str(folder / str(factor)), factor)
    return folder


@pytest.fixture
def models(saved, tmp_path):
    """A model m whose versions 2, 3 and 4 multiply by their number."""
    for version in (2, 3, 4):
        copy_version(saved / str(version), tmp_path / "m" / str(version))
    return tmp_path


def entry(name, path, more=""):
    return f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}'


def config_text(*entries):
    return f"model_config_list {{ {' '.join(entries)} }}"


def serving(folder, text, **options):
    """A server on free ports, with a configuration file of the given text."""
    path = folder / "models.config"
    path.write_text(text)
    ports = {"rest_api_port": free_port(), "port": free_port()}
    options = {"file_system_poll_wait_seconds": 0.05, "max_num_load_retries": 0, **options}
    return Server(model_config_file=str(path), **ports, **options)


def predicted(server, where="m", x=1.0):
    status, _, body = call(server, f"/v1/models/{where}:predict", {"instances": [x]})
    return json.loads(body)["predictions"][0] if status == 200 else (status, json.loads(body))


def reload(server, text):
    asked = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, asked.config)
    with grpc.insecure_channel(server.grpc_address) as channel:
        return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(asked)


def refused(server, text):
    with pytest.raises(grpc.RpcError) as raised:
        reload(server, text)
    return raised.value.code(), raised.value.details()


# Version policies


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", {4}),
        ("model_version_policy { latest { } }", {4}),
        ("model_version_policy { latest { num_versions: 0 } }", {4}),
        ("model_version_policy { latest { num_versions: 2 } }", {3, 4}),
        ("model_version_policy { all { } }", {2, 3, 4}),
        ("model_version_policy { specific { versions: 2 versions: 4 } }", {2, 4}),
        ("model_version_policy { specific { versions: 3 versions: 99 } }", {3}),
    ],
)
def test_9_version_policies(models, policy, versions):
    with serving(models, config_text(entry("m", models / "m", policy))) as server:
        wait_for_all(server, versions)
        assert predicted(server) == max(versions)
        for version in (2, 3, 4, 99):
            got = predicted(server, f"m/versions/{version}")
            assert (got == version) if version in versions else (got[0] == 404)


def wait_for_all(server, versions):
    """A server is ready with one version of each model; the others follow."""
    for version in versions:
        wait_for_state(server, "m", version, "AVAILABLE")


def test_9_several_models(models, saved):
    copy_version(saved / "2", models / "other" / "1")
    text = config_text(entry("a", models / "m"), entry("b", models / "other"))
    with serving(models, text) as server:
        assert (predicted(server, "a"), predicted(server, "b")) == (4.0, 2.0)


def test_9_one_model_by_flags(models):
    ports = {"rest_api_port": free_port(), "port": free_port()}
    with Server(model_name="one", model_base_path=str(models / "m"), **ports) as server:
        assert predicted(server, "one") == 4.0
    with Server(model_base_path=str(models / "m"), **ports) as server:
        assert predicted(server, "default") == 4.0


# Files that cannot be used


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        ("models { }", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        (config_text(entry("m", "/a"), entry("m", "/b")), "model m multiple times"),
        (config_text(entry("m", "a/b")), "model m to have an absolute path"),
        (config_text(entry("m", "")), "model m to have an absolute path"),
        (config_text('config { name: "m" base_path: "/a" }'), "for model m"),
        (
            config_text('config { name: "m" base_path: "/a" model_platform: "torch" }'),
            "unsupported platform torch for model m",
        ),
        (config_text('config { base_path: "/a" model_platform: "tensorflow" }'), "has no name"),
        ("custom_model_config { }", "custom_model_config is not supported"),
    ],
)
def test_9_configurations_that_are_refused(tmp_path, text, message):
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(StatusError, match=message) as raised:
        read_models(path)
    assert raised.value.code == Code.INVALID_ARGUMENT


def test_9_other_file_systems_are_said_to_be_missing():
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name="m", base_path="gs://bucket/m", model_platform="tensorflow"
    )
    with pytest.raises(StatusError, match=r"local files only; got .*gs://bucket/m"):
        listed_models(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "BatchingParameters"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative"),
        ("allowed_batch_sizes: [4, 2]", "monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]", "must match max_batch_size"),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
            "allowed_batch_sizes: 4",
            "must match max_execution_batch_size",
        ),
    ],
)
def test_12_batching_parameters_that_are_refused(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(StatusError, match=message):
        read_batching(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ('prometheus_config { path: "/x" }', None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/x" }', "/x"),
    ],
)
def test_13_monitoring_files(tmp_path, text, path):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert read_metrics_path(file) == path


# Labels

BOTH = "model_version_policy { specific { versions: 2 versions: 3 } }"


def label(**labels):
    return " ".join(f'version_labels {{ key: "{k}" value: {v} }}' for k, v in labels.items())


def labelled(models, **labels):
    return config_text(entry("m", models / "m", f"{BOTH} {label(**labels)}"))


def test_3_labels_choose_versions(models):
    with serving(models, config_text(entry("m", models / "m", BOTH))) as server:
        wait_for_all(server, {2, 3})
        assert reload(server, labelled(models, stable=2, canary=3)).status.error_code == 0
        assert predicted(server, "m/labels/stable") == 2.0
        assert predicted(server, "m/labels/canary") == 3.0
        message = "Unrecognized servable version label: nope"
        assert predicted(server, "m/labels/nope") == (400, {"error": message})
        assert predicted(server, "other/labels/stable")[0] == 400
        assert call(server, "/v1/models/m/labels/stable/metadata")[0] == 200
        with grpc.insecure_channel(server.grpc_address) as channel:
            asked = predict_pb2.PredictRequest()
            asked.model_spec.name = "m"
            asked.model_spec.version_label = "stable"
            asked.inputs["x"].dtype = 1
            asked.inputs["x"].float_val.append(1.0)
            asked.inputs["x"].tensor_shape.dim.add(size=1)
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = service.Predict(asked)
            assert response.model_spec.version.value == 2
            assert list(response.outputs["y"].float_val) == [2.0]


def test_4_a_label_in_a_status_request_is_not_read(models):
    with serving(models, config_text(entry("m", models / "m", BOTH))) as server:
        wait_for_all(server, {2, 3})
        for path in ("/v1/models/m/labels/nope", "/v1/models/m"):
            states = json.loads(call(server, path)[2])["model_version_status"]
            assert [state["version"] for state in states] == ["3", "2"]


def test_9_a_label_for_a_version_that_is_not_available_fails_the_reload(models):
    with serving(models, labelled(models)) as server:
        wait_for_all(server, {2, 3})
        reload(server, labelled(models, stable=2))
        message = (
            "Request to assign label to version 4 of model m, which is not currently available "
            "for inference"
        )
        text = config_text(entry("m", models / "m", label(stable=4)), entry("n", models / "m"))
        assert refused(server, text) == (STATUS.FAILED_PRECONDITION, message)
        # and nothing of it was applied
        assert predicted(server, "m/labels/stable") == 2.0
        assert predicted(server, "n")[0] == 404


def test_9_labels_at_start_up_need_the_flag(models):
    with pytest.raises(StatusError, match="assign label to version 2 of model m"):
        serving(models, labelled(models, stable=2)).start()
    flag = {"allow_version_labels_for_unavailable_models": True}
    with serving(models, labelled(models, stable=2), **flag) as server:
        wait_for_all(server, {2, 3})
        assert predicted(server, "m/labels/stable") == 2.0
        # A label that is in use may still not be moved to what is not there.
        assert refused(server, labelled(models, stable=99))[0] == STATUS.FAILED_PRECONDITION
        reload(server, labelled(models, stable=2, canary=99))
        message = "Servable not found for request: Specific(m, 99)"
        assert predicted(server, "m/labels/canary") == (404, {"error": message})


def test_9_moving_a_label(models):
    with serving(models, labelled(models)) as server:
        wait_for_all(server, {2, 3})
        reload(server, labelled(models, stable=2))
        reload(server, labelled(models, stable=3))
        assert predicted(server, "m/labels/stable") == 3.0
        reload(server, labelled(models))
        assert predicted(server, "m/labels/stable")[0] == 400


# Reloads


def test_9_a_reload_replaces_the_models(models, saved):
    copy_version(saved / "2", models / "other" / "1")
    with serving(models, config_text(entry("m", models / "m"))) as server:
        reload(server, config_text(entry("other", models / "other")))
        assert predicted(server, "other") == 2.0
        assert wait_for_state(server, "m", 4, "END") == {"error_code": "OK", "error_message": ""}
        assert predicted(server, "m")[0] == 404
        reload(server, config_text(entry("m", models / "m")))
        assert predicted(server, "m") == 4.0


def test_9_a_model_that_was_just_removed_comes_back_by_a_reload(models, saved):
    copy_version(saved / "2", models / "other" / "1")
    both = config_text(entry("m", models / "m"), entry("other", models / "other"))
    with serving(models, both) as server:
        for _ in range(3):
            reload(server, config_text(entry("other", models / "other")))
            assert reload(server, both).status.error_code == 0
            assert predicted(server, "m") == 4.0


def test_9_a_reload_that_waits_for_a_model_ends_when_the_model_is_removed(models):
    (models / "late").mkdir()
    with serving(models, config_text(entry("m", models / "m"))) as server:
        text = config_text(entry("m", models / "m"), entry("late", models / "late"))
        thread = threading.Thread(target=reload, args=[server, text])
        thread.start()
        wait_for_state(server, "m", 4, "AVAILABLE")
        time.sleep(0.2)
        assert thread.is_alive()
        reload(server, config_text(entry("m", models / "m")))
        thread.join(10)
        assert not thread.is_alive()


def test_9_a_reload_changes_the_policy(models):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        policy = "model_version_policy { specific { versions: 2 } }"
        reload(server, config_text(entry("m", models / "m", policy)))
        wait_for_state(server, "m", 4, "END")
        assert predicted(server) == 2.0


def test_9_a_reload_waits_for_new_models(models, saved):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        text = config_text(entry("m", models / "m"), entry("late", models / "late"))
        (models / "late").mkdir()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(reload(server, text)))
        thread.start()
        time.sleep(0.5)
        assert not answers
        assert predicted(server, "m") == 4.0
        copy_version(saved / "2", models / "late" / "1")
        thread.join(30)
        assert answers
        assert predicted(server, "late") == 2.0


def test_9_a_new_model_that_fails_fails_the_reload(models):
    save_broken(str(models / "broken" / "1"))
    with serving(models, config_text(entry("m", models / "m"))) as server:
        text = config_text(entry("m", models / "m"), entry("broken", models / "broken"))
        code, message = refused(server, text)
        assert code == STATUS.UNKNOWN
        assert "1 servable(s) did not become available: {{{name: broken version: 1}" in message
        assert predicted(server, "m") == 4.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ServerModelConfig type not supported by HandleReloadConfigRequest"),
        ("custom_model_config { }", "ServerModelConfig type not supported"),
        (config_text(entry("m", "relative")), "absolute path"),
        (config_text(entry("m", "/a"), entry("m", "/a")), "multiple times"),
    ],
)
def test_9_reloads_that_are_refused(models, text, message):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        code, details = refused(server, text)
        assert code == STATUS.INVALID_ARGUMENT
        assert message in details
        assert predicted(server) == 4.0


def test_8_a_reload_reports_the_increase_of_metrics(models):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        asked = model_management_pb2.ReloadConfigRequest()
        name = ":tensorflow:cc:saved_model:load_attempt_count"
        asked.metric_names.append(name)
        for which in ("m", "n"):
            asked.config.model_config_list.config.add(
                name=which, base_path=str(models / "m"), model_platform="tensorflow"
            )
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            response = stub.HandleReloadConfigRequest(asked)
        assert [(m.name, m.int64_value_increase) for m in response.metric] == [(name, 1)]


def test_9_the_file_is_read_again(models):
    with serving(
        models,
        config_text(entry("m", models / "m")),
        model_config_file_poll_wait_seconds=0.05,
    ) as server:
        path = models / "models.config"
        path.write_text("model_config_list { this is no configuration")
        time.sleep(0.2)
        assert predicted(server) == 4.0
        path.write_text(config_text(entry("renamed", models / "m")))
        wait_for_state(server, "renamed", 4, "AVAILABLE")
        wait_for_state(server, "m", 4, "END")


def test_9_the_file_is_not_read_again_unless_asked(models):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        (models / "models.config").write_text(config_text(entry("renamed", models / "m")))
        time.sleep(0.3)
        assert predicted(server) == 4.0


# Polling


def test_9_a_missing_base_path_stops_the_poll_for_all_models(models, saved):
    text = config_text(entry("m", models / "m"), entry("late", models / "late"))
    server = serving(models, text)
    started = threading.Thread(target=server.start)
    started.start()
    time.sleep(0.5)
    assert started.is_alive(), "the server waits for its models"
    with pytest.raises(OSError, match="refused"):
        call(server, "/v1/models/m")
    copy_version(saved / "3", models / "late" / "1")
    started.join(30)
    assert (predicted(server, "m"), predicted(server, "late")) == (4.0, 3.0)
    shutil.move(models / "late", models / "gone")
    copy_version(saved / "2", models / "m" / "5")
    time.sleep(0.5)
    assert predicted(server, "m") == 4.0, "nothing is updated"
    assert predicted(server, "late") == 3.0, "and nothing is unloaded"
    shutil.move(models / "gone", models / "late")
    wait_for_state(server, "m", 5, "AVAILABLE")
    server.stop()


def test_9_versions_that_are_gone_are_unloaded(models):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        for version in ("2", "3", "4"):
            shutil.rmtree(models / "m" / version)
        wait_for_state(server, "m", 4, "END")
        assert predicted(server)[0] == 404


@pytest.mark.parametrize("seconds", [0, 3600])
def test_9_polling_once(models, saved, seconds):
    text = config_text(entry("m", models / "m"))
    with serving(models, text, file_system_poll_wait_seconds=seconds) as server:
        copy_version(saved / "2", models / "m" / "5")
        time.sleep(0.3)
        assert predicted(server) == 4.0


# Failing loads


def test_10_a_model_that_fails_at_start_up_ends_the_server(models):
    save_broken(str(models / "broken" / "1"))
    text = config_text(entry("m", models / "m"), entry("broken", models / "broken"))
    with pytest.raises(StatusError) as raised:
        serving(models, text).start()
    assert raised.value.code == Code.UNKNOWN
    assert str(raised.value).startswith(
        "UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: broken version: 1} due to error: DATA_LOSS: "
    )


def test_10_a_failed_load_is_tried_again(models, saved):
    options = {"max_num_load_retries": 100, "load_retry_interval_micros": 50_000}
    with serving(models, config_text(entry("m", models / "m")), **options) as server:
        save_broken(str(models / "m" / "5"))
        wait_for_state(server, "m", 5, "LOADING")
        time.sleep(0.3)
        wait_for_state(server, "m", 5, "LOADING")
        assert predicted(server) == 4.0
        shutil.rmtree(models / "m" / "5")
        copy_version(saved / "2", models / "m" / "5")
        wait_for_state(server, "m", 5, "AVAILABLE")
        assert predicted(server) == 2.0


def test_10_a_newer_version_ends_the_retries(models, saved):
    options = {"max_num_load_retries": 5, "load_retry_interval_micros": 3_600_000_000}
    with serving(models, config_text(entry("m", models / "m")), **options) as server:
        save_broken(str(models / "m" / "5"))
        wait_for_state(server, "m", 5, "LOADING")
        copy_version(saved / "2", models / "m" / "6")
        wait_for_state(server, "m", 6, "AVAILABLE")
        assert wait_for_state(server, "m", 5, "END")["error_code"] == "DATA_LOSS"
        assert predicted(server) == 2.0


def test_10_a_failed_version_is_not_tried_again_while_it_is_wanted(models):
    with serving(models, config_text(entry("m", models / "m"))) as server:
        save_broken(str(models / "m" / "5"))
        status = wait_for_state(server, "m", 5, "END")
        assert status["error_code"] == "DATA_LOSS"
        time.sleep(0.3)
        wait_for_state(server, "m", 5, "END")
        assert predicted(server) == 4.0, "the old version stays"


def test_4_status_over_grpc(models):
    save_broken(str(models / "m" / "5"))
    policy = "model_version_policy { latest { num_versions: 2 } }"
    with serving(models, config_text(entry("m", models / "m", policy))) as server:
        wait_for_state(server, "m", 5, "END")
        with grpc.insecure_channel(server.grpc_address) as channel:
            asked = get_model_status_pb2.GetModelStatusRequest()
            asked.model_spec.name = "m"
            answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(asked)
        rows = [(s.version, s.state, s.status.error_code) for s in answer.model_version_status]
        assert rows == [(5, 50, Code.DATA_LOSS), (4, 30, 0)]


# Health, which TensorFlow Serving says of single models only


def health(server):
    status, headers, body = call(server, "/healthz")
    assert headers["Content-Type"].startswith("application/json")
    assert body.count(b"\n") == 1
    return status, json.loads(body)


def test_health_is_bad_where_nothing_is_served(tmp_path):
    with Server(tmp_path, rest_api_port=0, port=0) as server:
        assert health(server) == (503, {"serving": [], "not_serving": []})


def test_health_is_good_while_every_model_serves_whatever_becomes_of_newer_versions(models, saved):
    both = config_text(entry("m", models / "m"), entry("n", models / "n"))
    with serving(models, config_text(entry("m", models / "m"))) as server:
        assert health(server) == (200, {"serving": ["m"], "not_serving": []})
        save_broken(str(models / "m" / "5"))
        wait_for_state(server, "m", 5, "END")
        assert health(server)[0] == 200
        save_broken(str(models / "n" / "1"))
        assert refused(server, both)[0] == STATUS.UNKNOWN
        assert health(server) == (503, {"serving": ["m"], "not_serving": ["n"]})
        copy_version(saved / "2", models / "n" / "2")
        wait_for_state(server, "n", 2, "AVAILABLE")
        assert health(server) == (200, {"serving": ["m", "n"], "not_serving": []})
