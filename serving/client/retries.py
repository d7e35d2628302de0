"""The client's errors, how long a call may take, and when it is tried again."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from serving.codes import Code


class ServingError(RuntimeError):
    """What the server answered when it was not the answer, or why it did not answer.

    Args:
        code: Code. The canonical status code; over REST as near as the HTTP status tells.
        message: str. The server's message, or what happened to the connection.
        retryable: bool. Whether the same request may succeed a moment later. Defaults to False.

    Example:

    >>> str(ServingError(Code.NOT_FOUND, "Servable not found for request: Latest(ctr)"))
    'NOT_FOUND: Servable not found for request: Latest(ctr)'
    """

    def __init__(self, code: Code, message: str, retryable: bool = False):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True)
class Retry:
    """When to ask again after an overloaded server (503, 429, UNAVAILABLE) or a lost connection.

    Bounds of delays grow exponentially, and each delay is drawn from the upper half below its
    bound, so that clients that failed together do not come back together. Other errors are never
    tried again.

    Args:
        attempts: int. How often to ask in all; 1 is once. Defaults to 4.
        first_delay: float. Bound of the first delay in seconds. Defaults to 0.1.
        multiplier: float. How much the bound grows each time. Defaults to 2.
        max_delay: float. Largest bound in seconds. Defaults to 5.

    Raises:
        ValueError: if a value makes no sense.

    Example:

    >>> [round(bound, 1) for bound in Retry(attempts=4, max_delay=0.3).bounds()]
    [0.1, 0.2, 0.3]
    """

    attempts: int = 4
    first_delay: float = 0.1
    multiplier: float = 2.0
    max_delay: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")
        if self.first_delay < 0 or self.max_delay < 0 or self.multiplier < 1:
            raise ValueError(f"delays must not be negative, nor shrink, got {self}")

    def bounds(self) -> Iterator[float]:
        """Yields the bound of the delay before each further attempt, in seconds."""
        bound = self.first_delay
        for _ in range(self.attempts - 1):
            yield min(bound, self.max_delay)
            bound *= self.multiplier

    def delays(self) -> Iterator[float]:
        """Yields the delay before each further attempt, in seconds."""
        for bound in self.bounds():
            yield random.uniform(bound / 2, bound)


class Deadline:
    """The moment when a call has to be over, a positive number of seconds from now."""

    def __init__(self, seconds: float):
        if not seconds > 0:
            raise ValueError(f"timeout must be a positive number of seconds, got {seconds}")
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self, needed: float = 0.0) -> float:
        """How many seconds are left; DEADLINE_EXCEEDED is raised if no more than `needed`."""
        seconds = self._end - time.monotonic()
        if seconds <= needed:
            raise self.exceeded()
        return seconds

    def exceeded(self) -> ServingError:
        """The error of a call that was not over in time."""
        return ServingError(Code.DEADLINE_EXCEEDED, f"no answer within {self._seconds:g} s")
