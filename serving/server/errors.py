"""Whatever goes wrong in the server, as the canonical status code and message it answers with."""

import logging
import re

import tensorflow as tf

from serving.codes import Code, StatusError, not_found

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


def as_status_error(error: Exception) -> StatusError:
    """Turns any exception into a `StatusError`, keeping the code that TensorFlow gave it.

    Errors that carry no canonical code are INTERNAL.
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
_NODES = re.compile(r"(\n\t \[\[\{\{node [^\n]*)+$")


def _op_message(message: str) -> str:
    """Drops what execution puts around the text of the failing op itself."""
    return _NODES.sub("", _EAGER_OP.sub("", _STACK.sub("", message)))
