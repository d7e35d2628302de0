"""The REST API: URLs, bodies and answers over HTTP, around the JSON rules next to it."""

import asyncio
import concurrent.futures
import contextvars
import functools
import json
import re
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from google.protobuf import json_format, message
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.codes import StatusError, invalid_argument
from serving.server.access_log import REQUEST_ID, Request
from serving.server.config import read_metrics_path
from serving.server.core import Core
from serving.server.errors import HTTP_STATUS, as_status_error
from serving.server.inference import ExamplesRequest, classify, example_count, regress
from serving.server.model_info import SIGNATURE_DEF, model_status, signature_defs
from serving.server.options import Options
from serving.server.page import page
from serving.server.request_log import of_arrays, of_messages
from serving.server.rest.connections import SECONDS_TO_SEND, Connections, is_rebound
from serving.server.rest.examples import read_examples, write_classifications, write_regressions
from serving.server.rest.json_text import dump_scalar
from serving.server.rest.requests import read_document, read_inputs
from serving.server.rest.responses import write_outputs
from serving.server.savedmodel import Servable
from serving.server.signature import DEFAULT_SIGNATURE
from serving.types import Json
from serving.versions import MAX_VERSION

_HEALTH_PATH = "/healthz"
_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION_OR_LABEL = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_INFERENCE_PATH = re.compile(rf"/v1/models/([^/:]+){_VERSION_OR_LABEL}:([^/:]+)", re.IGNORECASE)
_MODEL_PATH = re.compile(rf"/v1/models(?:/([^/:]+))?{_VERSION_OR_LABEL}(/metadata)?", re.IGNORECASE)
_ORIGIN = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)  # in the form that proxies are sent
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_MAX_INFLATION = 100  # JSON of real requests is compressed 10 to 20 times
_MAX_INFLATED = 1 << 20  # bytes, which any compressed body may have
_OUR_FAULT = 500  # and above
_PLAIN = {"Content-Type": "text/plain"}
_NOT_FOUND_PAGE = "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>"
_MISDIRECTED = (
    "This server answers browsers under the addresses of its own machine only, and others that "
    "--allowed_hosts names."
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}

Target = tuple[str, int | None, str | None]  # name, version, label


