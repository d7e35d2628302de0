"""What the client needs of a protocol, and the choice of one by URL."""

import inspect
import urllib.parse
from typing import Any, Protocol

from serving.client.examples import Features
from serving.client.model import Metadata, ModelSpec, Signature, VersionStatus
from serving.client.retries import Deadline
from serving.client.values import Arrays


class Transport(Protocol):
    """Questions to a server, each asked once.

    All are coroutines that raise `ServingError`. Those of a blocking transport never suspend, so
    they run without an event loop.
    """

    async def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Arrays, deadline: Deadline
    ) -> Arrays:
        """Outputs by name, for arrays of the types that the signature takes."""

    async def classify(
        self,
        spec: ModelSpec,
        signature_name: str,
        examples: list[Features],
        context: Features,
        deadline: Deadline,
    ) -> list[list[tuple[str, float]]]:
        """(label, score) pairs for each example."""

    async def regress(
        self,
        spec: ModelSpec,
        signature_name: str,
        examples: list[Features],
        context: Features,
        deadline: Deadline,
    ) -> list[float]:
        """A value for each example."""

    async def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        """The version that answers, and its signatures."""

    async def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        """The versions that the server knows of."""

    async def close(self) -> None:
        """Closes the connections."""


def connect(url: str, *, blocking: bool) -> Transport:
    """The transport for a URL; connections are opened when they are first needed.

    Args:
        url: str. "http://HOST:PORT" or "https://..." for REST, "grpc://HOST:PORT" for gRPC.
        blocking: bool. Whether its coroutines block the thread instead of suspending.

    Returns:
        Transport.

    Raises:
        ValueError: if the URL is none of these.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.hostname and parts.scheme in ("http", "https"):
        from serving.client.over_rest import RestTransport

        return RestTransport(url, blocking)
    if parts.hostname and parts.port and parts.scheme == "grpc":
        from serving.client.over_grpc import GrpcTransport

        return GrpcTransport(parts.netloc, blocking)
    raise ValueError(
        f"url must be like http://localhost:8501 or grpc://localhost:8500. Received: {url}"
    )


async def settled(value: Any) -> Any:
    """The result of a call that returns it, or that returns what has to be awaited for it.

    Libraries that have a blocking and an asynchronous face (httpx, grpc) can so be used alike.
    """
    return await value if inspect.isawaitable(value) else value
