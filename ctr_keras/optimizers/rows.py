"""Optimizers that update the rows of a table that a batch has read, and no others."""

from typing import Any

import keras
from keras import ops

from ctr_keras import tables

# What would have to walk whole tables, would be another method than of the same name, or cannot be
# done to a gradient by rows.
_REFUSED = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "amsgrad",
    "l2_shrinkage_regularization_strength",
)


class RowWise(keras.optimizers.Optimizer):
    """What makes a Keras optimizer update rows where a gradient is sparse.

    What the optimizer keeps for a table (its "slots") stands side by side in one variable, so that
    a row of it is read and written at once. `_step` says what becomes of some rows.
    """

    def __init__(self, **kwargs: Any) -> None:
        given = [option for option in _REFUSED if kwargs.get(option)]
        if given:
            raise ValueError(f"{type(self).__name__} takes no {', '.join(given)}")
        super().__init__(**kwargs)

    def updates_rows(self, variable: Any) -> bool:
        """Whether a variable is a table that this optimizer updates by rows.

        A frozen one is not, and a penalty on all of a table needs all of its gradient.
        """
        is_table = getattr(variable, "is_table", False) and variable.trainable
        return bool(is_table) and variable.regularizer is None

    def build(self, variables: Any) -> None:
        if self.built:
            return
        self._initializers: dict[int, list[Any]] = {
            index: [] for index, v in enumerate(variables) if self.updates_rows(v)
        }
        super().build(variables)
        self._slots = {
            index: self._add_slots(variables[index], initializers)
            for index, initializers in self._initializers.items()
            if initializers
        }

    def add_variable_from_reference(
        self, reference_variable: Any, name: Any = None, initializer: Any = "zeros"
    ) -> Any:
        """Adds a variable for one of the model; those for a table are added together later."""
        if not self.updates_rows(reference_variable):
            return super().add_variable_from_reference(reference_variable, name, initializer)
        self._initializers[self._get_variable_index(reference_variable)].append(initializer)
        return None

    def _add_slots(self, table: Any, initializers: list[Any]) -> Any:
        rows, dim = table.shape

        def side_by_side(shape: Any, dtype: Any) -> Any:
            del shape
            parts = [keras.initializers.get(one)((rows, dim), dtype) for one in initializers]
            return ops.concatenate(parts, axis=1)

        is_zero = all(initializer == "zeros" for initializer in initializers)
        return self.add_variable(
            (rows, dim * len(initializers)),
            initializer="zeros" if is_zero else side_by_side,
            dtype=table.dtype,
            name=f"{table.path.replace('/', '_')}_slots",
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        kept = 1.0
        if self.weight_decay is not None and self._use_weight_decay(variable):
            kept = 1.0 - rate * self.weight_decay
        if index in self._initializers:
            rows, gradient = self._rows(gradient, variable)
            self._update_rows(variable, index, rows, gradient, rate, kept)
            return
        if self.weight_decay is not None:
            self.assign(variable, ops.convert_to_tensor(variable) * kept)
        super().update_step(gradient, variable, learning_rate)

    def _rows(self, gradient: Any, table: Any) -> tuple[Any, Any]:
        if tables.is_sparse(gradient):
            return tables.sum_rows(gradient, table)
        return ops.arange(table.shape[0], dtype="int32"), ops.cast(gradient, table.dtype)

    def _update_rows(
        self, table: Any, index: int, rows: Any, gradient: Any, rate: Any, kept: Any
    ) -> None:
        weight, slots = self._read(table, index, rows)
        self._write(table, index, rows, self._step(gradient, rate, weight * kept, *slots))

    def _read(self, table: Any, index: int, rows: Any) -> tuple[Any, list[Any]]:
        """Some rows of a table, and of what is kept for it."""
        slots = self._slots.get(index)
        if slots is None:
            return tables.read(table, rows), []
        count = len(self._initializers[index])
        return tables.read(table, rows), ops.split(tables.read(slots, rows), count, axis=1)

    def _write(self, table: Any, index: int, rows: Any, values: Any) -> None:
        weight, *slots = values
        tables.write(table, rows, weight)
        if slots:
            tables.write(self._slots[index], rows, ops.concatenate(slots, axis=1))

    def _apply_weight_decay(self, variables: Any) -> None:
        """Weights decay in `update_step`, where it is known which rows a batch has read."""

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        raise NotImplementedError
