"""The two faces of the client: one blocks, the other is for asyncio."""

import asyncio
import collections
import functools
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from serving.client.calls import DEFAULT_SIGNATURE, Calls
from serving.client.model import ModelSpec
from serving.client.retries import Retry
from serving.client.transport import Transport
from serving.types import Row, Value

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def connect(url: str, *, blocking: bool) -> Transport:
    """The transport for a URL; connections are opened when they are first needed.

    The coroutines of a blocking one block the thread instead of suspending.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.hostname and parts.scheme in ("http", "https"):
        from serving.client.over_rest import RestTransport

        return RestTransport(url, blocking)
    if parts.hostname and parts.port and parts.scheme == "grpc":
        from serving.client.over_grpc import GrpcTransport

        return GrpcTransport(parts.netloc, blocking)
    raise ValueError(f"url must be like http://localhost:8501 or grpc://localhost:8500, got {url}")


def _finish(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine that never suspends, as those over a blocking transport do."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError("a blocking call was suspended")


def _blocking(
    method: Callable[Concatenate[Calls, Arguments], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate["Client", Arguments], Result]:
    """The method of `Client` for a coroutine method of `Calls`: same arguments, same docstring."""

    @functools.wraps(method)
    def call(self: "Client", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return _finish(method(self._calls, *args, **kwargs))

    return call


class Client:
    """A client that blocks; may be used by several threads at once.

    Connections are opened when they are first needed and then kept open.

    Args:
        url: str. "http://HOST:PORT" (or https) for REST, "grpc://HOST:PORT" for gRPC.
        timeout: float. Seconds that a call may take in all, retries included. Defaults to 60.
        retry: Retry. When to ask again. Defaults to `Retry()`; `Retry(attempts=1)` is never.

    Raises:
        ValueError: if the URL is none of these.

    Example:

    >>> with Client(f"http://{server.rest_address}") as client:
    ...     client.predict("ctr", {"site": ["a", "b"], "price": [1.5, None]})
    {'score': array([0.5 , 0.25], dtype=float32)}
    """

    def __init__(self, url: str, *, timeout: float = 60.0, retry: Retry = Retry()):  # noqa: B008
        self._calls = Calls(connect(url, blocking=True), time.sleep, timeout, retry)

    predict = _blocking(Calls.predict)
    rank = _blocking(Calls.rank)
    classify = _blocking(Calls.classify)
    regress = _blocking(Calls.regress)
    metadata = _blocking(Calls.metadata)
    status = _blocking(Calls.status)
    wait_until_available = _blocking(Calls.wait_until_available)
    close = _blocking(Calls.close)

    def predict_rows(
        self,
        model: str,
        rows: Iterable[Row],
        *,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        batch_size: int = 512,
        timeout: float | None = None,
        ignore: Collection[str] = (),
    ) -> Iterator[Value]:
        """Scores any number of rows, which are taken and sent in batches.

        A column that a row lacks is a missing value, as None and NaN are in `predict`.

        Args:
            model: str. The model's name.
            rows: iterable of dict. Column name to value; values may be nested lists.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "serving_default".
            batch_size: int. How many rows to send at once. Defaults to 512.
            timeout: float or None. Seconds for each batch. None: the client's.
            ignore: collection of str. Columns not to send.

        Yields:
            The prediction for each row, in order: a value, or a dict if there are several outputs.

        Raises:
            ValueError: if a row does not fit the model; rows are counted from 1.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> list(client.predict_rows("ctr", [{"site": "a"}, {"price": 2}]))
        [0.25, 0.5]
        """
        spec = ModelSpec(model, version, label)
        calls = self._calls.batches(spec, signature_name, rows, batch_size, timeout, ignore)
        for call in calls:
            yield from _finish(call)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(Calls):
    """A client for asyncio: the methods of `Client` as coroutines, for any number of tasks.

    Create it in a coroutine, and use it in that event loop only.

    Args:
        url: str. "http://HOST:PORT" (or https) for REST, "grpc://HOST:PORT" for gRPC.
        timeout: float. Seconds that a call may take in all, retries included. Defaults to 60.
        retry: Retry. When to ask again. Defaults to `Retry()`; `Retry(attempts=1)` is never.

    Raises:
        ValueError: if the URL is none of these.

    Example:

    >>> async def score():
    ...     async with AsyncClient(f"grpc://{server.grpc_address}") as client:
    ...         return await client.predict("ctr", {"site": ["a", "b"], "price": [1.5, None]})
    >>> asyncio.run(score())
    {'score': array([0.5 , 0.25], dtype=float32)}
    """

    def __init__(self, url: str, *, timeout: float = 60.0, retry: Retry = Retry()):  # noqa: B008
        super().__init__(connect(url, blocking=False), asyncio.sleep, timeout, retry)

    async def predict_rows(
        self,
        model: str,
        rows: Iterable[Row],
        *,
        version: int | None = None,
        label: str | None = None,
        signature_name: str = DEFAULT_SIGNATURE,
        batch_size: int = 512,
        concurrency: int = 4,
        timeout: float | None = None,
        ignore: Collection[str] = (),
    ) -> AsyncIterator[Value]:
        """Scores any number of rows as `Client.predict_rows` does, several batches at a time.

        Args:
            model: str. The model's name.
            rows: iterable of dict. Column name to value; values may be nested lists.
            version: int or None. None: the latest.
            label: str or None. A version label, instead of a version.
            signature_name: str. Defaults to "serving_default".
            batch_size: int. How many rows to send at once. Defaults to 512.
            concurrency: int. How many batches may be under way. Defaults to 4.
            timeout: float or None. Seconds for each batch. None: the client's.
            ignore: collection of str. Columns not to send.

        Yields:
            The prediction for each row, in order: a value, or a dict if there are several outputs.

        Raises:
            ValueError: if a row does not fit the model; rows are counted from 1.
            ServingError: if the server answers with an error, or not in time.

        Example:

        >>> async def score(rows):
        ...     async with AsyncClient(f"grpc://{server.grpc_address}") as client:
        ...         return [score async for score in client.predict_rows("ctr", rows)]
        >>> asyncio.run(score([{"site": "a"}, {"price": 2}]))
        [0.25, 0.5]
        """
        spec = ModelSpec(model, version, label)
        calls = self.batches(spec, signature_name, rows, batch_size, timeout, ignore)
        under_way: collections.deque[asyncio.Task[list[Value]]] = collections.deque()
        try:
            for call in calls:
                under_way.append(asyncio.create_task(call))
                if len(under_way) == concurrency:
                    for prediction in await under_way.popleft():
                        yield prediction
            while under_way:
                for prediction in await under_way.popleft():
                    yield prediction
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def predict_rows(url: str, model: str, rows: Iterable[Row], **options: Any) -> Iterator[Value]:
    """Scores any number of rows with a client that is made for it.

    Args:
        url: str. The server, such as "http://localhost:8501" or "grpc://localhost:8500".
        model: str. The model's name.
        rows: iterable of dict. Column name to value.
        **options: the other arguments of `Client.predict_rows`.

    Yields:
        The prediction for each row, in order: a value, or a dict if there are several outputs.

    Raises:
        ValueError: if a row does not fit the model; rows are counted from 1.
        ServingError: if the server answers with an error, or not in time.

    Example:

    >>> rows = [{"site": "a", "price": 1.5}, {"site": "b"}]
    >>> list(predict_rows(f"http://{server.rest_address}", "ctr", rows))
    [0.5, 0.25]
    """
    with Client(url) as client:
        yield from client.predict_rows(model, rows, **options)
