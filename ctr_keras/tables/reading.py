"""Who answers when a layer looks rows up."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

from ctr_keras.types import Tensor, Variable

Reader = Callable[[Variable, Tensor], Tensor]  # table `(size, dim)` and rows to vectors

_reader: contextvars.ContextVar[Reader | None] = contextvars.ContextVar("reader", default=None)


def current_reader() -> Reader | None:
    """The function that answers, None for the backend itself."""
    return _reader.get()


@contextlib.contextmanager
def reading_with(reader: Reader) -> Iterator[None]:
    """Lets a function answer inside the block."""
    token = _reader.set(reader)
    try:
        yield
    finally:
        _reader.reset(token)
