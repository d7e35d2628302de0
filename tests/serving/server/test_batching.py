"""Batching across requests.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import concurrent.futures
import json
import threading
import time

import numpy as np
import pytest

from serving.codes import Code, StatusError
from serving.config_protos import BatchingParameters
from serving.server.batching import BatchingOptions, BatchQueue, BatchScheduler
from serving.server.metrics import Metrics
from serving.server.savedmodel import Servable
from serving.server.server import Server
from tests.serving import toy_models
from tests.serving.toy_models import call, save_times, save_toy


class Recorder:
    """A model that adds 1 and keeps what it was given; the first run waits for `released`."""

    def __init__(self, held=False):
        self.batches = []
        self.released = threading.Event()
        if not held:
            self.released.set()

    def __call__(self, inputs):
        self.batches.append(inputs["x"])
        self.released.wait(20)
        if (np.asarray(inputs["x"]) == -1).any():
            raise StatusError(Code.INVALID_ARGUMENT, "I do not take -1")
        return {"y": inputs["x"] + 1}


@pytest.fixture
def scheduler():
    made = BatchScheduler(1)
    yield made
    made.stop()


def floats(*values):
    return {"x": np.float32(values)}


def at_once(queue, requests):
    """Runs requests at the same time: their outputs or errors, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as threads:
        futures = [threads.submit(queue.run, inputs) for inputs in requests]
        return [future.exception() or future.result()["y"].tolist() for future in futures]


def behind_a_held_run(recorder, queue, requests):
    """The same for requests that arrive while the one thread is busy."""
    with concurrent.futures.ThreadPoolExecutor(1) as one:
        first = one.submit(queue.run, floats(0))
        while not recorder.batches:
            time.sleep(0.001)
        threading.Timer(0.3, recorder.released.set).start()
        answers = at_once(queue, requests)
        assert first.result()["y"].tolist() == [1.0]
    return answers


def test_inputs_that_are_left_out_are_as_many_as_the_rows(tmp_path, scheduler):
    toy_models.save_with_defaults(str(tmp_path))
    recorded = []

    def through(run):
        def record(inputs):
            recorded.append({name: len(array) for name, array in inputs.items()})
            return run(inputs)

        return BatchQueue(record, BatchingOptions(), scheduler).run

    joined = Servable("m", 1, tmp_path, through=through).signature("")
    alone = Servable("m", 1, tmp_path).signature("")
    for given in ({"a": np.float32([1, 2, 3])}, {"a": np.float32([])}, {"a": np.float32([1])}):
        assert joined.run(given)["y"].tolist() == alone.run(given)["y"].tolist()
    both = {"a": np.float32([1, 2]), "b": np.float32([5, 6])}
    assert joined.run(both)["y"].tolist() == [51, 62]
    assert recorded[0] == {"a": 3, "b": 3}


def test_12_requests_that_wait_run_together_and_get_their_own_rows(scheduler):
    recorder = Recorder(held=True)
    queue = BatchQueue(recorder, BatchingOptions(), scheduler)
    requests = [floats(10 * i, 10 * i + 1) for i in range(1, 9)]
    answers = behind_a_held_run(recorder, queue, requests)
    assert answers == [[10 * i + 1, 10 * i + 2] for i in range(1, 9)]
    assert [len(batch) for batch in recorder.batches] == [1, 16]


def test_12_batches_are_at_most_of_the_maximal_size(scheduler):
    recorder = Recorder(held=True)
    queue = BatchQueue(recorder, BatchingOptions(max_batch_size=4), scheduler)
    answers = behind_a_held_run(recorder, queue, [floats(i) for i in range(10)])
    assert answers == [[i + 1] for i in range(10)]
    assert [len(batch) for batch in recorder.batches] == [1, 4, 4, 2]


def test_12_a_batch_waits_for_more_until_the_timeout(scheduler):
    recorder = Recorder()
    queue = BatchQueue(recorder, BatchingOptions(timeout_seconds=0.3), scheduler)
    started = time.monotonic()
    assert at_once(queue, [floats(1), floats(2)]) == [[2], [3]]
    assert 0.29 < time.monotonic() - started < 5
    assert len(recorder.batches) == 1


