"""The mixin that gives a Keras model the training step of this room."""

from collections.abc import Sequence
from typing import Any

from ctr_keras.tables import train_step, updates_rows
from ctr_keras.tables.checking import CheckedInputs


class RowTrainer(CheckedInputs):
    """Makes a Keras model's `fit` train only the rows of tables that a batch reads.

    It stands before the model's class: functional models, `Sequential` and subclasses with a
    `call` of their own take it alike. It takes one of `ctr_keras.optimizers`' sparse optimizers.

    Ids are checked before they reach the backend, in `fit`, `evaluate`, `predict`, their likes for
    a batch, and eager calls: one that is not of its field is a ValueError that names field, row and
    the ids there are. Generators' batches that lie on a device are checked in the first one only.

    Example:

    >>> import keras
    >>> class Sequential(RowTrainer, keras.Sequential):
    ...     pass
    >>> Sequential([keras.Input((2,)), keras.layers.Dense(1)]).output_shape
    (None, 1)
    """

    optimizer: Any
    trainable_variables: Sequence[Any]

    def train_step(self, *arguments: Any) -> Any:
        scaled = getattr(self.optimizer, "inner_optimizer", None)  # by Keras, for mixed_float16
        if any(updates_rows(scaled, variable) for variable in self.trainable_variables):
            raise ValueError(
                "a sparse optimizer cannot undo the loss scale of mixed_float16: "
                "use mixed_bfloat16, or one of Keras' optimizers (`table_updates=dense`)"
            )
        return train_step(self, super().train_step, *arguments)  # type: ignore[misc]
