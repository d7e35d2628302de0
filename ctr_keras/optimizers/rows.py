"""What the optimizers that update rows of tables share."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras import tables
from ctr_keras.keras_internals import DecaysInUpdateStep, decays, position
from ctr_keras.types import Initializer, Tensor, Variable

# They would walk whole tables, change the method, or need a gradient of the whole table.
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


class RowWise(DecaysInUpdateStep):
    """Makes an optimizer of Keras, its next base class, update only the rows that a batch has read.

    What the optimizer keeps for a table, its "slots", stands in one variable `(rows, slots * dim)`,
    so that all slots of a row are read and written at once. `_step` is the method's rule.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        super().__init__(*arguments, **{"name": name, **options})
        refused = [option for option in _REFUSED if getattr(self, option, None)]
        if refused:
            raise ValueError(f"{type(self).__name__} takes no {', '.join(refused)}")

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
        """The new weight and slots of some rows, all of them `(rows, dim)`."""
        raise NotImplementedError

    def updates_rows(self, variable: Variable) -> bool:
        """Whether a variable is a table that this optimizer updates by rows.

        A frozen one is not, and a penalty on all of a table needs all of its gradient.
        """
        is_table = getattr(variable, "is_table", False) and variable.trainable
        return bool(is_table) and variable.regularizer is None

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        # By position of a table, one initializer a slot: Keras adds them in `super().build`.
        self._slot_initializers: dict[int, list[Initializer]] = {
            index: [] for index, v in enumerate(variables) if self.updates_rows(v)
        }
        super().build(variables)
        self._slots = {
            index: self._add_slots(variables[index], initializers)
            for index, initializers in self._slot_initializers.items()
            if initializers
        }

    def add_variable_from_reference(
        self,
        reference_variable: Variable,
        name: str | None = None,
        initializer: Initializer = "zeros",
    ) -> Variable | None:
        """Adds a variable for one of the model; those for a table are added together later."""
        if not self.updates_rows(reference_variable):
            return super().add_variable_from_reference(reference_variable, name, initializer)
        self._slot_initializers[position(self, reference_variable)].append(initializer)
        return None

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

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Tensor) -> None:
        index = position(self, variable)
        rate = ops.cast(learning_rate, variable.dtype)
        kept = 1.0 - rate * self.weight_decay if decays(self, variable) else 1.0
        if index in self._slot_initializers:
            rows, gradient = _rows(gradient, variable)
            self._update_rows(variable, rows, gradient, rate, kept)
            return
        if self.weight_decay is not None:
            self.assign(variable, ops.convert_to_tensor(variable) * kept)
        super().update_step(gradient, variable, learning_rate)

    def _update_rows(
        self, table: Variable, rows: Tensor, gradient: Tensor, rate: Tensor, kept: Tensor
    ) -> None:
        weight, *slots = self._read(table, rows)
        self._write(table, rows, self._step(gradient, rate, weight * kept, *slots))

    def _read(self, table: Variable, rows: Tensor) -> list[Tensor]:
        """The weights and the slots of some rows."""
        index = position(self, table)
        weight = tables.read(table, rows)
        if index not in self._slots:
            return [weight]
        slots = tables.read(self._slots[index], rows)
        return [weight, *ops.split(slots, len(self._slot_initializers[index]), axis=1)]

    def _write(self, table: Variable, rows: Tensor, values: Sequence[Tensor]) -> None:
        weight, *slots = values
        tables.write(table, rows, weight)
        if slots:
            tables.write(self._slots[position(self, table)], rows, ops.concatenate(slots, axis=1))


def _rows(gradient: Any, table: Variable) -> tuple[Tensor, Tensor]:
    """The rows that a gradient is for, each once, and the gradient of each."""
    if tables.is_sparse(gradient):
        return tables.sum_rows(gradient, table)
    return ops.arange(table.shape[0], dtype="int32"), ops.cast(gradient, table.dtype)
