"""Canonical status codes, and the error that carries one; needs nothing but Python."""

import enum


class Code(enum.IntEnum):
    """Canonical status codes; the numbers are those of gRPC, TensorFlow and `absl::Status`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """An answer that is not OK.

    Args:
        code: Code. What kind of failure; decides the HTTP and the gRPC status.
        message: str. What the caller is told.

    Example:

    >>> str(StatusError(Code.NOT_FOUND, "Could not find any versions of model m"))
    'NOT_FOUND: Could not find any versions of model m'
    """

    def __init__(self, code: Code, message: str):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def invalid_argument(message: str) -> StatusError:
    """A `StatusError` that blames the request."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """A `StatusError` for a model, version or file that does not exist."""
    return StatusError(Code.NOT_FOUND, message)
