"""Connections of the REST API that no one should wait for, and the end of the server."""

import http.client
import json
import socket
import threading
import time

import pytest

from serving.server.rest import connections
from serving.server.server import Server
from serving.server.signature import SignatureRunner
from tests.serving.processes import running
from tests.serving.toy_models import call, save_slow, save_times

PREDICT = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_times(str(folder / "m" / "1"), 2)
    return folder


def serving(models, **options):
    return Server(models, rest_api_port=0, port=0, **options)


def connect(server):
    host, port = server.rest_address.split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def answer(server, text):
    """What comes back for bytes that are sent, until the connection ends or a second has gone."""
    with connect(server) as connection:
        connection.sendall(text)
        connection.settimeout(1)
        received = b""
        try:
            while data := connection.recv(4096):
                received += data
        except TimeoutError:
            pass
        return received


@pytest.mark.parametrize(
    "half",
    [b"", b"POST " + PREDICT.encode(), b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "],
)
def test_half_a_request_is_not_waited_for(models, monkeypatch, half):
    monkeypatch.setattr(connections, "SECONDS_TO_SEND", 0.3)
    with serving(models) as server, connect(server) as connection:
        connection.sendall(half)
        assert connection.recv(10) == b""
        assert call(server, "/v1/models/m")[0] == 200


def test_half_a_body_is_not_waited_for(models, monkeypatch):
    monkeypatch.setattr("serving.server.rest.api.SECONDS_TO_SEND", 0.3)
    with serving(models, rest_api_timeout_in_ms=300) as server:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"
        assert answer(server, head.encode()).startswith(b"HTTP/1.1 408 ")


def test_what_is_idle_between_requests_is_closed_later(models, monkeypatch):
    monkeypatch.setattr(connections, "_SECONDS_IDLE", 0.3)
    with serving(models) as server, connect(server) as connection:
        for _ in range(2):
            connection.sendall(b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        while connection.recv(4096):
            pass


def test_connections_above_the_limit_are_closed_and_said_once(models, monkeypatch, caplog):
    monkeypatch.setattr(connections, "_most_connections", lambda: 3)
    with serving(models) as server:
        held = [connect(server) for _ in range(3)]
        time.sleep(0.1)
        for _ in range(5):
            with connect(server) as refused, pytest.raises((ConnectionError, AssertionError)):
                assert refused.recv(1)
        for connection in held:
            connection.close()
        time.sleep(0.1)
        assert call(server, "/v1/models/m")[0] == 200
    assert len([r for r in caplog.records if "3 connections are open" in r.message]) == 1


def test_a_body_above_the_limit_is_not_asked_for(models):
    with serving(models, max_request_bytes=1000) as server:
        head = (
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            "Connection: close\r\nContent-Length: 1001\r\n\r\n"
        )
        assert answer(server, head.encode()).startswith(b"HTTP/1.1 413 ")


def test_a_target_may_be_a_whole_address(models):
    with serving(models) as server:
        for path, status in [("/v1/models/m", b"200"), ("/", b"200"), ("", b"200"), ("/x", b"404")]:
            head = (
                f"GET http://{server.rest_address}{path} HTTP/1.1\r\nHost: x\r\n"
                "Connection: close\r\n\r\n"
            )
            assert answer(server, head.encode()).split(b" ")[1] == status


@pytest.mark.parametrize(
    "text", [b"GET /v1/models/m HTTP/1.0\r\nHost: x\r\n\r\n", b"nonsense\r\n\r\n"]
)
def test_no_versions_of_software_are_told(models, text):
    with serving(models) as server:
        received = answer(server, text)
    assert b"\r\nServer: ctr-keras\r\n" in received
    assert b"aiohttp" not in received
    assert b"Python" not in received


def test_head_of_the_page_is_its_head(models):
    with serving(models) as server:
        status, headers, body = call(server, "/", method="HEAD")
        assert (status, headers["Content-Type"], body) == (200, "text/html; charset=utf-8", b"")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("192.168.1.7", 200),
        ("models.example", 200),
        ("evil.example:8501", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/models/m"])
def test_a_browser_reaches_the_machine_by_its_own_names_only(models, host, status, path):
    with serving(models, allowed_hosts="models.example,other.example") as server:
        browser = {"Host": host, "User-Agent": "Mozilla/5.0"}
        assert call(server, path, headers=browser)[0] == status
        # Others, such as proxies and health checks, may use any name.
        assert call(server, path, headers={"Host": host})[0] == 200


@pytest.mark.slow
def test_the_end_comes_in_the_time_of_grace(tmp_path):
    save_slow(str(tmp_path / "m" / "1"), seconds=60)
    with running(f"--models={tmp_path}", "--grace_seconds=2") as server:
        server.wait_for("Serving ")
        asked = http.client.HTTPConnection(server.rest_address, timeout=60)
        asked.request("POST", PREDICT, json.dumps({"instances": [1.0]}))
        time.sleep(1)
        started = time.monotonic()
        server.terminate()
        assert server.ended() == 0
        assert 1.5 < time.monotonic() - started < 6


def test_calls_past_their_time_hold_up_no_later_one(models, monkeypatch):
    run, released = SignatureRunner.run, threading.Event()

    def held(self, inputs):
        if inputs["x"][0] < 0:
            released.wait(20)
        return run(self, inputs)

    monkeypatch.setattr(SignatureRunner, "run", held)
    with serving(models, rest_api_timeout_in_ms=500, rest_api_num_threads=4) as server:
        threads = [
            threading.Thread(target=call, args=(server, PREDICT, {"instances": [-1.0]}))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        released.set()
        started = time.monotonic()
        assert call(server, PREDICT, {"instances": [1.0]})[0] == 200
        assert time.monotonic() - started < 0.4
