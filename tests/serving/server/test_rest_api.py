"""HTTP, URLs, status and metadata, over real sockets.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import gzip
import http.client
import json
import socket
import threading
import urllib.parse

import pytest

from serving.server.server import Server
from serving.server.signature import SignatureRunner
from tests.serving.toy_models import call

PREDICT = "/v1/models/toy:predict"
ODD = urllib.parse.quote("odd name:%", safe="")


def error(answered):
    """Status and message of an error answer."""
    status, _, body = answered
    return status, json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/x", "/v2/models/toy", "/monitoring/prometheus/metrics"])
def test_1_paths_outside_the_api_are_plain_404(server, path):
    status, headers, body = call(server, path)
    assert status == 404
    assert headers.get_content_type() == "text/html"
    assert not body.startswith(b"{")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_1_other_methods_are_malformed_requests(server, method):
    answered = call(server, "/v1/models/toy", method=method)
    assert answered[1]["Content-Type"] == "application/json"
    assert error(answered) == (400, f"Malformed request: {method} /v1/models/toy")


def test_1_head_is_a_malformed_request(server):
    assert call(server, "/v1/models/toy", method="HEAD")[0] == 400


@pytest.mark.parametrize(("origin", "status"), [("http://a", 200), ("https://a", 200), ("a", 400)])
def test_1_options_depends_on_origin_only(server, origin, status):
    got = call(server, "/v1/models/x", method="OPTIONS", headers={"Origin": origin})
    assert (got[0], got[2]) == (status, b"")


def test_1_query_is_part_of_what_is_matched(server):
    answered = call(server, f"{PREDICT}?x=1", {"instances": [1]})
    assert error(answered) == (400, f"Malformed request: POST {PREDICT}?x=1")
    answered = call(server, "/v1/models/toy?x=1")
    assert error(answered) == (404, "Could not find any versions of model toy?x=1")


def test_1_content_type_is_ignored_and_answered_as_json(server):
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    status, headers, body = call(server, PREDICT, b'{"instances": [1, 2]}', headers=sent)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {"predictions": [2.5, 3.0]}


def test_1_gzip_body(server):
    sent = {"Content-Encoding": "x-gzip", "Accept-Encoding": "gzip"}
    body = gzip.compress(b'{"instances": [1]}')
    status, headers, body = call(server, PREDICT, body, headers=sent)
    assert (status, json.loads(body)) == (200, {"predictions": [2.5]})
    assert headers["Content-Encoding"] is None


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"[1]" * 9, mtime=0)[:-9]])
def test_1_bad_gzip_counts_as_empty(server, body):
    answered = call(server, PREDICT, body, headers={"Content-Encoding": "gzip"})
    assert error(answered) == (400, "JSON Parse error: The document is empty")


def test_expect_100_continue(server):
    host, port = server.rest_address.split(":")
    body = b'{"instances": [1]}'
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b'{"predictions": [2.5]}')


def test_request_size_cap(tmp_path):
    with Server(tmp_path, rest_api_port=0, port=0, max_request_bytes=1000) as small:
        status, message = error(call(small, PREDICT, b" " * 1001))
        assert status == 413
        assert "limit of 1000 bytes" in message
        gzipped = {"Content-Encoding": "gzip"}
        bomb = gzip.compress(b" " * 100_000)
        status, message = error(call(small, PREDICT, bomb, headers=gzipped))
        assert status == 400
        assert "limit of 1000 bytes when decompressed" in message
        # What is just within the limit is read, and found to name no model that is there.
        longest = b"{}".ljust(1000)
        assert call(small, PREDICT, longest)[0] == 404
        assert call(small, PREDICT, gzip.compress(longest), headers=gzipped)[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/foo"),
        ("GET", "/v1/models/toy/version/7"),
        ("GET", "/v1/models/toy/versions/abc"),
        ("GET", "/v1/models/toy/versions/7/labels/x"),
        ("GET", "/v1/models/toy/"),
        ("GET", PREDICT),
        ("POST", "/v1/models/toy"),
        ("POST", "/v1/models/toy/metadata"),
        ("POST", "/v1/models/toy/label/x:predict"),
        ("POST", "/v1/models/toy/versions/:predict"),
        ("POST", "/v1/models/toy/versions/-1:predict"),
        ("POST", "/v1/models/toy:PREDICT"),
        ("POST", "/v1/models/toy:foo"),
        ("POST", "/v1/models/:predict"),
    ],
)
def test_2_malformed(server, method, path):
    answered = call(server, path, b"{}" if method == "POST" else None, method=method)
    assert error(answered) == (400, f"Malformed request: {method} {path}")


def test_2_missing_model_name(server):
    assert error(call(server, "/v1/models")) == (400, "Missing model name in request.")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/toy/versions/9223372036854775808",
        f"/v1/models/toy/versions/{'9' * 5000}",
        "/v1/models/a%2",
        "/v1/models/%zz",
    ],
)
def test_2_urls_that_cannot_be_decoded_have_an_empty_answer(server, path):
    status, _, body = call(server, path)
    assert (status, body) == (400, b"")


def test_2_names_are_decoded_and_paths_case_insensitive(server):
    path = f"/V1/Models/{ODD}/VERSIONS/0003:predict"
    status, _, body = call(server, path, {"instances": [1]})
    assert (status, json.loads(body)) == (200, {"predictions": [3.0]})


def test_2_any_byte_may_be_in_a_name(server):
    status, _, body = call(server, "/v1/models/m%C3%A9%FF%2F")
    assert status == 404
    assert body == b'{"error": "Could not find any versions of model m\xc3\xa9\xff/"}'


@pytest.mark.parametrize("what", [":predict", "/metadata"])
def test_3_what_is_not_there(server, what):
    body = b'{"instances": [1]}' if what == ":predict" else None
    answered = call(server, f"/v1/models/toy/versions/8{what}", body)
    assert error(answered) == (404, "Servable not found for request: Specific(toy, 8)")
    answered = call(server, f"/v1/models/Toy{what}", body)
    assert error(answered) == (404, "Servable not found for request: Latest(Toy)")
    answered = call(server, f"/v1/models/toy/labels/st%41ble{what}", body)
    assert error(answered) == (400, "Unrecognized servable version label: stAble")


def test_3_version(server):
    assert call(server, "/v1/models/toy/versions/7:predict", {"instances": [1]})[0] == 200


@pytest.mark.parametrize("suffix", ["", "/versions/7", "/labels/unknown"])
def test_4_status(server, suffix):
    status, _, body = call(server, f"/v1/models/toy{suffix}")
    assert status == 200
    well = {"error_code": "OK", "error_message": ""}
    entry = {"version": "7", "state": "AVAILABLE", "status": well}
    assert json.loads(body) == {"model_version_status": [entry]}


def test_4_status_of_what_is_not_there(server):
    answered = call(server, "/v1/models/nope")
    assert error(answered) == (404, "Could not find any versions of model nope")
    answered = call(server, "/v1/models/toy/versions/8")
    assert error(answered) == (404, "Could not find version 8 of model toy")


@pytest.mark.parametrize("suffix", ["", "/versions/7"])
def test_5_metadata(server, suffix):
    status, _, body = call(server, f"/v1/models/toy{suffix}/metadata")
    assert status == 200
    told = json.loads(body)
    assert told["model_spec"] == {"name": "toy", "signature_name": "", "version": "7"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "two", "__saved_model_init_op"} <= signatures.keys()
    assert signatures["two"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["two"]["defaults"] == {}
    assert signatures["two"]["inputs"]["a"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "two_a:0",
    }
    unknown = signatures["echo_string"]["inputs"]["x"]["tensor_shape"]
    assert unknown == {"dim": [], "unknown_rank": True}


def test_5_values_of_defaults_are_not_told(server):
    told = json.loads(call(server, "/v1/models/defaults/metadata")[2])
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"].keys() == {"a", "b"}
    assert signature["defaults"] == {}


def test_a_running_model_does_not_block_other_requests(server, monkeypatch):
    started, released = threading.Event(), threading.Event()
    run = SignatureRunner.run

    def held_run(self, inputs):
        started.set()
        assert released.wait(10), "nothing else was answered meanwhile"
        return run(self, inputs)

    monkeypatch.setattr(SignatureRunner, "run", held_run)
    answers = []
    document = {"instances": [1]}
    thread = threading.Thread(target=lambda: answers.append(call(server, PREDICT, document)))
    thread.start()
    assert started.wait(10)
    assert call(server, "/v1/models/toy")[0] == 200
    released.set()
    thread.join()
    assert answers[0][0] == 200


def test_connections_are_kept_alive(server):
    connection = http.client.HTTPConnection(server.rest_address, timeout=10)
    connection.connect()
    opened = connection.sock
    for _ in range(3):
        connection.request("POST", PREDICT, b'{"instances": [1]}')
        assert json.loads(connection.getresponse().read()) == {"predictions": [2.5]}
    assert connection.sock is opened
    connection.close()


def test_many_clients_at_once_get_their_own_answers(server):
    wrong = []

    def ask(number):
        for value in range(number * 100, number * 100 + 20):
            got = call(server, PREDICT, {"instances": [value]})[2]
            if json.loads(got) != {"predictions": [0.5 * value + 2]}:
                wrong.append((value, got))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