def test_12_a_full_batch_does_not_wait(scheduler):
    recorder = Recorder()
    options = BatchingOptions(max_batch_size=2, timeout_seconds=60)
    assert at_once(BatchQueue(recorder, options, scheduler), [floats(1), floats(2)]) == [[2], [3]]


def test_12_allowed_sizes_are_reached_with_copies_of_real_rows(scheduler):
    recorder = Recorder()
    options = BatchingOptions(max_batch_size=8, allowed_sizes=(4, 8))
    queue = BatchQueue(recorder, options, scheduler)
    assert queue.run(floats(5, 6, 7))["y"].tolist() == [6, 7, 8]
    assert recorder.batches[0].tolist() == [5, 6, 7, 5]
    assert queue.run(floats(1, 2, 3, 4, 5))["y"].shape == (5,)
    assert len(recorder.batches[1]) == 8


def test_12_more_rows_than_fit_are_refused_or_split(scheduler):
    with pytest.raises(StatusError, match="size 5 is larger than maximum input batch size 4") as e:
        BatchQueue(Recorder(), BatchingOptions(max_batch_size=4), scheduler).run(floats(*range(5)))
    assert e.value.code == Code.INVALID_ARGUMENT
    recorder = Recorder()
    options = BatchingOptions(max_batch_size=4, max_execution_size=2)
    queue = BatchQueue(recorder, options, scheduler)
    assert queue.run(floats(*range(5)))["y"].tolist() == [1, 2, 3, 4, 5]
    assert [len(batch) for batch in recorder.batches] == [2, 2, 1]


def test_12_a_full_queue_is_unavailable(scheduler):
    recorder = Recorder(held=True)
    options = BatchingOptions(max_batch_size=2, max_enqueued_batches=1)
    queue = BatchQueue(recorder, options, scheduler)
    answers = behind_a_held_run(recorder, queue, [floats(i) for i in range(10)])
    refused = [a for a in answers if isinstance(a, StatusError)]
    assert {error.code for error in refused} == {Code.UNAVAILABLE}
    assert len(refused) == 8


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.float32(1)}, "must have at least one dimension"),
        ({"x": np.float32([1]), "z": np.float32([1, 2])}, "must have equal 0th-dimension size"),
    ],
)
def test_12_inputs_that_cannot_be_joined(scheduler, inputs, message):
    with pytest.raises(StatusError, match=message):
        BatchQueue(Recorder(), BatchingOptions(), scheduler).run(inputs)


def test_12_different_shapes(scheduler):
    requests = [{"x": np.float32([[1, 2]])}, {"x": np.float32([[3, 4, 5]])}]
    recorder = Recorder(held=True)
    queue = BatchQueue(recorder, BatchingOptions(), scheduler)
    for error in behind_a_held_run(recorder, queue, requests):
        assert error.code == Code.FAILED_PRECONDITION
        assert "different shapes and padding is turned off" in error.message
    recorder = Recorder(held=True)
    queue = BatchQueue(recorder, BatchingOptions(pads_inputs=True), scheduler)
    assert sorted(behind_a_held_run(recorder, queue, requests)) == [[[2, 3, 1]], [[4, 5, 6]]]


def test_12_text_is_padded_with_empty_text(scheduler):
    seen = []

    def model(inputs):
        seen.append(inputs["x"])
        return {"y": inputs["x"]}

    options = BatchingOptions(pads_inputs=True, timeout_seconds=0.2)
    requests = [{"x": np.array([[b"a"]], object)}, {"x": np.array([[b"b", b"c"]], object)}]
    at_once(BatchQueue(model, options, scheduler), requests)
    assert sorted(seen[0].tolist()) == [[b"a", b""], [b"b", b"c"]]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.float32(1), "Batched output tensor has 0 dimensions"),
        (np.float32([1, 2, 3]), "0th dimension does not equal the sum"),
    ],
)
def test_12_outputs_that_cannot_be_taken_apart(scheduler, output, message):
    queue = BatchQueue(lambda inputs: {"y": output}, BatchingOptions(), scheduler)
    with pytest.raises(StatusError, match=message) as raised:
        queue.run(floats(1, 2))
    assert raised.value.code == Code.FAILED_PRECONDITION


