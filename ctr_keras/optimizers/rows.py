"""What the optimizers that update rows of tables share."""

import functools
import re
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from ctr_keras import tables
from ctr_keras.keras_internals import (
    AveragesByRows,
    DecaysInUpdateStep,
    averages,
    built_with,
    decays,
    is_known,
    position,
)
from ctr_keras.optimizers.gradients import check_gradients
from ctr_keras.types import Initializer, Tensor, Variable

# What would walk whole tables or change the method, and what to do instead.
_REFUSED = {
    "ema_overwrite_frequency": "weights are replaced by their averages at the end of `fit` alone",
    "gradient_accumulation_steps": "use a batch_size that many times as large",
    "amsgrad": "use Keras' Adam for it, or leave it out",
    "l2_shrinkage_regularization_strength": "use l2_regularization_strength",
}

# What Keras does with a replica's own gradient, before those of all replicas are summed.
_PER_REPLICA = ("clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor")

_BLOCK = 1 << 16  # rows that a walk over all rows reads at once

# Within `apply`, the rows of the tables whose gradients are sums of rows, by position; with them
# their weights, where they were read already.
_rows_of_step: ContextVar[dict[int, tuple[Tensor, Tensor | None]]] = ContextVar("rows_of_step")


class RowWise(AveragesByRows, DecaysInUpdateStep):
    """Makes an optimizer of Keras, its next base class, update only the rows that a batch has read.

    What the optimizer keeps for a table, its "slots", stands in one variable `(rows, slots * dim)`,
    so that all slots of a row are read and written at once. `_step` is the method's rule.

    Keras is given the sums of the rows that were read for a table's gradient, so that it can clip
    them and undo a loss scale: all other rows are zero, so their norm is that of the whole one.

    A table's attribute `l2` is the coefficient of the penalty of the rows that are read (see
    `tables/penalty.py`). It is part of the gradient: clipping sees it.

    With `use_ema`, a row remembers how many steps its average `a` has seen. In `k` steps without an
    update its weight `w` is constant, so that they make `w + ema_momentum^k (a - w)` of it. This is
    done before the row is updated, and for all rows by `catch_up_all`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        super().__init__(*arguments, **{"name": name, **options})
        for option, remedy in _REFUSED.items():
            if getattr(self, option, None):
                raise ValueError(f"{type(self).__name__} takes no {option}: {remedy}")

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
        """The new weight and slots of some rows, all of them `(rows, dim)`."""
        raise NotImplementedError

    @property
    def lags(self) -> bool:
        """Whether rows wait for `catch_up` with some of what dense training does in every step."""
        return bool(self.use_ema)

    def updates_rows(self, variable: Variable) -> bool:
        """Whether a variable is a table that this optimizer updates by rows.

        A frozen one is not, and a penalty on all of a table needs all of its gradient.
        """
        is_table = getattr(variable, "is_table", False) and variable.trainable
        return tables.HAS_ROW_GRADIENTS and bool(is_table) and variable.regularizer is None

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        # By position of a table, as a string for TensorFlow, which saves no other keys of a dict.
        # One initializer a slot: Keras adds them in `super().build`.
        self._slot_initializers: dict[str, list[Initializer]] = {
            str(index): [] for index, v in enumerate(variables) if self.updates_rows(v)
        }
        self._warn_of_regularizers(variables)
        super().build(variables)
        self._slots = {
            key: self._add_slots(variables[int(key)], initializers)
            for key, initializers in self._slot_initializers.items()
            if initializers
        }
        # The step after which each row was as dense training has it.
        self._updated = {
            key: self.add_variable(
                (variables[int(key)].shape[0],), dtype="int32", name=f"updated_{key}"
            )
            for key in (self._slot_initializers if self.lags else ())
        }

    def _warn_of_regularizers(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            if getattr(variable, "is_table", False) and variable.regularizer is not None:
                warnings.warn(
                    f"{type(self).__name__} updates all rows of {variable.path} in every step, as "
                    "its regularizer is of all of them: for a penalty that costs only the rows "
                    "that are read use `l2` (of models `embedding_l2` and `linear_l2`)",
                    stacklevel=2,
                )

    def add_variable_from_reference(
        self,
        reference_variable: Variable,
        name: str | None = None,
        initializer: Initializer = "zeros",
    ) -> Variable | None:
        """Adds a variable for one of the model; a table's slots are added together later."""
        if name == "average" or not self.updates_rows(reference_variable):
            return super().add_variable_from_reference(reference_variable, name, initializer)
        self._slot_initializers[self._key(reference_variable)].append(initializer)
        return None

    def _key(self, table: Variable) -> str:
        return str(position(self, table))

    def _add_slots(self, table: Variable, initializers: list[Initializer]) -> Variable:
        rows, dim = table.shape

        def drawn_together(shape: tuple[int, int], dtype: str) -> Tensor:
            del shape
            parts = [keras.initializers.get(one)((rows, dim), dtype) for one in initializers]
            return ops.concatenate(parts, axis=1)

        is_zero = all(initializer == "zeros" for initializer in initializers)
        return self.add_variable(
            (rows, dim * len(initializers)),
            initializer="zeros" if is_zero else drawn_together,
            dtype=table.dtype,
            name=f"{table.path.replace('/', '_')}_slots",
        )

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        variables = built_with(self) if trainable_variables is None else list(trainable_variables)
        self.build(variables)
        check_gradients(self, grads, variables)
        token = _rows_of_step.set({})
        try:
            super().apply(
                [self._summed(*pair) for pair in zip(grads, variables, strict=True)],
                trainable_variables,
            )
        finally:
            _rows_of_step.reset(token)

    def _summed(self, gradient: Any, variable: Variable) -> Any:
        """The sums of a table's rows, which are noted; any other gradient as it is."""
        if not (tables.is_sparse(gradient) and self.updates_rows(variable)):
            return gradient
        if not is_known(self, variable):
            return gradient
        if tables.has_replicas():  # whose rows are not the same; `update_step` has all of them
            self._check_replicas()
            return gradient
        rows, sums, weight = self._sum_rows(gradient, variable)
        _rows_of_step.get()[position(self, variable)] = rows, weight
        return sums

    def _sum_rows(self, gradient: Any, table: Variable) -> tuple[Tensor, Tensor, Tensor | None]:
        """The distinct rows of a sparse gradient, the gradient of each with its penalty, and the
        weights, if they serve more than one purpose."""
        rows, sums = tables.sum_rows(gradient, table)
        l2 = getattr(built_with(self)[position(self, table)], "l2", 0.0)
        weight = tables.read(table, rows) if l2 or self.use_ema else None
        if not l2:
            return rows, sums, weight
        scale = 2.0 * l2 * (self.loss_scale_factor or 1.0)
        penalized = ops.where(ops.not_equal(rows, 0)[:, None], weight, 0.0)
        return rows, sums + scale * penalized, weight

    def _check_replicas(self) -> None:
        for option in _PER_REPLICA:
            if getattr(self, option):
                raise ValueError(
                    f"{type(self).__name__} takes no {option} with several replicas: "
                    "leave it out, or train on one device"
                )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Tensor) -> None:
        rate = ops.cast(learning_rate, variable.dtype)
        kept = 1.0 - rate * self.weight_decay if decays(self, variable) else 1.0
        if self._key(variable) in self._slot_initializers:
            rows, gradient = self._rows(gradient, variable)
            self._update_rows(variable, rows, gradient, rate, kept)
            return
        if self.weight_decay is not None:
            self.assign(variable, ops.convert_to_tensor(variable) * kept)
        super().update_step(gradient, variable, learning_rate)

    def _rows(self, gradient: Any, table: Variable) -> tuple[Tensor, Tensor]:
        """The rows that a gradient is for, each once, and the gradient of each."""
        if tables.is_sparse(gradient):
            return self._sum_rows(gradient, table)[:2]
        if position(self, table) in _rows_of_step.get({}):
            rows, _ = _rows_of_step.get()[position(self, table)]
        else:
            rows = ops.arange(table.shape[0], dtype="int32")
        return rows, ops.cast(gradient, table.dtype)

    def _update_rows(
        self, table: Variable, rows: Tensor, gradient: Tensor, rate: Tensor, kept: Tensor
    ) -> None:
        self.catch_up(table, rows)
        weight, *slots = self._read(table, rows)
        self._write(table, rows, self._step(gradient, rate, weight * kept, *slots))

    def catch_up(self, table: Variable, rows: Tensor) -> None:
        """Makes up for the steps that rows have missed.

        Args:
            table: variable of the model.
            rows: int tensor, each row once.
        """
        updated = self._updated.get(self._key(table))
        if updated is None:
            return
        since = tables.read(updated, rows)
        missed = ops.cast(self.iterations, "int32") - since
        self._make_up(table, rows, since, missed)
        tables.write(updated, rows, since + missed)

    def _make_up(self, table: Variable, rows: Tensor, since: Tensor, missed: Tensor) -> None:
        """Makes up for `missed` steps after step `since`, `(rows,)` each."""
        average = averages(self)[position(self, table)]
        weight = self._weight(table, rows)
        # As with Keras, an average starts as the weight after the first step.
        starts = ops.logical_and(since == 0, missed > 0)
        share = ops.where(starts, 0.0, self.ema_momentum ** ops.cast(missed, weight.dtype))
        behind = tables.read(average, rows) - weight
        tables.write(average, rows, weight + share[:, None] * behind)

    def catch_up_all(self) -> None:
        """Makes up for the missed steps of all rows of all tables."""
        if not self.built:
            return
        for key, updated in self._updated.items():
            if ops.min(updated) == ops.cast(self.iterations, "int32"):  # cheap to see
                continue
            table = built_with(self)[int(key)]
            written = [table, updated]
            if key in self._slots:
                written.append(self._slots[key])
            if self.use_ema:
                written.append(averages(self)[int(key)])
            tables.in_blocks(functools.partial(self.catch_up, table), written, _BLOCK)

    def finalize_variable_values(self, variables: Sequence[Variable]) -> None:
        self.catch_up_all()
        super().finalize_variable_values(variables)
        if self.use_ema:  # with Keras on JAX weights are the averages now, the same arrays
            for average in averages(self):
                average.assign(ops.copy(average))

    def _read(self, table: Variable, rows: Tensor) -> list[Tensor]:
        """The weights and the slots of some rows."""
        key = self._key(table)
        weight = self._weight(table, rows)
        if key not in self._slots:
            return [weight]
        slots = tables.read(self._slots[key], rows)
        return [weight, *ops.split(slots, len(self._slot_initializers[key]), axis=1)]

    def _weight(self, table: Variable, rows: Tensor) -> Tensor:
        """The weights of some rows, read at most once in a step that has summed these rows."""
        read, weight = _rows_of_step.get({}).get(position(self, table), (None, None))
        return tables.read(table, rows) if weight is None or read is not rows else weight

    def _write(self, table: Variable, rows: Tensor, values: Sequence[Tensor]) -> None:
        weight, *slots = values
        tables.write(table, rows, weight)
        if slots:
            tables.write(self._slots[self._key(table)], rows, ops.concatenate(slots, axis=1))
