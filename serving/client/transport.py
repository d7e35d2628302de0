"""What the client needs of a protocol."""

import inspect
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from serving.client.examples import Classes, OfExamples
from serving.client.model import Metadata, ModelSpec, Signature, VersionStatus
from serving.client.retries import Deadline
from serving.types import Arrays

Result = TypeVar("Result")


class Transport(Protocol):
    """Questions to a server, each asked once.

    All are coroutines that raise `ServingError`. Those of a blocking transport never suspend, so
    they run without an event loop.
    """

    async def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Arrays, deadline: Deadline
    ) -> Arrays:
        """Outputs by name, for arrays of the types that the signature takes."""

    async def classify(self, asked: OfExamples, deadline: Deadline) -> Classes:
        """Labels and their scores for each example."""

    async def regress(self, asked: OfExamples, deadline: Deadline) -> list[float]:
        """A value for each example."""

    async def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        """The version that answers, and its signatures."""

    async def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        """The versions that the server knows of."""

    async def names(self, deadline: Deadline) -> list[str]:
        """The models that the server has, none where it does not tell; raises nothing."""

    async def close(self) -> None:
        """Closes the connections."""


async def settled(value: Awaitable[Result] | Result) -> Result:
    """The result of a call that returns it, or that returns what has to be awaited for it.

    So libraries with a blocking and an asynchronous face (httpx, grpc) are used in one way.
    """
    return await value if inspect.isawaitable(value) else value