def test_one_bad_request_does_not_spoil_the_others_of_its_batch(scheduler):
    recorder = Recorder(held=True)
    queue = BatchQueue(recorder, BatchingOptions(), scheduler)
    first, bad, last = behind_a_held_run(recorder, queue, [floats(1), floats(-1), floats(3)])
    assert (first, last) == ([2], [4])
    assert bad.message == "I do not take -1"


def test_12_no_rows(scheduler):
    queue = BatchQueue(Recorder(), BatchingOptions(allowed_sizes=(4,)), scheduler)
    assert queue.run({"x": np.zeros([0], np.float32)})["y"].tolist() == []


def test_13_batches_are_counted(scheduler):
    metrics = Metrics()
    options = BatchingOptions(allowed_sizes=(4,), max_batch_size=4)
    BatchQueue(Recorder(), options, scheduler, metrics).run(floats(1, 2, 3))
    page = metrics.page()
    of = '{thread_pool_name="batching_threads"}'
    for name, value in [("wrapped_run_count", 1), ("input_batch_size_sum", 3)]:
        assert f":tensorflow:serving:batching_session:{name}{of} {value}\n" in page
    for name, value in [("processed_batch_size_sum", 4), ("padding_size_sum", 1)]:
        assert f":tensorflow:serving:batching_session:{name}{of} {value}\n" in page
    assert f":tensorflow:serving:batching_session:queuing_latency_count{of} 1\n" in page


def test_12_defaults_and_what_a_file_sets():
    assert BatchingOptions.of(BatchingParameters()) == BatchingOptions()
    parameters = BatchingParameters(allowed_batch_sizes=[8, 16], pad_variable_length_inputs=True)
    parameters.max_batch_size.value = 64
    parameters.batch_timeout_micros.value = 1500
    parameters.max_enqueued_batches.value = 7
    parameters.num_batch_threads.value = 3
    parameters.thread_pool_name.value = "pool"
    parameters.enable_large_batch_splitting.value = True
    parameters.max_execution_batch_size.value = 16
    assert BatchingOptions.of(parameters) == BatchingOptions(
        max_batch_size=64,
        timeout_seconds=0.0015,
        max_enqueued_batches=7,
        threads=3,
        allowed_sizes=(8, 16),
        pads_inputs=True,
        max_execution_size=16,
        name="pool",
    )


# In the server


def predicted(server, value, model="m", signature=""):
    document = {"instances": value, "signature_name": signature}
    status, _, body = call(server, f"/v1/models/{model}:predict", document)
    return status, json.loads(body)


def test_12_a_server_that_batches(tmp_path):
    save_times(str(tmp_path / "m" / "1"), 2)
    save_toy(str(tmp_path / "toy" / "1"))
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 200000 }")
    flags = {"enable_batching": True, "batching_parameters_file": str(parameters)}
    with (
        Server(tmp_path, rest_api_port=0, port=0, **flags) as server,
        concurrent.futures.ThreadPoolExecutor(16) as threads,
    ):
        values = [[float(i)] for i in range(16)]
        answers = list(threads.map(lambda value: predicted(server, value), values))
        assert answers == [(200, {"predictions": [2 * i]}) for i in range(16)]
        assert predicted(server, [1.0] * 5)[0] == 400
        status, answer = predicted(server, [1.0], "toy", "total")
        assert status == 400
        assert "0 dimensions" in answer["error"]


@pytest.mark.parametrize("size", [None, 2])
def test_12_parameters_of_one_version(tmp_path, size):
    save_times(str(tmp_path / "m" / "1"), 2)
    if size:
        path = tmp_path / "m" / "1" / "batching_params.pbtxt"
        path.write_text(f"max_batch_size {{ value: {size} }}")
    flags = {"enable_batching": True, "enable_per_model_batching_parameters": True}
    with Server(tmp_path, rest_api_port=0, port=0, **flags) as server:
        assert predicted(server, [1.0, 2.0])[0] == 200
        assert predicted(server, [1.0, 2.0, 3.0])[0] == (400 if size else 200)
