"""Rows of large tables: looking them up, and training only those that a batch has read.

A table of millions of rows is read in thousands of places by a batch, so neither its gradient nor
its update may walk all of it. What backends do differently for that is in this room:

- `look_up(table, rows)` is how layers read a table.
- `train_step(model, step, ...)` is a training step that differentiates by the rows that were read.
- `is_sparse(gradient)`, `sum_rows`, `read`, `write` are what optimizers update rows with.
- `in_blocks(step, variables, block)` is a walk over all rows of tables, a block after the other.
- `change_if(condition, variable, change)` changes a variable now and then, and costs nothing else.
- `whole(gradient, variable)` is any gradient as a tensor; `has_replicas()` says whether there is
  one of each replica.
- `updates_rows(optimizer, variable)` tells whether an optimizer does so, `catches_up(optimizer)`
  whether rows are to catch up before they are read, and `caught_up()` whether they have.
- `penalty_of_rows`, and whether it `is_left_to_optimizer`: what an L2 penalty of rows is made of.
- `is_symbolic(tensor)` tells whether a tensor stands for values that are not there yet.
"""

import keras
from keras import ops

from ctr_keras.tables.penalty import is_left_to_optimizer, penalties_left_to
from ctr_keras.tables.reading import current_reader
from ctr_keras.tables.updating import catches_up, lags, updates_rows
from ctr_keras.types import Tensor, Variable

if keras.backend.backend() == "tensorflow":
    from ctr_keras.tables import on_tensorflow as _backend
elif keras.backend.backend() == "jax":
    from ctr_keras.tables import on_jax as _backend  # type: ignore[no-redef]
else:
    from ctr_keras.tables import on_others as _backend  # type: ignore[no-redef]

HAS_ROW_GRADIENTS = _backend.HAS_ROW_GRADIENTS  # else all tables are trained whole
caught_up = _backend.caught_up
is_symbolic = _backend.is_symbolic
is_sparse = _backend.is_sparse
sum_rows = _backend.sum_rows
distinct = _backend.distinct
read = _backend.read
write = _backend.write
in_blocks = _backend.in_blocks
change_if = _backend.change_if
whole = _backend.whole
has_replicas = _backend.has_replicas
train_step = _backend.train_step


def look_up(table: Variable, rows: Tensor) -> Tensor:
    """Looks rows of a table up, in a way that a training step can differentiate by rows.

    Args:
        table: keras.Variable `(size, dim)`.
        rows: int tensor of any shape.

    Returns:
        Tensor of the shape of `rows` and `dim`. For a row that the table does not have, TensorFlow
        raises on a CPU and gives zeros elsewhere; JAX gives NaN.

    Example:

    >>> table = keras.Variable([[1.0], [2.0]])
    >>> keras.ops.convert_to_numpy(look_up(table, keras.ops.convert_to_tensor([1, 1]))).tolist()
    [[2.0], [2.0]]
    """
    if keras.backend.backend() == "jax":  # which counts negative rows from the end
        rows = keras.ops.where(rows < 0, table.shape[0], rows)
    reader = current_reader() or _backend.take
    return reader(table, rows)


def penalty_of_rows(table: Variable, rows: Tensor) -> Tensor:
    """The sum of `|V[r]|^2` over distinct rows but row 0, for who trains tables whole.

    Args:
        table: keras.Variable `(size, dim)`.
        rows: int tensor `(n,)`.

    Returns:
        A scalar, whose gradient is as large as the table.

    Raises:
        ValueError: within one of several replicas, which knows its own rows alone.

    Example:

    >>> table = keras.Variable([[9.0], [2.0], [3.0]])
    >>> float(penalty_of_rows(table, keras.ops.convert_to_tensor([0, 1, 1])))
    4.0
    """
    if has_replicas():
        raise ValueError(
            "with several replicas a penalty of the rows that are read (`l2`, `embedding_l2`, "
            "`linear_l2`) needs a sparse optimizer of ctr_keras.optimizers"
        )
    counts = ops.segment_sum(ops.cast(ops.not_equal(rows, 0), "int32"), rows, table.shape[0])
    # Zeros before they are squared: the gradient of a row that is not read would be 0 * NaN.
    read = ops.where(counts[:, None] > 0, ops.convert_to_tensor(table), 0.0)
    return ops.sum(ops.square(read))


__all__ = [
    "HAS_ROW_GRADIENTS",
    "catches_up",
    "caught_up",
    "change_if",
    "distinct",
    "has_replicas",
    "in_blocks",
    "is_left_to_optimizer",
    "is_sparse",
    "is_symbolic",
    "lags",
    "look_up",
    "penalties_left_to",
    "penalty_of_rows",
    "read",
    "sum_rows",
    "train_step",
    "updates_rows",
    "whole",
    "write",
]
