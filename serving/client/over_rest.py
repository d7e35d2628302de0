"""The REST API: requests as typed JSON in the columnar format, answers as arrays."""

import asyncio
import base64
import json
import urllib.parse
from collections.abc import Callable
from typing import TypeVar

import httpx
import numpy as np

from serving.client.examples import Classes, Features, OfExamples
from serving.client.model import Metadata, ModelSpec, Signature, TensorInfo, VersionStatus
from serving.client.retries import Deadline, ServingError
from serving.client.values import numpy_dtype, object_array
from serving.codes import Code
from serving.types import Array, Arrays, DType, Json

_CODES = {
    400: Code.INVALID_ARGUMENT,  # or FAILED_PRECONDITION, or OUT_OF_RANGE: HTTP does not tell
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_RETRYABLE = {429, 502, 503}
_CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=100)
_QUOTED_ANSWER = 256  # characters of an answer that an error repeats

Read = TypeVar("Read")


class RestTransport:
    """Asks over HTTP, on connections that are kept open; environment proxies are not used.

    A path in the URL is put before the API's.
    """

    def __init__(self, url: str, blocking: bool):
        self._url = url
        self._http = _BlockingHttp(url) if blocking else _AsyncHttp(url)

    async def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Arrays, deadline: Deadline
    ) -> Arrays:
        document = {
            "signature_name": signature.name,
            "inputs": {name: _to_json(name, array) for name, array in inputs.items()},
        }

        def read(answer: Json) -> Arrays:
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:  # whose name the server drops
                outputs = dict.fromkeys(signature.outputs, outputs)
            return {
                name: _from_json(name, outputs[name], numpy_dtype(info.dtype))
                for name, info in signature.outputs.items()
            }

        return await self._ask("POST", f"{_path(spec)}:predict", read, deadline, document)

    async def classify(self, asked: OfExamples, deadline: Deadline) -> Classes:
        def read(answer: Json) -> Classes:
            return [[(label, float(score)) for label, score in row] for row in answer["results"]]

        document = _examples_document(asked)
        return await self._ask("POST", f"{_path(asked.spec)}:classify", read, deadline, document)

    async def regress(self, asked: OfExamples, deadline: Deadline) -> list[float]:
        def read(answer: Json) -> list[float]:
            return [float(value) for value in answer["results"]]

        document = _examples_document(asked)
        return await self._ask("POST", f"{_path(asked.spec)}:regress", read, deadline, document)

    async def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        return await self._ask("GET", f"{_path(spec)}/metadata", _read_metadata, deadline)

    async def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        return await self._ask("GET", _path(spec), _read_status, deadline)

    async def names(self, deadline: Deadline) -> list[str]:
        try:  # of our server; TensorFlow Serving has no such page
            _, content = await self._http.exchange("GET", "/healthz", None, deadline)
            health = json.loads(content)
            return sorted([*health["serving"], *health["not_serving"]])
        except (ServingError, TimeoutError, httpx.HTTPError, LookupError, TypeError, ValueError):
            return []

    async def close(self) -> None:
        await self._http.close()

    async def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[Json], Read],
        deadline: Deadline,
        document: Json = None,
    ) -> Read:
        """Sends a request and reads the JSON document that answers it."""
        body = None if document is None else json.dumps(document).encode()
        try:
            status, content = await self._http.exchange(method, path, body, deadline)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise deadline.exceeded() from error
        except httpx.TransportError as error:
            raise ServingError(
                Code.UNAVAILABLE, f"no answer from {self._url}: {error}", retryable=True
            ) from error
        text = content.decode("utf-8", "surrogateescape")
        if status != 200:
            raise _error(status, text)
        try:
            return read(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ServingError(
                Code.INTERNAL,
                f"not an answer of TensorFlow Serving's REST API: {text[:_QUOTED_ANSWER]!r}",
            ) from error


class _BlockingHttp:
    def __init__(self, url: str):
        self._client = httpx.Client(base_url=url, limits=_CONNECTIONS, trust_env=False)

    async def exchange(
        self, method: str, path: str, body: bytes | None, deadline: Deadline
    ) -> tuple[int, bytes]:
        # A time limit of httpx is for every read; a body that trickles in is stopped by ours.
        limit = deadline.remaining()
        with self._client.stream(method, path, content=body, timeout=limit) as response:
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                deadline.remaining()
            return response.status_code, b"".join(chunks)

    async def close(self) -> None:
        self._client.close()


class _AsyncHttp:
    def __init__(self, url: str):
        self._client = httpx.AsyncClient(base_url=url, limits=_CONNECTIONS, trust_env=False)

    async def exchange(
        self, method: str, path: str, body: bytes | None, deadline: Deadline
    ) -> tuple[int, bytes]:
        asked = self._client.request(method, path, content=body, timeout=None)
        response = await asyncio.wait_for(asked, deadline.remaining())
        return response.status_code, response.content

    async def close(self) -> None:
        await self._client.aclose()


def _path(spec: ModelSpec) -> str:
    path = f"/v1/models/{urllib.parse.quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    if spec.label is not None:
        return f"{path}/labels/{urllib.parse.quote(spec.label, safe='')}"
    return path


def _error(status: int, text: str) -> ServingError:
    try:
        message = json.loads(text)["error"]
    except (KeyError, TypeError, ValueError, RecursionError):
        message = f"HTTP {status}: {text[:_QUOTED_ANSWER]}"
    return ServingError(_CODES.get(status, Code.UNKNOWN), message, status in _RETRYABLE)


# Documents to send.


def _to_json(name: str, array: Array) -> Json:
    if array.dtype == object:
        return object_array([_json_string(value) for value in array.flat], array.shape).tolist()
    if array.dtype.kind == "c":
        raise ValueError(f"column {name}: complex numbers have no JSON; use a grpc:// url")
    return array.tolist()


def _json_string(value: bytes) -> Json:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _examples_document(asked: OfExamples) -> dict[str, Json]:
    document = {
        "signature_name": asked.signature_name,
        "examples": [_json_features(features) for features in asked.examples],
    }
    return document | ({"context": _json_features(asked.context)} if asked.context else {})


def _json_features(features: Features) -> Features:
    return {
        name: [_json_string(value) if isinstance(value, bytes) else value for value in values]
        for name, values in features.items()
    }


# Answers.


def _from_json(name: str, value: Json, dtype: DType) -> Array:
    array = np.array(value, dtype)
    if dtype.kind != "O":
        return array
    strings = [
        base64.b64decode(item["b64"]) if name.endswith("_bytes") else str(item)
        for item in array.flat
    ]
    return object_array(strings, array.shape)


def _read_metadata(answer: Json) -> Metadata:
    spec, signatures = answer["model_spec"], answer["metadata"]["signature_def"]["signature_def"]
    return Metadata(
        spec["name"],
        int(spec["version"]),
        {
            name: Signature(
                name,
                _read_tensors(signature.get("inputs", {})),
                _read_tensors(signature.get("outputs", {})),
                signature.get("method_name", ""),
            )
            for name, signature in signatures.items()
        },
    )


def _read_tensors(infos: dict[str, Json]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(info["dtype"], _read_shape(info["tensor_shape"]))
        for name, info in infos.items()
    }


def _read_shape(shape: dict[str, Json]) -> tuple[int, ...] | None:
    if shape.get("unknown_rank"):
        return None
    return tuple(int(dim["size"]) for dim in shape.get("dim", []))


def _read_status(answer: Json) -> list[VersionStatus]:
    return [
        VersionStatus(
            int(entry["version"]),
            entry["state"],
            entry["status"]["error_code"],
            entry["status"]["error_message"],
        )
        for entry in answer["model_version_status"]
    ]
