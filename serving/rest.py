"""The REST API: URLs, bodies and answers over HTTP, around the JSON rules in `rest_json`."""

import asyncio
import concurrent.futures
import functools
import json
import re
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from google.protobuf import json_format

from serving.errors import HTTP_STATUS, Code, StatusError, as_status_error, invalid_argument
from serving.json_text import dump_scalar
from serving.model_info import SIGNATURE_DEF, model_status, signature_defs
from serving.rest_json import read_document, read_inputs, write_outputs
from serving.servables import MAX_INT64, ModelManager
from serving.signature import DEFAULT_SIGNATURE

_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION_OR_LABEL = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_INFERENCE_PATH = re.compile(
    rf"/v1/models/([^/:]+){_VERSION_OR_LABEL}:(classify|regress|predict)", re.IGNORECASE
)
_MODEL_PATH = re.compile(rf"/v1/models(?:/([^/:]+))?{_VERSION_OR_LABEL}(/metadata)?", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_NOT_FOUND_PAGE = "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>"
_WORKERS = 16

Action = Callable[[bytes], str]


class RestServer:
    """Serves the REST API on a port of its own; models run in worker threads.

    Args:
        manager: ModelManager. Holds the models.
        host: str. The address to bind.
        port: int. 0 picks a free one.
        max_request_bytes: int. Longer bodies are refused, before and after decompression.
        grace_seconds: float. How long requests under way may take when the server stops.

    Attributes:
        port: int. The port that is bound, once started.

    Example:

    >>> rest = RestServer(manager, "127.0.0.1", 0, 1 << 20, 30.0)     # doctest: +SKIP
    >>> rest.start()                                                  # doctest: +SKIP
    >>> rest.port                                                     # doctest: +SKIP
    43519
    """

    def __init__(
        self,
        manager: ModelManager,
        host: str,
        port: int,
        max_request_bytes: int,
        grace_seconds: float,
    ):
        self.port = port
        self._host = host
        self._api = _Api(manager)
        self._max_bytes = max_request_bytes
        self._grace_seconds = grace_seconds
        self._workers = concurrent.futures.ThreadPoolExecutor(_WORKERS, "rest")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._runner: web.ServerRunner | None = None

    def start(self) -> None:
        """Binds the port and answers from then on.

        Raises:
            OSError: if the port cannot be bound.
        """
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Lets the requests under way finish, but takes no new ones."""
        if self._runner:
            self._call(self._runner.cleanup())
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._workers.shutdown()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _listen(self) -> None:
        # Bodies are decompressed here, as TensorFlow Serving has rules of its own for them.
        server = web.Server(
            self._answer, request_factory=self._request, auto_decompress=False, access_log=None
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._grace_seconds)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    def _request(self, *args: Any) -> web.BaseRequest:
        return web.BaseRequest(*args, self._loop, client_max_size=self._max_bytes)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not _API_PATH.fullmatch(request.raw_path):
            return web.Response(status=404, text=_NOT_FOUND_PAGE, content_type="text/html")
        if request.method == "OPTIONS":
            origin = request.headers.get("Origin", "")
            return web.Response(status=200 if re.search("https?://", origin) else 400)
        try:
            action = self._api.action(request.method, request.raw_path)
            text = await self._loop.run_in_executor(
                self._workers, self._run, action, *await self._body(request)
            )
            return _json_response(200, text)
        except _BadUrl:
            return web.Response(status=400)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request body is longer than the server's limit of {self._max_bytes} bytes"
            return _json_response(413, _error_text(message))
        except Exception as error:  # whatever went wrong, the client gets an answer
            status = as_status_error(error)
            return _json_response(HTTP_STATUS[status.code], _error_text(status.message))

    async def _body(self, request: web.BaseRequest) -> tuple[bytes, bool]:
        """The body as sent, and whether it is compressed."""
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # type: ignore[attr-defined]
        return await request.read(), "gzip" in request.headers.get("Content-Encoding", "")

    def _run(self, action: Action, body: bytes, compressed: bool) -> str:
        return action(_gunzip(body, self._max_bytes) if compressed else body)


class _BadUrl(Exception):  # noqa: N818
    """A URL that fits the API's form but cannot be decoded; answered with an empty body."""


class _Api:
    """What each method and path does."""

    def __init__(self, manager: ModelManager):
        self._manager = manager
        self._inference = {"predict": self._predict}

    def action(self, method: str, path: str) -> Action:
        """Finds what answers a request, as a function of its body."""
        if method == "POST" and (match := _INFERENCE_PATH.fullmatch(path)):
            *model, verb = match.groups()
            if verb in self._inference:
                return functools.partial(self._inference[verb], *_decoded(*model))
            if verb in ("classify", "regress"):
                raise StatusError(Code.UNIMPLEMENTED, f"{verb} is not supported by this server")
        if method == "GET" and (match := _MODEL_PATH.fullmatch(path)):
            *model, metadata = match.groups()
            if model[0] is None:
                raise invalid_argument("Missing model name in request.")
            inform = self._metadata if metadata == "/metadata" else self._status
            return functools.partial(inform, *_decoded(*model))
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(self, name: str, version: int | None, label: str | None, body: bytes) -> str:
        document = read_document(body)
        with self._manager.lease(name, version, label) as servable:
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
            return write_outputs(signature.run(inputs), signature.outputs, in_rows)

    def _status(self, name: str, version: int | None, label: str | None, body: bytes) -> str:
        # TensorFlow Serving ignores the label here, too.
        return json.dumps(_plain(model_status(self._manager, name, version)), indent=4)

    def _metadata(self, name: str, version: int | None, label: str | None, body: bytes) -> str:
        with self._manager.lease(name, version, label) as servable:
            spec = {"name": name, "signature_name": "", "version": str(servable.version)}
            metadata = {SIGNATURE_DEF: _plain(signature_defs(servable))}
        return json.dumps({"model_spec": spec, "metadata": metadata}, indent=4, ensure_ascii=False)


def _decoded(
    name: str, version: str | None, label: str | None
) -> tuple[str, int | None, str | None]:
    # Python refuses to read numbers of thousands of digits, and zeros in front do not count.
    if version is not None and int(version.lstrip("0")[:20] or 0) > MAX_INT64:
        raise _BadUrl
    number = version and int(version.lstrip("0") or 0)
    return _unescaped(name), number, label and _unescaped(label)


def _unescaped(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _BadUrl
    return urllib.parse.unquote(text, errors="surrogateescape")


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompresses a body; one that cannot be counts as empty, as in TensorFlow Serving."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        return b""
    if len(text) > max_bytes:
        raise invalid_argument(
            "JSON Parse error: The document is empty, "
            f"as it is longer than the server's limit of {max_bytes} bytes when decompressed"
        )
    return text if stream.eof else b""


def _plain(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _error_text(message: str) -> str:
    return f'{{"error": {dump_scalar(message)}}}'


def _json_response(status: int, text: str) -> web.Response:
    body = text.encode("utf-8", "surrogateescape")
    return web.Response(status=status, body=body, content_type="application/json")
