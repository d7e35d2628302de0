"""A model with the averages of its weights in their place, for as long as it is looked at."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from ctr_keras.keras_internals import averages, built_with
from ctr_keras.optimizers.routed import RoutedOptimizer
from ctr_keras.types import Variable


@contextlib.contextmanager
def averaged(model: Any) -> Iterator[None]:
    """Lets a model be evaluated and saved with the averages of its weights, and then go on.

    Weights and averages change places, one variable at a time, and change back at the end: each has
    the very values it had before. Nothing happens where the optimizer has no `use_ema`.

    Args:
        model: keras.Model with the mixin `RowTrainer`, between two epochs of `fit`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import FM
    >>> from ctr_keras.optimizers import SparseAdam
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = FM(features, dim=2)
    >>> model.compile(SparseAdam(use_ema=True), "binary_crossentropy")
    >>> with averaged(model):
    ...     model.count_params()
    16
    """
    pairs = _pairs(model.optimizer)
    if pairs:
        model.catch_up()  # rows that rest have an average that lags
    _exchange(pairs)
    try:
        yield
    finally:
        _exchange(pairs)


def _pairs(optimizer: keras.optimizers.Optimizer) -> list[tuple[Variable, Variable]]:
    """The weights that an optimizer averages, each with its average."""
    if isinstance(optimizer, RoutedOptimizer):
        return [pair for one in optimizer.optimizers for pair in _pairs(one)]
    if not (optimizer.use_ema and optimizer.built):
        return []
    return list(zip(built_with(optimizer), averages(optimizer), strict=True))


def _exchange(pairs: list[tuple[Variable, Variable]]) -> None:
    for weight, average in pairs:
        value = ops.copy(weight)
        weight.assign(ops.copy(average))
        average.assign(value)
