"""A client for scoring many rows over the REST API, of this server or of TensorFlow Serving."""

import base64
import http.client
import itertools
import json
import math
import numbers
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

_FLOATS = {"DT_FLOAT", "DT_DOUBLE"}
_NAN = float("nan")


class ServingError(RuntimeError):
    """What the server answered when it was not the answer.

    Args:
        status: int. The HTTP status; 200 for an answer that makes no sense.
        message: str. The server's message.
    """

    def __init__(self, status: int, message: str):
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message


def predict_rows(
    url: str,
    model: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    version: int | None = None,
    signature_name: str | None = None,
    batch_size: int = 512,
    timeout: float = 60.0,
    ignore: Collection[str] = (),
) -> Iterator[Any]:
    """Scores rows, which are sent in batches over one connection.

    A column that a row lacks, or that is None or NaN in it, is sent as `""` to a string input and
    as NaN to a float input; other inputs need a value. A number for a string input is sent as its
    text.

    Args:
        url: str. The server, such as "http://localhost:8501".
        model: str. The model's name.
        rows: iterable of dict. Column name to value; values may be nested lists.
        version: int or None. None: the latest version.
        signature_name: str or None. None: the default signature.
        batch_size: int. How many rows to send at once. Defaults to 512.
        timeout: float. Seconds to wait for the server each time. Defaults to 60.
        ignore: collection of str. Columns to leave out, where rows have more than the model takes.

    Yields:
        The prediction for each row, in order: a value, or a dict if the model has several outputs.

    Raises:
        ServingError: if the server answers with an error.
        ValueError: if a row does not fit the model, or the model lacks the signature; rows are
            counted from 1.
        OSError: if the server cannot be reached.

    Example:

    >>> rows = [{"site": "a", "price": 1.5}, {"site": "b"}]
    >>> list(predict_rows("http://localhost:8501", "ctr", rows))     # doctest: +SKIP
    [0.13, 0.02]
    """
    path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
    if version is not None:
        path += f"/versions/{version}"
    key = signature_name or "serving_default"
    with _Connection(url, timeout) as connection:
        dtypes = _input_dtypes(connection.call("GET", f"{path}/metadata"), key)
        numbered = enumerate(rows, start=1)
        while batch := list(itertools.islice(numbered, batch_size)):
            instances = [_instance(number, row, dtypes, ignore) for number, row in batch]
            request = {"signature_name": key, "instances": instances}
            answer = connection.call("POST", f"{path}:predict", json.dumps(request).encode())
            predictions = answer.get("predictions")
            if not isinstance(predictions, list) or len(predictions) != len(batch):
                raise ServingError(200, f"the model does not give one prediction a row: {answer}")
            yield from predictions


class _Connection:
    """A connection to a server, kept open between calls."""

    def __init__(self, url: str, timeout: float):
        parts = urllib.parse.urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(f"url must be like http://localhost:8501. Received: {url}")
        self._prefix = parts.path.rstrip("/")
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Sends a request and reads the JSON object that answers it."""
        status, text = self._exchange(method, self._prefix + path, body)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status != 200:
            message = answer.get("error") if isinstance(answer, dict) else None
            raise ServingError(status, message or text.decode("utf-8", "replace"))
        if not isinstance(answer, dict):
            raise ServingError(status, f"not a JSON object: {text[:256]!r}")
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        reused = self._connection.sock is not None
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            if not reused:
                raise
            # The server had closed the idle connection; predictions may be asked for twice.
            return self._exchange(method, path, body)
        return response.status, response.read()


def _input_dtypes(metadata: dict[str, Any], key: str) -> dict[str, str]:
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    if key not in signatures:
        raise ValueError(f"the model has no signature {key}, only {', '.join(sorted(signatures))}")
    return {name: info["dtype"] for name, info in signatures[key]["inputs"].items()}


def _instance(
    number: int, row: Mapping[str, Any], dtypes: dict[str, str], ignore: Collection[str]
) -> dict[str, Any]:
    for column in row:
        if column not in dtypes and column not in ignore:
            raise ValueError(f"row {number}: the model has no input for column {column}")
    instance = {}
    for name, dtype in dtypes.items():
        try:
            instance[name] = _json_value(row.get(name), dtype)
        except ValueError as error:
            raise ValueError(f"row {number}, column {name}: {error}") from error
    return instance


def _json_value(value: Any, dtype: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_json_value(item, dtype) for item in value]
    missing = value is None or (isinstance(value, numbers.Real) and math.isnan(value))
    if dtype == "DT_STRING":
        return "" if missing else _string_value(value)
    if dtype in _FLOATS:
        return _NAN if missing else _float_value(value)
    if missing:
        raise ValueError(f"{dtype} needs a value")
    return value


def _string_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"expected text. Received: {value!r}")


def _float_value(value: Any) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"expected a number. Received: {value!r}")
