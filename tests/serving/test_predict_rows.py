"""The client, against this server and against servers that misbehave."""

import http.server
import json
import math
import threading

import pytest

from serving.client import ServingError, predict_rows


@pytest.fixture
def url(server):
    return f"http://{server.rest_address}"


def scored(url, rows, signature="mixed", **options):
    return list(predict_rows(url, "toy", rows, signature_name=signature, **options))


def test_rows_in_batches(url):
    rows = ({"x": i} for i in range(10))
    got = list(predict_rows(url, "toy", rows, batch_size=3))
    assert got == [0.5 * i + 2 for i in range(10)]


def test_no_rows(url):
    assert list(predict_rows(url, "toy", [])) == []


def test_rows_are_taken_as_they_are_needed(url):
    taken = []

    def rows():
        for i in range(100):
            taken.append(i)
            yield {"x": i}

    predictions = predict_rows(url, "toy", rows(), batch_size=4)
    assert next(predictions) == 2.0
    assert len(taken) == 4


def test_missing_values(url):
    for row in ({}, {"s": None, "f": None}, {"s": math.nan, "f": math.nan}):
        (got,) = scored(url, [{"i": 1, **row}])
        assert got["s"] == ""
        assert math.isnan(got["f"])


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (1.5, "1.5"), ("é", "é"), (b"ab", "ab"), ("", "")]
)
def test_strings(url, value, text):
    assert scored(url, [{"s": value, "f": 2, "i": 3}]) == [{"s": text, "f": 2.0, "i": 3}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"f": "1"}, "row 3, column f: expected a number. Received: '1'"),
        ({"f": True}, "row 3, column f: expected a number. Received: True"),
        ({"s": True}, "row 3, column s: expected text. Received: True"),
        ({"i": None}, "row 3, column i: DT_INT64 needs a value"),
        ({"z": 1}, "row 3: the model has no input for column z"),
    ],
)
def test_rows_that_do_not_fit(url, row, message):
    good = {"s": "", "f": 1.0, "i": 1}
    with pytest.raises(ValueError, match=message):
        scored(url, [good, good, {**good, **row}], batch_size=2)


def test_ignored_columns(url):
    row = {"s": "a", "f": 1.0, "i": 1, "label": 0}
    assert scored(url, [row], ignore=["label"]) == [{"s": "a", "f": 1.0, "i": 1}]


def test_nested_values(url):
    rows = [{"x": [1, None]}, {"x": (3.0, 4.0)}]
    first, second = scored(url, rows, "pairs")
    assert math.isnan(first)
    assert second == 7.0


def test_versions_and_signatures(url):
    assert list(predict_rows(url, "toy", [{"x": 1}], version=7)) == [2.5]
    assert list(predict_rows(url, "odd name:%", [{"x": 1}])) == [3.0]
    with pytest.raises(ValueError, match="no signature nope"):
        scored(url, [{"x": 1}], "nope")


def test_errors_of_the_server(url):
    with pytest.raises(ServingError) as caught:
        list(predict_rows(url, "toy", [{"x": 1}], version=8))
    assert caught.value.status == 404
    assert caught.value.message == "Servable not found for request: Specific(toy, 8)"
    with pytest.raises(ServingError, match="HTTP 400: Tensor name: y has no shape information"):
        scored(url, [{"x": 1}], "total")


def test_urls():
    with pytest.raises(ValueError, match="localhost:8501"):
        list(predict_rows("localhost:8501", "m", []))
    with pytest.raises(OSError, match="refused"):
        list(predict_rows("http://127.0.0.1:9", "m", []))


class Fickle(http.server.BaseHTTPRequestHandler):
    """Closes the connection after each answer without saying so, and drops a row at the end."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        signature = {"inputs": {"x": {"dtype": "DT_FLOAT"}}}
        self.reply(
            {"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}
        )

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        count = self.server.counts.pop(0)
        self.reply({"predictions": [0.5] * count})

    def reply(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def fickle():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fickle) as fake:
        thread = threading.Thread(target=fake.serve_forever, daemon=True)
        thread.start()
        yield fake
        fake.shutdown()


def test_closed_connections_are_opened_again(fickle):
    fickle.counts = [2, 2]
    url = f"http://127.0.0.1:{fickle.server_port}/"
    assert list(predict_rows(url, "m", [{}] * 4, batch_size=2)) == [0.5] * 4


def test_answers_that_lack_rows_are_errors(fickle):
    fickle.counts = [1]
    url = f"http://127.0.0.1:{fickle.server_port}"
    with pytest.raises(ServingError, match="one prediction a row"):
        list(predict_rows(url, "m", [{}] * 2))
