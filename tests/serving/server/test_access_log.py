"""Requests have ids, which answers carry, and lines in the log, which may be JSON."""

import json
import logging
import urllib.error
import urllib.request

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.server.access_log import JsonFormatter
from serving.server.options import Options
from serving.server.server import Server
from tests.serving.processes import running
from tests.serving.toy_models import save_times


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_times(str(folder / "m" / "1"), 2)
    return folder


@pytest.fixture(scope="module")
def server(models):
    with Server(models, rest_api_port=0, port=0, access_log=True) as running_server:
        yield running_server


def over_rest(server, path, request_id=None):
    """Status and id of the answer."""
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    request = urllib.request.Request(f"http://{server.rest_address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["x-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-request-id"]


def over_grpc(server, model, request_id=None):
    """Status and id of the answer."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    metadata = [] if request_id is None else [("x-request-id", request_id)]
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        call = stub.GetModelStatus.future(request, metadata=metadata)
        return call.code().name, dict(call.trailing_metadata())["x-request-id"]


def lines(caplog):
    return [r.args for r in caplog.records if r.name == "serving.server.access_log"]


def test_an_answer_carries_the_id_of_its_request_and_the_log_has_a_line(server, caplog):
    caplog.set_level(logging.INFO)
    assert over_rest(server, "/v1/models/m", "of-a-client") == (200, "of-a-client")
    assert over_rest(server, "/v1/models/x") == (404, lines(caplog)[1]["request_id"])
    assert over_grpc(server, "m", "of/another=1") == ("OK", "of/another=1")
    status, new = over_grpc(server, "x")
    assert [
        {**line, "milliseconds": line["milliseconds"] > 0, "request_id": line["request_id"]}
        for line in lines(caplog)
    ] == [
        {"request_id": i, "api": api, "call": call, "status": status, "milliseconds": True}
        for i, api, call, status in [
            ("of-a-client", "REST", "GET /v1/models/m", 200),
            (lines(caplog)[1]["request_id"], "REST", "GET /v1/models/x", 404),
            ("of/another=1", "gRPC", "GetModelStatus", "OK"),
            (new, "gRPC", "GetModelStatus", "NOT_FOUND"),
        ]
    ]
    assert status == "NOT_FOUND"


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "caf\xe9"])
def test_what_is_no_id_is_replaced(server, given):
    _, new = over_rest(server, "/v1/models/m", given)
    assert len(new) == 32
    assert new != over_rest(server, "/v1/models/m", given)[1]


def test_paths_that_nobody_meant_are_shown_short_and_in_one_line(server, caplog):
    caplog.set_level(logging.INFO)
    assert over_rest(server, "/v1/models/" + "%0a" * 300)[0] in (400, 404)
    (line,) = lines(caplog)
    assert len(line["call"]) == 200
    assert "\n" not in caplog.records[-1].getMessage()


def test_without_the_flag_there_is_no_line(models, caplog):
    caplog.set_level(logging.INFO)
    with Server(models, rest_api_port=0, port=0) as quiet:
        assert over_rest(quiet, "/healthz", "a") == (200, "a")
    assert not lines(caplog)


def test_lines_are_json_with_the_fields_of_requests_and_errors():
    record = logging.LogRecord("a.b", logging.INFO, "", 0, "%(api)s \n", ({"api": "REST"},), None)
    told = json.loads(JsonFormatter().format(record))
    assert told.pop("time").endswith("+00:00")
    assert told == {"level": "INFO", "logger": "a.b", "message": "REST \n", "api": "REST"}
    try:
        raise ValueError("why")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["error"].endswith("ValueError: why")


def test_the_process_writes_json_lines(models):
    with running(f"--models={models}", "--log_format=json", "--access_log") as process:
        process.wait_for("Serving")
        over_rest(process, "/v1/models/m", "of-a-client")
        process.wait_for("of-a-client")
        written = [line for line in process.output.splitlines() if line.startswith("{")]
    last = json.loads(written[-1])
    assert (last["request_id"], last["status"]) == ("of-a-client", 200)


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="--log_format is text or json, not xml"):
        Options(models="m", log_format="xml")
