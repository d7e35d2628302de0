"""Gradients of tables that were made by another training step than `RowTrainer`'s."""

import warnings
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import keras

from ctr_keras import tables
from ctr_keras.types import Variable

_REMEDY = (
    "train a model of ctr_keras.models or of `class Model(RowTrainer, keras.Model)` by `fit` or "
    "`train_on_batch`, with this optimizer alone or in a RoutedOptimizer"
)
_warned: WeakSet[keras.optimizers.Optimizer] = WeakSet()


def check_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[Any], variables: Sequence[Variable]
) -> None:
    """Checks that an optimizer can update tables by rows as it promises.

    It warns, once for an optimizer, of a table's dense gradient, which costs a walk over all rows.

    Raises:
        ValueError: for a gradient by rows that have not caught up before they were read.
    """
    for gradient, variable in zip(gradients, variables, strict=True):
        if gradient is None or not tables.updates_rows(optimizer, variable):
            continue
        kind = type(optimizer).__name__
        if not tables.is_sparse(gradient):
            if optimizer not in _warned:
                _warned.add(optimizer)
                message = f"{kind} got a dense gradient and updates all rows of {variable.path}"
                warnings.warn(f"{message}: {_REMEDY}", stacklevel=3)
        elif tables.catches_up(optimizer) and not tables.caught_up():
            raise ValueError(
                f"{kind} got the gradient of rows that have not caught up before they were read, "
                f"which exact=True and table_decay need: {_REMEDY}, or do without them"
            )