class RestServer:
    """Serves the REST API on a port of its own; models run in worker threads.

    Attributes:
        port: int. The port that is bound, once started.

    Example:

    >>> options = Options(models="models", rest_api_port=0)
    >>> rest = RestServer(Core(options), options)
    >>> rest.start()
    >>> rest.port > 0
    True
    >>> rest.stop()
    """

    def __init__(self, core: Core, options: Options):
        self.port = options.rest_port or 0
        self._options = options
        self._core = core
        self._api = _Api(core)
        self._metrics_path = options.monitoring_config_file and read_metrics_path(
            options.monitoring_config_file
        )
        workers = options.workers(options.rest_api_num_threads)
        self._workers = concurrent.futures.ThreadPoolExecutor(workers, "rest")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._runner: web.ServerRunner | None = None

    def start(self) -> None:
        """Binds the port and answers from then on; an OSError if it cannot be bound."""
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Lets the requests under way finish, in the time of grace, but takes no new ones."""
        if self._runner:
            self._call(self._runner.cleanup())
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _listen(self) -> None:
        request = functools.partial(
            web.BaseRequest, loop=self._loop, client_max_size=self._options.max_request_bytes
        )
        # Bodies are decompressed here, as TensorFlow Serving has rules of its own for them.
        server = Connections(
            self._answer, request_factory=request, auto_decompress=False, access_log=None
        )
        # aiohttp waits so long for requests to end, and again once it has told them to.
        self._runner = web.ServerRunner(server, shutdown_timeout=self._options.grace_seconds / 2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._options.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        call = f"{request.method} {request.raw_path}"
        asked = Request.of(call, "REST", request.headers.get(REQUEST_ID))
        with self._core.tracing.request(asked, request.headers) as answered:
            response = await self._routed(request)
            answered(response.status, response.status >= _OUR_FAULT)
        response.headers[REQUEST_ID] = asked.id
        if self._options.access_log:
            asked.log_answer(response.status)
        return response

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_rebound(request, self._options):
            return web.Response(status=421, text=_MISDIRECTED)
        path = _ORIGIN.sub("", request.raw_path) or "/"
        is_read = request.method in ("GET", "HEAD")
        if is_read and path == "/":
            running = self._loop.run_in_executor(self._workers, page, self._core.manager)
            text, headers = await running
            return web.Response(text=text, content_type="text/html", headers=headers)
        if is_read and path == _HEALTH_PATH:
            return self._health()
        if self._metrics_path and path.partition("?")[0] == self._metrics_path:
            return self._metrics(path)
        if not _API_PATH.fullmatch(path):
            return web.Response(status=404, text=_NOT_FOUND_PAGE, content_type="text/html")
        response = await self._api_answer(request, path)
        if self._options.rest_api_enable_cors_support:
            response.headers.update(_CORS)
        return response

    def _health(self) -> web.Response:
        serving, waiting = self._core.manager.health()
        text = json.dumps({"serving": serving, "not_serving": waiting})
        return _json_response(200 if serving and not waiting else 503, f"{text}\n")

    def _metrics(self, path: str) -> web.Response:
        if path != self._metrics_path:
            text = f"Unexpected path: {path}. Should be {self._metrics_path}"
            return web.Response(status=400, body=text.encode(errors="replace"), headers=_PLAIN)
        return web.Response(body=self._core.metrics.page().encode(), headers=_PLAIN)

    async def _api_answer(self, request: web.BaseRequest, path: str) -> web.Response:
        if request.method == "OPTIONS":
            origin = request.headers.get("Origin", "")
            return web.Response(status=200 if re.search("https?://", origin) else 400)
        seconds = self._options.rest_api_timeout_in_ms / 1000
        try:
            body = await asyncio.wait_for(self._body(request), max(seconds, SECONDS_TO_SEND))
        except TimeoutError:
            return _json_response(408, _error_json("Timed out waiting for the request's body"))
        except web.HTTPRequestEntityTooLarge:
            limit = self._options.max_request_bytes
            message = f"Request body is longer than the server's limit of {limit} bytes"
            return _json_response(413, _error_json(message))
        try:
            answer = functools.partial(self._run, request.method, path, *body)
            traced = contextvars.copy_context()  # in which the span of the request is the current
            running = self._loop.run_in_executor(self._workers, traced.run, answer)
            return _json_response(200, await asyncio.wait_for(running, seconds))
        except TimeoutError:
            return _json_response(504, _error_json("Timed out waiting for the model's answer"))
        except _BadUrl:
            return web.Response(status=400)
        except Exception as error:  # whatever went wrong, the client gets an answer
            status = as_status_error(error)
            return _json_response(HTTP_STATUS[status.code], _error_json(status.message))

    async def _body(self, request: web.BaseRequest) -> tuple[bytes, bool]:
        """The body as sent, and whether it is compressed."""
        limit, length = self._options.max_request_bytes, request.content_length or 0
        if length > limit:  # before it is asked for
            raise web.HTTPRequestEntityTooLarge(limit, length)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await request.read(), "gzip" in request.headers.get("Content-Encoding", "")

    def _run(self, method: str, path: str, body: bytes, compressed: bool) -> str:
        text = _gunzip(body, self._options.max_request_bytes) if compressed else body
        return self._api.answer(method, path, text)


class _BadUrl(Exception):  # noqa: N818
    """A URL that fits the API's form but cannot be decoded; answered with an empty body."""


