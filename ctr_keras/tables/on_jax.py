"""Rows of tables on JAX, which differentiates by the rows that were read instead of by the table.

JAX's gradient of a table is an array as large as the table, nearly all of it zeros. But a loss
depends on a table `T` only through the vectors that are looked up, `T[r]` for rows `r`. So the
training step adds an "offset" `o` of zeros to them, `(len(r), dim)`, and holds the table constant:

    loss = f(T[r] + o),    at o = 0

The gradient for `o[i]` is that for vector `i`, and a row's gradient is the sum of these over all
places `i` that have read it. One step is thus:

1. A forward pass that only notes each lookup's table and rows, so that offsets can have their
   shapes. XLA drops whatever of it these do not need, which is all of the layers' arithmetic.
2. The loss, differentiated by the other weights and by the offsets.
3. The update, for which a table's gradient is a `RowGradient`: rows and the gradients of offsets.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import keras
from jax import numpy as jnp

from ctr_keras.keras_internals import logs_and_metrics, loss_and_updates
from ctr_keras.tables.reading import reading_with
from ctr_keras.tables.updating import catches_up, updates_rows
from ctr_keras.types import Tensor, Variable

HAS_ROW_GRADIENTS = True


class RowGradient(NamedTuple):
    """The gradient of a table: `values[i]` for row `indices[i]`, as often as it was read."""

    indices: jax.Array
    values: jax.Array


class Lookup(NamedTuple):
    """Rows of any shape that a forward pass reads from a table."""

    table: Variable
    rows: jax.Array


def take(table: Variable, rows: Tensor) -> Tensor:
    return keras.ops.take(table, rows, axis=0)


def is_symbolic(tensor: jax.Array) -> bool:
    """Whether a tensor has no values, or not all of them here."""
    return isinstance(tensor, jax.core.Tracer) or not tensor.is_fully_addressable


def is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, RowGradient)


def caught_up() -> bool:
    """Whether the rows of this step have caught up: `train_step` alone makes gradients by rows."""
    return True


def sum_rows(gradient: RowGradient, table: Variable) -> tuple[jax.Array, jax.Array]:
    """The distinct rows of a sparse gradient, and the sum of each row's values.

    Shapes are fixed, so there is room for as many as could be. Places that are left over hold rows
    that are not in the table, for which `read` gives 0 and `write` does nothing.
    """
    values = gradient.values.astype(table.dtype)
    count, size = gradient.indices.shape[0], table.shape[0]
    if size <= count:  # a table of all sums is smaller than the gradient, and nothing is sorted
        is_read = jnp.zeros(size, bool).at[gradient.indices].set(True)
        sums = jax.ops.segment_sum(values, gradient.indices, num_segments=size)
        return jnp.where(is_read, jnp.arange(size), size), sums
    order = jnp.argsort(gradient.indices)
    rows, places = _grouped(gradient.indices[order], size)
    sums = jax.ops.segment_sum(values[order], places, num_segments=count, indices_are_sorted=True)
    return rows, sums


def distinct(rows: jax.Array, table: Variable) -> jax.Array:
    return _grouped(jnp.sort(rows.reshape(-1)), table.shape[0])[0]


def _grouped(ordered: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The distinct ones of sorted rows, filled up with `size`, and the place of each among them.

    `[2, 2, 5]` gives `[2, 5, size]` and `[0, 0, 1]`.
    """
    is_first = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    places = jnp.cumsum(is_first) - 1
    return jnp.full(ordered.shape, size, ordered.dtype).at[places].set(ordered), places


def read(variable: Variable, rows: jax.Array) -> Tensor:
    return variable.value.at[rows].get(mode="fill", fill_value=0)


def write(variable: Variable, rows: jax.Array, values: jax.Array) -> None:
    written = variable.value.at[rows].set(values, mode="drop", unique_indices=True)
    variable.assign(written)


def change_if(
    condition: jax.Array, variable: Variable, change: Callable[[jax.Array], jax.Array]
) -> None:
    variable.assign(jax.lax.cond(condition, change, lambda values: values, variable.value))


