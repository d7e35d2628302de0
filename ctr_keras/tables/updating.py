"""What a training step asks an optimizer; one that knows nothing of rows need not answer."""

import keras

from ctr_keras.types import Variable


def updates_rows(optimizer: keras.optimizers.Optimizer, variable: Variable) -> bool:
    """Whether an optimizer updates a variable by rows."""
    answer = getattr(optimizer, "updates_rows", None)
    return answer is not None and answer(variable)


def catches_up(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether `optimizer.catch_up(table, rows)` is to be called before rows are read."""
    return getattr(optimizer, "catches_up", False)


def lags(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether rows wait for `optimizer.catch_up_all()` with weights or their averages."""
    return getattr(optimizer, "lags", False)