class _Api:
    """What each method and path does."""

    def __init__(self, core: Core):
        self._manager = core.manager
        self._metrics = core.metrics
        self._run = core.run
        self._answered = core.answered
        self._inference = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    def answer(self, method: str, path: str, body: bytes) -> str:
        """Answers a request with JSON, or raises a StatusError or _BadUrl."""
        try:
            target, verb, answer = self._route(method, path)
        except StatusError:
            with self._metrics.request("", "", "REST"):
                raise
        with self._metrics.request(target[0], verb, "REST"):
            return answer(target, body)

    def _route(self, method: str, path: str) -> tuple[Target, str, Callable[[Target, bytes], str]]:
        """Which model a request is for, the verb if it is inference, and what answers it."""
        if method == "POST" and (match := _INFERENCE_PATH.fullmatch(path)):
            *parts, verb = match.groups()
            if verb in self._inference:
                return _decoded(*parts), verb, self._inference[verb]
        if method == "GET" and (match := _MODEL_PATH.fullmatch(path)):
            *parts, metadata = match.groups()
            if metadata in (None, "/metadata"):
                return _decoded(*parts), "", self._metadata if metadata else self._status
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(self, target: Target, body: bytes) -> str:
        document = read_document(body)
        with self._manager.lease(*target) as servable:
            key = document.get("signature_name") or DEFAULT_SIGNATURE
            signature = servable.signature(key)
            if key not in servable.signature_defs:
                raise invalid_argument(
                    f'Serving signature name: "{key}" not found in signature def'
                )
            if signature is None or not signature.inputs:
                key = document.get("signature_name") or "DEFAULT"
                raise invalid_argument(f"Failed to get input map for signature: {key}")
            inputs, in_rows = read_inputs(document, signature.inputs)
            with self._run(servable.name, "Predict"):
                outputs = signature.run(inputs)
            self._answered(servable, of_arrays(key, signature, inputs, outputs))
            return write_outputs(outputs, signature.outputs, in_rows)

    def _classify(self, target: Target, body: bytes) -> str:
        request = classification_pb2.ClassificationRequest()
        return write_classifications(self._of_examples(target, body, request, classify))

    def _regress(self, target: Target, body: bytes) -> str:
        request = regression_pb2.RegressionRequest()
        return write_regressions(self._of_examples(target, body, request, regress))

    def _of_examples(
        self,
        target: Target,
        body: bytes,
        request: ExamplesRequest,
        infer: Callable[[Servable, ExamplesRequest], Any],
    ) -> Any:
        """Runs `infer`, which is `classify` or `regress`, on the examples in a body."""
        document = read_document(body)
        request.input.CopyFrom(read_examples(document))
        request.model_spec.signature_name = _printable(document.get("signature_name", ""))
        with self._manager.lease(*target) as servable:
            with self._run(servable.name, infer.__name__.capitalize()):
                response = infer(servable, request)
            self._metrics.count_examples(servable.name, example_count(request))
            kind = f"{infer.__name__}_log"
            self._answered(servable, of_messages(kind, request, response))
        return response.result

    def _status(self, target: Target, body: bytes) -> str:
        name, version, _ = target  # TensorFlow Serving ignores the label here, too
        return json.dumps(_plain(model_status(self._manager, name, version)), indent=4)

    def _metadata(self, target: Target, body: bytes) -> str:
        with self._manager.lease(*target) as servable:
            spec = {"name": target[0], "signature_name": "", "version": str(servable.version)}
            metadata = {SIGNATURE_DEF: _plain(signature_defs(servable))}
        return json.dumps({"model_spec": spec, "metadata": metadata}, indent=4, ensure_ascii=False)


def _decoded(name: str | None, version: str | None, label: str | None) -> Target:
    if name is None:
        raise invalid_argument("Missing model name in request.")
    # Python refuses to read numbers of thousands of digits, and zeros in front do not count.
    if version is not None and int(version.lstrip("0")[:20] or 0) > MAX_VERSION:
        raise _BadUrl
    number = None if version is None else int(version.lstrip("0") or 0)
    return _unescaped(name), number, label and _unescaped(label)


def _printable(string: str) -> str:
    """A string that protocol buffers take, whatever bytes it was made of."""
    return string.encode("utf-8", "replace").decode()


def _unescaped(string: str) -> str:
    if _BAD_ESCAPE.search(string):
        raise _BadUrl
    return urllib.parse.unquote(string, errors="surrogateescape")


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompresses a body; one that cannot be counts as empty, as in TensorFlow Serving.

    What a few bytes are blown up to is no request, and would cost as much as one.
    """
    limit = min(max_bytes, max(_MAX_INFLATED, _MAX_INFLATION * len(body)))
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = stream.decompress(body, limit + 1)
    except zlib.error:
        return b""
    if len(text) > limit:
        raise invalid_argument(
            "JSON Parse error: The document is empty, "
            f"as it is longer than the server's limit of {limit} bytes when decompressed"
        )
    return text if stream.eof else b""


def _plain(proto: message.Message) -> Json:
    return json_format.MessageToDict(
        proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _error_json(message: str) -> str:
    return f'{{"error": {dump_scalar(message)}}}'


def _json_response(status: int, document: str) -> web.Response:
    body = document.encode("utf-8", "surrogateescape")
    return web.Response(status=status, body=body, content_type="application/json")