def in_blocks(step: Callable[[jax.Array], None], written: Sequence[Variable], block: int) -> None:
    """Calls a step with all rows of the variables that it writes, `block` of them at a time.

    The loop is compiled and is given the variables, so that they are changed in place. Rows after
    the last are not in the tables, as in `sum_rows`.
    """
    count = -(-written[0].shape[0] // block)

    def one_block(number: int, values: list[jax.Array]) -> list[jax.Array]:
        with keras.StatelessScope(zip(written, values, strict=True)) as scope:
            step(number * block + jnp.arange(block))
        return [scope.get_current_value(variable) for variable in written]

    def walk(values: list[jax.Array]) -> Any:
        return jax.lax.fori_loop(0, count, one_block, values)

    given = [variable.value for variable in written]
    for place, value in enumerate(given):  # Keras lets averages and weights share an array
        if any(value is other for other in given[:place]):
            given[place] = jnp.copy(value)
    values = jax.jit(walk, donate_argnums=0)(given)
    for variable, value in zip(written, values, strict=True):
        variable.assign(value)


def whole(gradient: Tensor, variable: Variable) -> Tensor:
    del variable
    return gradient


def has_replicas() -> bool:
    return False


def train_step(model: keras.Model, step: Callable[..., Any], state: Any, data: Any) -> Any:
    """A step of Keras' trainer in which tables are differentiated by the rows that are read."""
    is_table = [updates_rows(model.optimizer, v) for v in model.trainable_variables]
    if not any(is_table):
        return step(state, data)
    trainable, others, optimizer_variables, metrics = state
    batch = keras.utils.unpack_x_y_sample_weight(data)
    tables = {id(v) for v, fixed in zip(model.trainable_variables, is_table, strict=True) if fixed}
    lookups = _lookups(
        tables,
        lambda: loss_and_updates(model, trainable, others, metrics, batch, optimizer_variables),
    )
    if catches_up(model.optimizer):
        trainable, optimizer_variables = _caught_up(model, trainable, optimizer_variables, lookups)

    def loss(dense: list[jax.Array], offsets: list[jax.Array]) -> Any:
        given = iter(dense)
        weights = [
            value if fixed else next(given)
            for value, fixed in zip(trainable, is_table, strict=True)
        ]
        with reading_with(_Offsets(tables, offsets)):
            return loss_and_updates(model, weights, others, metrics, batch, optimizer_variables)

    dense = [value for value, fixed in zip(trainable, is_table, strict=True) if not fixed]
    offsets = [jnp.zeros((*rows.shape, table.shape[-1]), table.dtype) for table, rows in lookups]
    differentiated = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, updates), (dense_gradients, offset_gradients) = differentiated(dense, offsets)
    unscaled_loss, predictions, others, metrics = updates
    rest = iter(dense_gradients)
    gradients = [
        _row_gradient(variable, lookups, offset_gradients) if fixed else next(rest)
        for variable, fixed in zip(model.trainable_variables, is_table, strict=True)
    ]
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables, gradients, trainable
    )
    logs, metrics = logs_and_metrics(model, metrics, unscaled_loss, batch, predictions)
    return logs, (trainable, others, optimizer_variables, metrics)


def _lookups(tables: set[int], forward: Callable[[], Any]) -> list[Lookup]:
    """What a forward pass reads from the tables, in its order."""
    found = []

    def record(table: Variable, rows: Tensor) -> Tensor:
        if id(table) in tables:
            found.append(Lookup(table, rows))
        return take(table, rows)

    with reading_with(record):
        forward()
    return found


class _Offsets:
    """Looks rows up without a gradient for the table, and adds the offsets, one a lookup."""

    def __init__(self, tables: set[int], offsets: Sequence[jax.Array]) -> None:
        self._tables = tables
        self._offsets = iter(offsets)

    def __call__(self, table: Variable, rows: Tensor) -> Tensor:
        if id(table) not in self._tables:
            return take(table, rows)
        return jax.lax.stop_gradient(take(table, rows)) + next(self._offsets)


def _row_gradient(
    variable: Variable, lookups: list[Lookup], gradients: Sequence[jax.Array]
) -> RowGradient | None:
    """The gradient of a table from the gradients of all lookups' offsets, None without a lookup."""
    read = [
        (rows.reshape(-1), gradient.reshape(-1, gradient.shape[-1]))
        for (table, rows), gradient in zip(lookups, gradients, strict=True)
        if table is variable
    ]
    if not read:
        return None
    rows, values = (jnp.concatenate(part) for part in zip(*read, strict=True))
    return RowGradient(rows, values)


def _caught_up(
    model: keras.Model,
    trainable: Sequence[jax.Array],
    optimizer_variables: Sequence[jax.Array],
    lookups: list[Lookup],
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Weights and the optimizer's state with the rows that are to be read brought up to date."""
    variables = [*model.trainable_variables, *model.optimizer.variables]
    values = [*trainable, *optimizer_variables]
    with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
        for table, rows in lookups:
            model.optimizer.catch_up(table, distinct(rows, table))
    current = [scope.get_current_value(variable) for variable in variables]
    return current[: len(trainable)], current[len(trainable) :]
