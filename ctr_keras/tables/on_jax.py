"""Rows of tables on JAX, which differentiates by what was read instead of by the table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import keras
from jax import numpy as jnp

from ctr_keras.tables.reading import reading_with


class RowGradient(NamedTuple):
    """The gradient of a table: `values[i]` for row `indices[i]`, as often as it was read."""

    indices: Any
    values: Any


def take(table: Any, rows: Any) -> Any:
    return keras.ops.take(table, rows, axis=0)


def is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, RowGradient)


def sum_rows(gradient: RowGradient, table: Any) -> tuple[Any, Any]:
    """The distinct rows of a sparse gradient, and the sum of what it says of each.

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


def distinct(rows: Any, table: Any) -> Any:
    return _grouped(jnp.sort(rows.reshape(-1)), table.shape[0])[0]


def _grouped(ordered: Any, size: int) -> tuple[Any, Any]:
    """The distinct ones of sorted rows, filled up with `size`, and the place of each among them."""
    is_first = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    places = jnp.cumsum(is_first) - 1
    return jnp.full(ordered.shape, size, ordered.dtype).at[places].set(ordered), places


def read(variable: Any, rows: Any) -> Any:
    return variable.value.at[rows].get(mode="fill", fill_value=0)


def write(variable: Any, rows: Any, values: Any) -> None:
    written = variable.value.at[rows].set(values, mode="drop", unique_indices=True)
    variable.assign(written)


def train_step(model: Any, step: Callable[..., Any], state: Any, data: Any) -> Any:
    """A step of Keras' trainer in which tables are differentiated by the rows that are read.

    To every vector that is looked up an "offset" of zeros is added, and the gradient of that is
    what the table's rows get.
    """
    updates_rows = getattr(model.optimizer, "updates_rows", None)
    if updates_rows is None:
        return step(state, data)
    tables = {id(variable) for variable in model.trainable_variables if updates_rows(variable)}
    if not tables:
        return step(state, data)
    trainable, others, optimizer_variables, metrics = state
    is_table = [id(variable) in tables for variable in model.trainable_variables]
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    lookups = _lookups(model, tables, trainable, others, x)
    if getattr(model.optimizer, "exact", False):
        trainable, optimizer_variables = _caught_up(model, trainable, optimizer_variables, lookups)

    def loss_and_updates(dense: list[Any], offsets: list[Any]) -> Any:
        given = iter(dense)
        merged = [
            table if fixed else next(given)
            for table, fixed in zip(trainable, is_table, strict=True)
        ]
        with reading_with(_Offsets(tables, offsets)):
            return model.compute_loss_and_updates(
                merged,
                others,
                metrics,
                x,
                y,
                weight,
                training=True,
                optimizer_variables=optimizer_variables,
            )

    dense = [value for value, fixed in zip(trainable, is_table, strict=True) if not fixed]
    offsets = [jnp.zeros((*rows.shape, table.shape[-1]), table.dtype) for table, rows in lookups]
    differentiated = jax.value_and_grad(loss_and_updates, argnums=(0, 1), has_aux=True)
    (_, updates), (dense_gradients, offset_gradients) = differentiated(dense, offsets)
    loss, predicted, others, metrics = updates
    rest = iter(dense_gradients)
    gradients = [
        _row_gradient(variable, lookups, offset_gradients) if fixed else next(rest)
        for variable, fixed in zip(model.trainable_variables, is_table, strict=True)
    ]
    trainable, optimizer_variables = model.optimizer.stateless_apply(
        optimizer_variables, gradients, trainable
    )
    logs, metrics = model._update_metrics_variables(metrics, loss, x, y, predicted, weight)
    return logs, (trainable, others, optimizer_variables, metrics)


def _lookups(
    model: Any, tables: set[int], trainable: Any, others: Any, x: Any
) -> list[tuple[Any, Any]]:
    """The tables that a forward pass reads, with the rows; XLA drops what it computes besides."""
    found = []

    def record(table: Any, rows: Any) -> Any:
        if id(table) in tables:
            found.append((table, rows))
        return take(table, rows)

    with reading_with(record):
        model.stateless_call(trainable, others, x, training=True)
    return found


class _Offsets:
    """Looks rows up without a gradient for the table, and adds the offsets, one a lookup."""

    def __init__(self, tables: set[int], offsets: list[Any]) -> None:
        self._tables = tables
        self._offsets = iter(offsets)

    def __call__(self, table: Any, rows: Any) -> Any:
        if id(table) not in self._tables:
            return take(table, rows)
        return jax.lax.stop_gradient(take(table, rows)) + next(self._offsets)


def _row_gradient(variable: Any, lookups: list[tuple[Any, Any]], gradients: list[Any]) -> Any:
    read = [
        (rows.reshape(-1), gradient.reshape(-1, gradient.shape[-1]))
        for (table, rows), gradient in zip(lookups, gradients, strict=True)
        if table is variable
    ]
    rows, values = (jnp.concatenate(part) for part in zip(*read, strict=True))
    return RowGradient(rows, values)


def _caught_up(
    model: Any, trainable: list[Any], optimizer_variables: list[Any], lookups: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Weights and the optimizer's state with the rows that are to be read brought up to date."""
    variables = [*model.trainable_variables, *model.optimizer.variables]
    values = [*trainable, *optimizer_variables]
    with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
        for table, rows in lookups:
            model.optimizer.catch_up(table, distinct(rows, table))
    current = [scope.get_current_value(variable) for variable in variables]
    return current[: len(trainable)], current[len(trainable) :]
