"""Spans of requests reach a collector, below those of their clients."""

import http.server
import json
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.server.server import Server
from serving.server.tracing import Tracing
from tests.serving.toy_models import save_times

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "of-a-client"}
ERROR = 2  # of a span's status


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def answer_with_status(self):
    self.rfile.read(int(self.headers["Content-Length"]))
    self.send_response(self.server.status)
    self.end_headers()


@pytest.fixture
def collector(monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as collector:
        collector.received = []
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{collector.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        yield collector
        collector.shutdown()


def resources(collector):
    return [resource for sent in collector.received for resource in sent.resource_spans]


def spans(collector):
    scopes = (scope for resource in resources(collector) for scope in resource.scope_spans)
    return [span for scope in scopes for span in scope.spans]


def attributes(of):
    return {a.key: a.value.string_value or a.value.int_value for a in of.attributes}


def post(server, path, body):
    request = urllib.request.Request(
        f"http://{server.rest_address}{path}", json.dumps(body).encode(), GIVEN
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_requests_are_spans_below_those_of_their_clients(collector, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "clicks")
    save_times(str(tmp_path / "m" / "1"), 2)
    with Server(tmp_path, rest_api_port=0, port=0, tracing=True) as server:
        assert post(server, "/v1/models/m:predict", {"instances": [1.0]}) == 200
        assert post(server, "/v1/models/none:predict", {"instances": [1.0]}) == 404
        with grpc.insecure_channel(server.grpc_address) as channel:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = "m"
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            stub.GetModelStatus(request, metadata=[*GIVEN.items()])
    names = {attributes(resource.resource)["service.name"] for resource in resources(collector)}
    assert names == {"clicks"}
    found = spans(collector)  # in the order in which they end
    assert {span.trace_id.hex() for span in found} == {TRACE}
    assert [span.name for span in found] == ["run", "POST", "POST", "GetModelStatus"]
    run, predict, unknown, status = found
    assert run.parent_span_id == predict.span_id
    assert {s.parent_span_id.hex() for s in (predict, unknown, status)} == {PARENT}
    assert predict.start_time_unix_nano < run.start_time_unix_nano
    assert run.end_time_unix_nano <= predict.end_time_unix_nano
    assert attributes(predict) == {
        **{"request_id": "of-a-client", "api": "REST"},
        **{"url.path": "/v1/models/m:predict", "status": 200},
    }
    assert attributes(unknown)["status"] == 404
    assert attributes(status)["status"] == "OK"
    assert ERROR not in {span.status.code for span in found}


def test_a_fault_of_the_server_is_one_of_the_span(collector, tmp_path, monkeypatch):
    save_times(str(tmp_path / "m" / "1"), 2)
    with Server(tmp_path, rest_api_port=0, port=0, tracing=True) as server:

        def fail(*_):
            raise RuntimeError("broken")

        monkeypatch.setattr(server._core.manager, "lease", fail)
        assert post(server, "/v1/models/m:predict", {"instances": [1.0]}) == 500
    (span,) = spans(collector)
    assert (span.status.code, attributes(span)["status"]) == (ERROR, 500)


def test_requests_are_answered_where_no_collector_is(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    save_times(str(tmp_path / "m" / "1"), 2)
    with Server(tmp_path, rest_api_port=0, port=0, tracing=True) as server:
        assert post(server, "/v1/models/m:predict", {"instances": [1.0]}) == 200


def test_a_collector_that_is_not_there_is_said_once_until_it_was_there(
    monkeypatch, caplog, collector
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    tried = threading.Semaphore(0)

    def send(status):
        """Sends a span, which the collector answers in its way."""
        collector.status = status
        with tracing.part("run"):
            pass
        assert tried.acquire(timeout=10)

    monkeypatch.setattr(Collector, "do_POST", answer_with_status)
    tracing = Tracing()
    export = type(tracing._exporter).export
    monkeypatch.setattr(
        type(tracing._exporter), "export", lambda *a: (export(*a), tried.release())[0]
    )
    for status in (400, 400, 200, 400):
        send(status)
    tracing.stop()
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 2
    assert all(line.startswith("Spans cannot be sent, and are lost: ") for line in said)


def test_the_server_stops_soon_where_no_collector_is(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = Tracing()
    with tracing.part("run"):
        pass
    started = time.monotonic()
    tracing.stop()
    assert time.monotonic() - started < 1.5


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(RuntimeError, match=r"--tracing: .*: pip install 'ctr-keras\[tracing\]'"):
        Server(tmp_path, tracing=True)
