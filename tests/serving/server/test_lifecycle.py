"""Versions that come, go and fail; warm-up; starting and stopping.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from serving.codes import Code, StatusError
from serving.server import manager
from serving.server.config import ModelConfig
from serving.server.inference import REPLAYED
from serving.server.lifecycle import TRANSITIONS, State, VersionRecord, Versions
from serving.server.savedmodel import Servable
from serving.server.server import Server, serve
from serving.server.signature import SignatureRunner
from serving.versions import check_models_folder, find_versions
from tests.serving.toy_models import (
    call,
    copy_version,
    publish,
    save_broken,
    save_times,
    wait_for_state,
    warmup_file,
    write_warmup,
)

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """SavedModels that multiply by 2 and by 3, to be copied."""
    folder = tmp_path_factory.mktemp("saved")
    for factor in (2, 3):
        save_times(str(folder / str(factor)), factor)
    return folder


@pytest.fixture(autouse=True)
def _collect_soon(monkeypatch):
    """What was unloaded is collected after a second, for which these tests need not wait."""
    monkeypatch.setattr(manager, "_SECONDS_TO_COLLECTION", 0.05)


@pytest.fixture
def models(saved, tmp_path):
    """A directory of models, in which m has version 1: it multiplies by 2."""
    copy_version(saved / "2", tmp_path / "m" / "1")
    return tmp_path


@pytest.fixture
def held(monkeypatch):
    """Requests run when the event is set, or after 20 seconds; `started` says that one has come."""
    run, released = SignatureRunner.run, threading.Event()
    released.started = threading.Event()

    def held_run(self, inputs):
        released.started.set()
        released.wait(20)
        return run(self, inputs)

    monkeypatch.setattr(SignatureRunner, "run", held_run)
    return released


def running(models, **options):
    return Server(models, rest_api_port=0, port=0, file_system_poll_wait_seconds=0.05, **options)


def predicted(server, model="m", x=1.0):
    status, _, body = call(server, f"/v1/models/{model}:predict", {"instances": [x]})
    return json.loads(body)["predictions"][0] if status == 200 else body


def request(x, name="x"):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = "any"
    made.inputs[name].CopyFrom(tf.make_tensor_proto(x, tf.float32))
    return made


def steps(versions):
    """Takes every step that is left, with loads that succeed; says which."""
    taken = []
    while step := versions.next_step():
        state, record = step
        record.enter(state)
        record.enter(State.AVAILABLE if state == State.LOADING else State.END)
        taken.append((State.Name(state), record.version))
    return taken


def paths(*versions):
    return {version: pathlib.Path(str(version)) for version in versions}


def test_10_new_versions_are_loaded_newest_first_before_old_ones_are_unloaded():
    versions = Versions()
    versions.want(paths(1, 2))
    assert steps(versions) == [("LOADING", 2), ("LOADING", 1)]
    versions.want(paths(3, 4))
    taken = [("UNLOADING", 1), ("LOADING", 4), ("UNLOADING", 2), ("LOADING", 3)]
    assert steps(versions) == taken
    assert versions.available().version == 4
    assert versions.available(2) is None
    versions.want({})
    assert steps(versions) == [("UNLOADING", 3), ("UNLOADING", 4)]
    assert [record.version for record in versions.newest_first()] == [4, 3, 2, 1]


def failed(version):
    """Versions of which one has failed to load, and its record."""
    versions = Versions()
    versions.want(paths(version))
    _, record = versions.next_step()
    assert versions.failure() is None
    record.error = StatusError(Code.DATA_LOSS, "broken")
    for state in (State.LOADING, State.END):
        record.enter(state)
    return versions, record


def test_10_a_failed_version_is_tried_again_only_after_it_was_not_wanted():
    versions, record = failed(1)
    versions.want(paths(1))
    assert versions.next_step() is None
    assert versions.failure() is record
    versions.want({})
    assert versions.failure() is None
    versions.want(paths(1))
    assert steps(versions) == [("LOADING", 1)]


def test_10_a_failed_version_is_tried_again_when_its_files_have_changed_and_rest():
    versions, record = failed(1)
    record.content = "half"
    for content in ("half", "half", "more", "whole"):
        assert not versions.look_at(record, content)
        assert versions.next_step() is None
    assert versions.look_at(record, "whole")
    assert steps(versions) == [("LOADING", 1)]


def test_10_a_version_that_is_asked_for_again_while_it_ends_is_loaded_anew():
    versions = Versions()
    versions.want(paths(1))
    steps(versions)
    versions.want(paths(2))
    _, second = versions.next_step()
    for state in (State.LOADING, State.AVAILABLE):
        second.enter(state)
    state, first = versions.next_step()
    first.enter(state)
    assert state == State.UNLOADING
    versions.want(paths(1))
    assert versions.next_step() is None, "until it has ended, and the second one answers meanwhile"
    assert versions.failure() is None
    first.enter(State.END)
    assert steps(versions) == [("LOADING", 1), ("UNLOADING", 2)]
    assert versions.available().version == 1


def test_10_a_version_that_was_never_loaded_is_forgotten():
    versions = Versions()
    versions.want(paths(1))
    versions.want(paths(2))
    assert steps(versions) == [("LOADING", 2)]
    assert [record.version for record in versions.newest_first()] == [2]


@pytest.mark.parametrize("before", State.values()[1:])
@pytest.mark.parametrize("after", State.values()[1:])
def test_10_only_the_steps_of_the_table_can_be_taken(before, after):
    record = VersionRecord(1, pathlib.Path("1"), before)
    if after in TRANSITIONS[before]:
        record.enter(after)
        assert record.state == after
    else:
        with pytest.raises(ValueError, match=f"{State.Name(before)} to {State.Name(after)}"):
            record.enter(after)
        assert record.state == before


def test_10_hot_swap_fails_no_request(models, saved):
    answers, stopping = [], threading.Event()

    def ask_rest():
        while not stopping.is_set():
            answers.append(predicted(server))

    def ask_grpc():
        with grpc.insecure_channel(server.grpc_address) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            asked = request([1.0])
            asked.model_spec.name = "m"
            while not stopping.is_set():
                response = service.Predict(asked)
                answers.append(
                    (response.model_spec.version.value, *response.outputs["y"].float_val)
                )

    with running(models) as server:
        threads = [threading.Thread(target=ask) for ask in (ask_rest, ask_rest, ask_grpc)]
        for thread in threads:
            thread.start()
        copy_version(saved / "3", models / "m" / "2")
        ended = wait_for_state(server, "m", 1, "END")
        assert ended == {"error_code": "OK", "error_message": ""}
        before = len(answers)
        while len(answers) < before + 20:
            assert all(thread.is_alive() for thread in threads)
        stopping.set()
        for thread in threads:
            thread.join()
        assert predicted(server) == 3.0
        assert call(server, "/v1/models/m/versions/1:predict", {"instances": [1]})[0] == 404
    assert set(answers) == {2.0, 3.0, (1, 2.0), (2, 3.0)}


def test_10_the_old_version_answers_while_the_new_one_loads(models, saved, monkeypatch):
    loading, go_on = threading.Event(), threading.Event()
    load = tf.saved_model.load

    def slow_load(path, *options):
        if path.endswith("/2"):
            loading.set()
            go_on.wait()
        return load(path, *options)

    monkeypatch.setattr(tf.saved_model, "load", slow_load)
    with running(models) as server:
        copy_version(saved / "3", models / "m" / "2")
        assert loading.wait(30)
        wait_for_state(server, "m", 2, "LOADING")
        assert predicted(server) == 2.0
        go_on.set()
        wait_for_state(server, "m", 1, "END")
        assert predicted(server) == 3.0


def test_10_unloading_waits_for_requests_under_way(models, saved, held):
    answers = []
    with running(models) as server:
        thread = threading.Thread(target=lambda: answers.append(predicted(server)))
        thread.start()
        assert held.started.wait(10)
        copy_version(saved / "3", models / "m" / "2")
        wait_for_state(server, "m", 1, "UNLOADING")
        time.sleep(0.5)
        wait_for_state(server, "m", 1, "UNLOADING", seconds=1)
        held.set()
        wait_for_state(server, "m", 1, "END")
        thread.join()
    assert answers == [2.0]


def test_10_a_broken_version_never_takes_the_good_one_down(models, saved):
    with running(models) as server:
        publish(models / "m", 2, save_broken)
        status = wait_for_state(server, "m", 2, "END")
        assert status["error_code"] == "DATA_LOSS"
        assert "Can't parse the SavedModel" in status["error_message"]
        assert predicted(server) == 2.0
        assert call(server, "/v1/models/m/versions/2:predict", {"instances": [1]})[0] == 404
        copy_version(saved / "3", models / "m" / "3")
        wait_for_state(server, "m", 1, "END")
        assert predicted(server) == 3.0
        states = json.loads(call(server, "/v1/models/m")[2])["model_version_status"]
        assert [entry["version"] for entry in states] == ["3", "2", "1"]


def test_10_a_broken_model_at_the_start_leaves_the_others_alone(models):
    publish(str(models / "m"), 2, save_broken)
    (models / "empty").mkdir()
    (models / "half" / "1").mkdir(parents=True)
    with running(models) as server:
        assert wait_for_state(server, "m", 2, "END")["error_code"] == "DATA_LOSS"
        status = wait_for_state(server, "half", 1, "END")
        assert status["error_code"] == "NOT_FOUND"
        assert "Could not find SavedModel" in status["error_message"]
        assert call(server, "/v1/models/empty")[0] == 404


def test_10_a_version_that_is_wanted_again_while_it_unloads_serves_again(models, saved, held):
    with running(models) as server:
        thread = threading.Thread(target=predicted, args=[server])
        thread.start()
        assert held.started.wait(10)
        copy_version(saved / "3", models / "m" / "2")
        wait_for_state(server, "m", 1, "UNLOADING")
        os.rename(models / "m" / "2", models / "m" / ".2")
        time.sleep(0.2)  # several polls
        wait_for_state(server, "m", 2, "AVAILABLE", seconds=1)
        held.set()
        wait_for_state(server, "m", 1, "AVAILABLE")
        assert wait_for_state(server, "m", 2, "END")["error_code"] == "OK"
        thread.join()
        assert predicted(server) == 2.0


def test_10_a_model_that_comes_back_while_it_unloads_serves_again(models, held):
    with running(models) as server:
        thread = threading.Thread(target=predicted, args=[server])
        thread.start()
        assert held.started.wait(10)
        os.rename(models / "m", models / ".m")
        wait_for_state(server, "m", 1, "UNLOADING")
        os.rename(models / ".m", models / "m")
        time.sleep(0.2)
        held.set()
        wait_for_state(server, "m", 1, "AVAILABLE")
        thread.join()
        assert predicted(server) == 2.0


def test_10_a_version_that_is_copied_in_place_is_loaded_when_it_is_whole(models, saved):
    with running(models) as server:
        (models / "m" / "2").mkdir()
        assert wait_for_state(server, "m", 2, "END")["error_code"] == "NOT_FOUND"
        shutil.copy(saved / "3" / "saved_model.pb", models / "m" / "2")
        time.sleep(0.3)
        wait_for_state(server, "m", 2, "END")
        assert predicted(server) == 2.0
        shutil.copytree(saved / "3" / "variables", models / "m" / "2" / "variables")
        wait_for_state(server, "m", 2, "AVAILABLE")
        assert predicted(server) == 3.0


def test_10_a_version_whose_files_change_while_it_is_loaded_is_loaded_anew(
    models, saved, monkeypatch
):
    load, loads = tf.saved_model.load, []

    def load_while_copied(path, *options):
        loaded = load(path, *options)
        if path.endswith("/2"):
            loads.append(path)
            if len(loads) == 1:
                pathlib.Path(path, "more").touch()
        return loaded

    monkeypatch.setattr(tf.saved_model, "load", load_while_copied)
    with running(models) as server:
        copy_version(saved / "3", models / "m" / "2")
        wait_for_state(server, "m", 2, "AVAILABLE")
    assert len(loads) == 2


def test_10_that_there_is_no_version_is_said_once_until_there_was_one(saved, tmp_path, caplog):
    (tmp_path / "m").mkdir()
    tended = manager.ModelManager(Servable)
    tended.configure([ModelConfig("m", tmp_path / "m")])

    def said(polls=3):
        for _ in range(polls):
            tended.poll()
        return sum("No versions of servable m found" in r.getMessage() for r in caplog.records)

    assert said() == 1
    copy_version(saved / "2", tmp_path / "m" / "1")
    assert said() == 1
    shutil.rmtree(tmp_path / "m" / "1")
    assert said() == 2
    tended.stop()


def test_two_directories_of_one_version_are_said_once(tmp_path, caplog):
    for name in ("01", "1"):
        (tmp_path / name).mkdir()
    assert find_versions(tmp_path) == find_versions(tmp_path) == {1: tmp_path / "1"}
    assert len(caplog.records) == 1


def test_a_folder_that_is_one_models_is_refused_with_the_one_that_is_meant(models):
    meant = f": give {models}$"
    with pytest.raises(ValueError, match=f"m is the folder of one model, .*{meant}"):
        Server(models / "m")
    with pytest.raises(ValueError, match=f"1 is the folder of one version of a model{meant}"):
        Server(models / "m" / "1")
    (models / "7").mkdir()  # a name as good as others
    check_models_folder(models)


def test_10_files_that_change_under_a_served_version_are_said_once(models, saved, caplog):
    with running(models) as server:
        shutil.copy(saved / "3" / "saved_model.pb", models / "m" / "1")
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # several polls
        assert predicted(server) == 2.0
    said = [r.getMessage() for r in caplog.records if "have changed" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("The files of model m version 1 have changed since it was loaded")


def test_9_a_folder_that_cannot_be_read_keeps_no_other_from_being_served(
    models, saved, monkeypatch, caplog
):
    def find(base_path):
        if base_path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(base_path))
        return find_versions(base_path)

    monkeypatch.setattr(manager, "find_versions", find)
    (models / "lost+found").mkdir()
    with running(models) as server:
        assert predicted(server) == 2.0
        copy_version(saved / "3", models / "m" / "2")
        wait_for_state(server, "m", 2, "AVAILABLE")
    said = [record for record in caplog.records if "Permission denied" in record.message]
    assert len(said) == 1, "and not once a second"


def test_9_a_link_to_nowhere_is_no_model_and_no_version(models):
    for link in (models / "loop", models / "m" / "2"):
        link.symlink_to(link)
    with running(models) as server:
        assert predicted(server) == 2.0
        assert call(server, "/v1/models/loop")[0] == 404


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_10_a_pipe_in_a_version_holds_nothing_up(models, saved, name):
    copy_version(saved / "3", models / "a" / "1")
    (models / "a" / "1" / name).unlink()
    os.mkfifo(models / "a" / "1" / name)
    with running(models) as server:
        message = wait_for_state(server, "a", 1, "END")["error_message"]
        assert message == f"{models}/a/1/{name} is neither a file nor a folder"
        assert predicted(server) == 2.0


@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
def test_10_what_is_cut_off_is_named(models, saved, name):
    copy_version(saved / "3", models / "a" / "1")
    os.truncate(models / "a" / "1" / "variables" / name, 0)
    with running(models) as server:
        status = wait_for_state(server, "a", 1, "END")
        assert status["error_code"] != "INTERNAL"
        assert f"{models}/a/1" in status["error_message"]


def test_9_new_models_are_found_and_removed_ones_unloaded(models, saved):
    with running(models) as server:
        copy_version(saved / "3", models / "later" / "5")
        wait_for_state(server, "later", 5, "AVAILABLE")
        assert predicted(server, "later") == 3.0
        shutil.rmtree(models / "later")
        wait_for_state(server, "later", 5, "END")
        assert predicted(server) == 2.0


def test_a_folder_that_goes_while_it_is_looked_at_had_what_was_seen(models, monkeypatch):
    look = os.path.isdir

    def look_again(path):
        (models / "m").rename(models / "gone")
        return look(path)

    monkeypatch.setattr(os.path, "isdir", look_again)
    assert list(find_versions(models / "m")) == [1]


def test_9_a_directory_that_cannot_be_read_unloads_nothing(models):
    with running(models) as server:
        models.rename(models.with_name("gone"))  # at once: a folder half removed has no versions
        time.sleep(0.3)  # several polls
        assert predicted(server) == 2.0


@pytest.mark.parametrize("name", ["1.5", "-1", "v2", "9223372036854775808", "٣"])
def test_9_other_folders_are_no_versions(models, saved, name):
    copy_version(saved / "3", models / "m" / name)
    with running(models) as server:
        states = json.loads(call(server, "/v1/models/m")[2])["model_version_status"]
        assert [entry["version"] for entry in states] == ["1"]


def test_9_versions_are_compared_as_numbers(models, saved):
    copy_version(saved / "2", models / "m" / "9")
    copy_version(saved / "3", models / "m" / "00010")
    with running(models) as server:
        assert predicted(server) == 3.0


def test_11_warm_up_runs_before_the_version_is_available(models, saved, monkeypatch):
    replayed = []
    monkeypatch.setitem(
        REPLAYED,
        "predict_log",
        lambda servable, request: replayed.append((servable.version, request.inputs["x"])),
    )
    shutil.copytree(saved / "3", models / "m" / ".2")
    write_warmup(models / "m" / ".2", request([1.0]), request([1.0, 2.0]))
    os.rename(models / "m" / ".2", models / "m" / "2")
    with running(models):
        assert [(version, list(x.float_val) or x.tensor_content) for version, x in replayed] == [
            (2, [1.0]),
            (2, request([1.0, 2.0]).inputs["x"].tensor_content),
        ]


def bad_request(path):
    write_warmup(path, request([1.0]), request([1.0], name="nope"))


def not_records(path):
    write_warmup(path)
    with open(warmup_file(path), "wb") as file:
        file.write(b"these are no records at all")


def not_logs(path):
    write_warmup(path)
    with tf.io.TFRecordWriter(warmup_file(path)) as writer:
        writer.write(b"\xff\xff")


def other_log(path):
    write_warmup(path)
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.SetInParent()
    with tf.io.TFRecordWriter(warmup_file(path)) as writer:
        writer.write(log.SerializeToString())


def too_many(path):
    write_warmup(path, *[request([1.0])] * 1001)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (bad_request, "INVALID_ARGUMENT"),
        (not_records, "DATA_LOSS"),
        (not_logs, "INVALID_ARGUMENT"),
        (other_log, "UNIMPLEMENTED"),
        (too_many, "INVALID_ARGUMENT"),
    ],
)
def test_11_failing_warm_up_fails_the_load(models, saved, spoil, code):
    shutil.copytree(saved / "3", models / "m" / ".2")
    spoil(models / "m" / ".2")
    with running(models) as server:
        os.rename(models / "m" / ".2", models / "m" / "2")
        status = wait_for_state(server, "m", 2, "END")
        assert status["error_code"] == code
        assert status["error_message"]
        assert predicted(server) == 2.0


def test_11_an_empty_warm_up_file_is_fine(models):
    write_warmup(models / "m" / "1")
    with running(models) as server:
        assert predicted(server) == 2.0


def test_stop_lets_requests_under_way_finish(models, saved, monkeypatch):
    run, started = SignatureRunner.run, threading.Event()

    def slow_run(self, inputs):
        started.set()
        time.sleep(0.5)
        return run(self, inputs)

    monkeypatch.setattr(SignatureRunner, "run", slow_run)
    answers = []
    with running(models) as server:
        thread = threading.Thread(target=lambda: answers.append(predicted(server)))
        thread.start()
        assert started.wait(10)
    thread.join()
    assert answers == [2.0]
    with pytest.raises(OSError, match="refused"):
        call(server, "/v1/models/m")


def test_a_signal_while_a_thread_begins_ends_the_server_without_an_error(tmp_path, monkeypatch):
    class Asked(BaseException):
        pass

    def interrupted(thread):
        raise Asked

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(Asked):
        Server(tmp_path, rest_api_port=0, port=0).start()


def test_localhost_is_the_default_and_taken_ports_are_errors(models):
    with running(models) as server:
        assert server.rest_address == f"127.0.0.1:{server.rest_api_port}"
        with pytest.raises(
            OSError, match=f"--rest_api_port={server.rest_api_port} cannot be bound"
        ):
            Server(models, rest_api_port=server.rest_api_port, port=0).start()
        with pytest.raises(OSError, match=f"--port={server.port} cannot be bound on 127.0.0.1: Ad"):
            Server(models, rest_api_port=0, port=server.port).start()
        assert predicted(server) == 2.0


def test_no_directory(tmp_path):
    with pytest.raises(NotADirectoryError, match="nope"):
        serve(str(tmp_path / "nope"))


def test_serve_prints_its_addresses_and_ends_on_signals(models):
    code = (
        "import sys; from serving.server.server import serve;"
        "serve(sys.argv[1], rest_api_port=0, port=0);"
        "wrong = {'pipeline', 'apache_beam', 'tensorflow_transform', 'tf_keras'} & {*sys.modules};"
        "print(sorted(wrong), sorted(m for m in sys.modules if m.startswith('ctr_keras.')))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(models)],
        cwd=ROOT,
        # Without what TensorFlow Transform sets when tests of the pipeline run in this process.
        env={k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"Serving {models}: REST http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
        needed = ["ctr_keras.settings", "ctr_keras.types", "ctr_keras.version"]
        assert rest == f"[] {needed}\n", "a server needs nothing else of the library"
        assert process.returncode == 0
    finally:
        process.kill()
