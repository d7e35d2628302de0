"""The L2 penalty of the rows that a batch reads.

A table `V` with a coefficient `l2` adds to the loss of a batch

    l2 * sum of |V[r]|^2    over the distinct rows r that the batch reads, but row 0 (missing)

so that each of these rows has the gradient `2 l2 V[r]` more, once however often it is read, and no
other row has any. Who adds it depends on who updates the table:

- An optimizer that updates rows sums their gradients, so that it knows the distinct ones and adds
  theirs almost for free. It does so in the training step of `RowTrainer`.
- For any other the layer adds the penalty to the loss. That walks over the whole table and makes
  its gradient dense, as it is for these optimizers, or becomes.

Both penalize the same rows alike, so that a gradient by rows is always without the penalty when an
optimizer gets it, and a dense one is always with it.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from ctr_keras.tables.updating import updates_rows
from ctr_keras.types import Variable

_optimizer: ContextVar[Any] = ContextVar("optimizer", default=None)


@contextlib.contextmanager
def penalties_left_to(optimizer: Any) -> Iterator[None]:
    """Lets an optimizer penalize the tables that it updates by rows, within a training step."""
    token = _optimizer.set(optimizer)
    try:
        yield
    finally:
        _optimizer.reset(token)


def is_left_to_optimizer(table: Variable) -> bool:
    """Whether the optimizer of this training step penalizes a table."""
    return updates_rows(_optimizer.get(), table)
