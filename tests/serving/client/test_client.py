"""The client's calls against the embedded server, over both protocols, blocking and not."""

import concurrent.futures
import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from serving.client import AsyncClient, Client, Code, ServingError, TensorInfo
from serving.server.server import Server
from tests.conftest import ROOT
from tests.serving import toy_models
from tests.serving.clients import KINDS, open_client

NUMBERS = {
    "float32": [1.5, -2.0],
    "float64": [0.1, 1e300],
    "int8": [-128, 127],
    "int16": [-32768, 32767],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 255],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "bool": [True, False],
}


@pytest.fixture(params=KINDS, ids=":".join)
def kind(request):
    return request.param


@pytest.fixture
def client(server, kind):
    with open_client(address(server, kind[0]), kind[1]) as opened:
        yield opened


def address(server, protocol):
    return f"{protocol}://{server.rest_address if protocol == 'http' else server.grpc_address}"


def failure(call, *args, **options):
    with pytest.raises(ServingError) as caught:
        call(*args, **options)
    return caught.value


def save_rank(path):
    """`rank`: age (text, users) and price (users, items) -> score = price + length of age."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "age"),
            tf.TensorSpec([None, None], tf.float32, "price"),
        ]
    )
    def rank(age, price):
        return {"score": price + tf.cast(tf.strings.length(age), tf.float32)[:, tf.newaxis]}

    module = tf.Module()
    module.rank = rank
    tf.saved_model.save(module, path, {"rank": rank})


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    models = tmp_path_factory.mktemp("ranking")
    save_rank(str(models / "ctr" / "1"))
    with Server(models, rest_api_port=0, port=0) as running:
        yield running


def test_predict_columns(client):
    outputs = client.predict("toy", {"x": [1, 2.5, None]})
    assert outputs.keys() == {"y"}
    assert outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(outputs["y"], np.float32([2.5, 3.25, np.nan]))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_come_back_as_they_were_sent(client, dtype):
    values = [NUMBERS[dtype]] * 3
    for sent in (values, np.array(values, dtype)):
        got = client.predict("toy", {"x": sent}, signature_name=f"echo_{dtype}")["y"]
        assert got.dtype == dtype
        assert got.tolist() == values


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 2, 3)])
def test_shapes(client, shape):
    got = client.predict("toy", {"x": np.ones(shape)}, signature_name="echo_float32")["y"]
    assert got.shape == shape
    words = np.full(shape, "é", object)
    got = client.predict("toy", {"x": words}, signature_name="echo_string")["y"]
    assert got.tolist() == words.tolist()


def test_infinities(client):
    got = client.predict("toy", {"x": [float("inf"), float("-inf")]})["y"]
    assert got.tolist() == [float("inf"), float("-inf")]


def test_strings_and_bytes(client):
    sent = ["é", b"\xff\x00", "", None, 12, 1.5]
    outputs = client.predict("toy", {"s": sent}, signature_name="strings")
    assert outputs["text"].tolist() == ["é", "\udcff\x00", "", "", "12", "1.5"]
    assert outputs["raw_bytes"].tolist() == ["é".encode(), b"\xff\x00", b"", b"", b"12", b"1.5"]
    again = client.predict("toy", {"s": outputs["text"]}, signature_name="strings")
    assert again["raw_bytes"].tolist() == outputs["raw_bytes"].tolist()


def test_types_without_json(server):
    with Client(address(server, "grpc")) as client:
        for dtype in ("float16", "complex64"):
            x = np.array([1.5, -2], dtype)
            got = client.predict("toy", {"x": x}, signature_name=f"echo_{dtype}")["y"]
            assert got.dtype == dtype
            assert got.tolist() == [1.5, -2]
    with Client(address(server, "http")) as client:
        with pytest.raises(ValueError, match=r"column x: .* no JSON; use a grpc:// url"):
            client.predict("toy", {"x": [1j]}, signature_name="echo_complex64")
        error = failure(client.predict, "toy", {"x": [1.5]}, signature_name="echo_float16")
        assert error.code == Code.UNIMPLEMENTED


def test_predict_data_frame(client):
    frame = pd.DataFrame(
        {"s": ["a", None], "f": [1.5, np.nan], "i": [3, 4], "label": [0, 1]}, index=["p", "q"]
    )
    got = client.predict("toy", frame, signature_name="mixed", ignore=["label"])
    assert got.index.tolist() == ["p", "q"]
    assert got.s.tolist() == ["a", ""]
    assert got.f.tolist() == pytest.approx([1.5, np.nan], nan_ok=True)
    assert got.i.tolist() == [3, 4]


def test_predict_rows_at_once(client):
    rows = [{"a": 1, "b": 2}, {"b": 5}]
    got = client.predict("toy", rows, signature_name="two")
    np.testing.assert_array_equal(got["sum"], np.float32([3, np.nan]))


def test_data_frame_of_outputs_that_are_not_one_a_row(client):
    with pytest.raises(ValueError, match=r"output y has shape \[\] for 2 rows"):
        client.predict("toy", pd.DataFrame({"x": [1, 2]}), signature_name="total")
    assert client.predict("toy", {"x": [1, 2]}, signature_name="total")["y"] == 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"a": [1]}, "the model also needs column b$"),
        ({"x": [1]}, "the model also needs columns a, b$"),
        ({"a": [1], "b": [1], "c": [1]}, r"no input for column c \(`ignore` leaves it out\)"),
        ({"a": [1], "b": [1, "2"]}, "row 2, column b: expected a number, got '2'"),
        ({"a": [1], "b": "x"}, "^column b: expected a number, got 'x'"),
    ],
)
def test_columns_that_do_not_fit(client, inputs, message):
    for _ in range(2):  # with and without a remembered signature
        with pytest.raises(ValueError, match=message):
            client.predict("toy", inputs, signature_name="two")


def test_inputs_that_are_no_table(client):
    with pytest.raises(TypeError, match=r"dict of columns.*, got float"):
        client.predict("toy", 1.0)


def test_versions_labels_and_signatures(client):
    assert client.predict("toy", {"x": [1]}, version=7)["y"].tolist() == [2.5]
    assert client.predict("odd name:%", {"x": [1]})["y"].tolist() == [3.0]
    with pytest.raises(ValueError, match=r"model toy has no signature nope, only .*echo_bool, "):
        client.predict("toy", {"x": [1]}, signature_name="nope")
    with pytest.raises(ValueError, match="version or a label, not both"):
        client.predict("toy", {"x": [1]}, version=7, label="stable")


def test_errors_of_the_server(client):
    error = failure(client.predict, "toy", {"x": [1]}, version=8)
    assert error.code == Code.NOT_FOUND
    assert error.message == "Servable not found for request: Specific(toy, 8)"
    error = failure(client.predict, "toy", {"x": [1]}, label="stable/2")
    assert error.code == Code.INVALID_ARGUMENT
    assert error.message == "Unrecognized servable version label: stable/2"
    unequal = {"a": [1, 2], "b": [1, 2, 3]}
    error = failure(client.predict, "toy", unequal, signature_name="two")
    assert error.code == Code.INVALID_ARGUMENT
    assert "Incompatible shapes" in str(error)


@pytest.mark.parametrize(
    "items",
    [{"price": [1.0, 2.0]}, [{"price": 1}, {"price": 2}], pd.DataFrame({"price": [1, 2]}, [5, 6])],
    ids=["columns", "rows", "frame"],
)
def test_rank(ranking, kind, items):
    with open_client(address(ranking, kind[0]), kind[1]) as client:
        scores = client.rank("ctr", user={"age": "25"}, items=items)
    assert scores.tolist() == [3.0, 4.0]
    if isinstance(items, pd.DataFrame):
        assert scores.index.tolist() == [5, 6]


@pytest.mark.parametrize("items", [[], {"price": []}, pd.DataFrame({"price": []}), pd.DataFrame()])
def test_without_items_rank_has_no_scores(ranking, kind, items):
    with open_client(address(ranking, kind[0]), kind[1]) as client:
        scores = client.rank("ctr", user={"age": "25"}, items=items)
    assert (type(scores), scores.shape) == (
        pd.Series if isinstance(items, pd.DataFrame) else np.ndarray,
        (0,),
    )


def test_rank_of_lists_that_a_server_joins(tmp_path):
    """It pads the shorter list, whose caller gets as many scores as it has items."""
    save_rank(str(tmp_path / "ctr" / "1"))
    parameters = tmp_path / "batching.config"
    parameters.write_text(
        "pad_variable_length_inputs: true batch_timeout_micros { value: 300000 } "
        "max_batch_size { value: 2 }"
    )
    flags = {"enable_batching": True, "batching_parameters_file": str(parameters)}
    with (
        Server(tmp_path, rest_api_port=0, port=0, **flags) as server,
        Client(address(server, "http")) as client,
        concurrent.futures.ThreadPoolExecutor(2) as threads,
    ):
        lists = [[1.0, 2.0], [3.0, 4.0, 5.0]]
        scores = threads.map(
            lambda prices: client.rank("ctr", user={"age": "1"}, items={"price": prices}), lists
        )
        assert [s.tolist() for s in scores] == [[2.0, 3.0], [4.0, 5.0, 6.0]]


def test_rank_errors(server, ranking):
    with Client(address(ranking, "http")) as client:
        with pytest.raises(ValueError, match="column age is both the user's and the items'"):
            client.rank("ctr", user={"age": 1}, items={"age": [1]})
        with pytest.raises(ValueError, match="needs column age"):
            client.rank("ctr", user={}, items={"price": [1]})
    with (
        Client(address(server, "http")) as client,
        pytest.raises(ValueError, match=r"no output score, only \['y'\]"),
    ):
        client.rank("toy", user={}, items={"x": [1]}, signature_name="serving_default")


def test_classify(client):
    got = client.classify("examples", [{"x": 0.25, "name": "é"}, {"name": None}])
    assert got == [[("é", 0.25), ("no", 0.75)], [("nobody", -1.0), ("no", 2.0)]]


def test_regress(client):
    frame = pd.DataFrame({"x": [0.5, np.nan]})
    got = client.regress("examples", frame, signature_name="value")
    assert got.dtype == np.float32
    assert got.tolist() == [1.0, -2.0]
    got = client.regress("examples", [{}], context={"x": 3.0}, signature_name="value")
    assert got.tolist() == [6.0]


def test_examples_that_do_not_fit(client):
    with pytest.raises(ValueError, match="example 2, feature x: values must be all strings"):
        client.regress("examples", [{"x": 1.0}, {"x": [1.0, "a"]}], signature_name="value")
    with pytest.raises(ValueError, match="example 1, feature x: expected a string, a float or"):
        client.classify("examples", [{"x": {}}])
    assert failure(client.classify, "examples", [{"x": 1}]).code == Code.INVALID_ARGUMENT


def test_metadata(client):
    metadata = client.metadata("toy")
    assert (metadata.name, metadata.version) == ("toy", 7)
    pairs = metadata.signature("pairs")
    assert pairs.inputs == {"x": TensorInfo("DT_FLOAT", (-1, 2))}
    assert pairs.outputs == {"y": TensorInfo("DT_FLOAT", (-1,))}
    assert pairs.method_name == "tensorflow/serving/predict"
    assert metadata.signature("echo_string").inputs["x"] == TensorInfo("DT_STRING", None)


def test_status(client):
    (status,) = client.status("toy")
    assert (status.version, status.state, status.error_code) == (7, "AVAILABLE", "OK")
    assert failure(client.status, "toy", version=8).code == Code.NOT_FOUND


def test_waiting_for_a_model(client):
    assert client.wait_until_available("toy", timeout=5) == 7
    error = failure(client.wait_until_available, "nope", timeout=3.0)
    assert error.code == Code.DEADLINE_EXCEEDED
    assert "NOT_FOUND" in error.message


def test_waiting_for_a_model_that_cannot_be_loaded(tmp_path, kind):
    toy_models.save_times(str(tmp_path / "m" / "1"), 2)
    with Server(tmp_path, rest_api_port=0, port=0, max_num_load_retries=0) as running:
        toy_models.publish(str(tmp_path / "m"), 2, toy_models.save_broken)
        with open_client(address(running, kind[0]), kind[1]) as client:
            error = failure(client.wait_until_available, "m", version=2, timeout=30)
            assert error.code == Code.FAILED_PRECONDITION
            assert "version 2 of m failed to load" in error.message
            assert client.wait_until_available("m") == 1


def test_urls_and_timeouts(client):
    for url in ("localhost:8501", "http://", "grpc://localhost", "ftp://localhost:1"):
        with pytest.raises(ValueError, match=r"must be like http://localhost:8501 or grpc://"):
            Client(url)
    with pytest.raises(ValueError, match="positive number of seconds"):
        client.status("toy", timeout=0)


def test_both_clients_have_the_same_calls():
    def calls(kind):
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    blocking, awaited = calls(Client), calls(AsyncClient)
    awaited["predict_rows"].remove("concurrency")
    del awaited["batches"]
    assert blocking == awaited


def test_rest_needs_neither_tensorflow_nor_pandas(server):
    code = (
        "import sys; from serving.client import Client;"
        f"print(Client('{address(server, 'http')}').predict('toy', {{'x': [1]}})['y'].tolist());"
        "print({'tensorflow', 'pandas', 'grpc', 'keras'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[2.5]", "set()"]


def test_an_unknown_model_is_named_with_those_that_there_are(client, kind):
    error = failure(client.predict, "tyo", {"x": [1.0]})
    assert error.code == Code.NOT_FOUND
    names = "; the server has " if kind[0] == "http" else ""  # over gRPC a server does not tell
    assert error.message.startswith(f"Servable not found for request: Latest(tyo){names}")
    assert ("toy" in error.message) == (kind[0] == "http")
