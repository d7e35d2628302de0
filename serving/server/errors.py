"""The one kind of error the server answers with: a canonical status code and a message."""

import logging
import re

import tensorflow as tf

from serving.codes import Code

log = logging.getLogger(__name__)

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


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
    """A `StatusError` for a model, version or file that is not there."""
    return StatusError(Code.NOT_FOUND, message)


def as_status_error(error: Exception) -> StatusError:
    """Turns any exception into a `StatusError`, keeping the code that TensorFlow gave it.

    Args:
        error: Exception. Anything raised while a model is loaded or run.

    Returns:
        A `StatusError`. Errors that carry no canonical code are INTERNAL.
    """
    if isinstance(error, StatusError):
        return error
    if isinstance(error, tf.errors.OpError):
        return StatusError(Code(error.error_code), _op_message(error.message))
    if isinstance(error, FileNotFoundError):
        return not_found(str(error))
    if isinstance(error, MemoryError):
        return StatusError(Code.RESOURCE_EXHAUSTED, "out of memory")
    log.error("Unexpected error", exc_info=error)
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")


_STACK = re.compile(r".*<stack traces unavailable>\n", re.DOTALL)
_EAGER_OP = re.compile(r" \[Op:[^\]]*\]( name: \S*)?$")


def _op_message(message: str) -> str:
    """Drops what eager execution puts around the text of the failing op itself."""
    return _EAGER_OP.sub("", _STACK.sub("", message))
