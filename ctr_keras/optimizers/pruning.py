"""Pruning while training: the least weights become zero, more and more of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.keras_internals import built_with
from ctr_keras.optimizers.routed import RoutedOptimizer
from ctr_keras.tables import change_if
from ctr_keras.types import Config, Tensor, Variable

_HALVINGS = 24  # of the range in which the threshold is looked for


@keras.saving.register_keras_serializable(package="ctr_keras")
class PruningOptimizer(RoutedOptimizer):
    """Trains by another optimizer, and sets the least of some weights to zero as it goes.

    After step `k` of those that prune, a share `S (1 - damping^(k / 100))` of a variable's elements
    is zero: many soon, when there are many to choose from, and the last ones slowly. A weight that
    is zero still has its gradient, and stays if it outgrows others before it is pruned again.

    Args:
        optimizer: keras.optimizers.Optimizer that trains all weights.
        sparsities: dict. By regular expression, the share `S` that is zero in the end. A variable
            is of the first one whose expression is found in its `path`; each is pruned by itself.
        damping: float. Below 1. Defaults to `0.99`.
        start: int. Steps before the first one that prunes. Defaults to `0`.
        every: int. Steps from one pruning to the next. Defaults to `10`.
        name: str. Defaults to `"pruning"`.

    Raises:
        ValueError: for a share or a damping that is not from 0 to 1; when it is built, for an
            expression that is found in no path.

    Example:

    >>> weights = keras.Variable([4.0, -1.0, 2.0, 3.0], name="kernel")
    >>> optimizer = PruningOptimizer(
    ...     keras.optimizers.SGD(0.0), {"kernel$": 0.5}, damping=0.0, every=1
    ... )
    >>> optimizer.apply([keras.ops.ones((4,))], [weights])
    >>> keras.ops.convert_to_numpy(weights).tolist()
    [4.0, 0.0, 0.0, 3.0]

    References:
        [DeepLight](https://arxiv.org/abs/2002.06987), its adaptive sparsity, with the threshold and
        the interval of the authors' code.
    """

    def __init__(
        self,
        optimizer: str | keras.optimizers.Optimizer,
        sparsities: Mapping[str, float],
        *,
        damping: float = 0.99,
        start: int = 0,
        every: int = 10,
        name: str = "pruning",
    ) -> None:
        super().__init__(optimizer, {}, name=name)
        shares = {**sparsities, "damping": damping}
        wrong = next((each for each, share in shares.items() if not 0 <= share <= 1), None)
        if wrong is not None:
            raise ValueError(f"{wrong} must be from 0 to 1. Received: {shares[wrong]}")
        self.sparsities = dict(sparsities)
        self.damping = damping
        self.start = start
        self.every = every

    def build(self, variables: Sequence[Variable]) -> None:
        super().build(variables)
        for pattern in self.sparsities:
            if not any(re.search(pattern, variable.path) for variable in variables):
                paths = ", ".join(variable.path for variable in variables)
                raise ValueError(f"{pattern!r} is found in none of the variables: {paths}")

    def hand_on(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> None:
        super().hand_on(gradients, variables)
        step = ops.add(self.iterations, 1 - self.start)
        is_due = ops.logical_and(step > 0, ops.equal(step % self.every, 0))
        grown = 1.0 - self.damping ** (ops.cast(step, "float32") / 100.0)
        for variable in built_with(self):
            sparsity = self._sparsity(variable)
            if sparsity:
                change_if(is_due, variable, _Pruned(sparsity * grown))

    def _sparsity(self, variable: Variable) -> float:
        found = (s for pattern, s in self.sparsities.items() if re.search(pattern, variable.path))
        return next(found, 0.0)

    def get_config(self) -> Config:
        return {
            "optimizer": keras.optimizers.serialize(self.default),
            "sparsities": self.sparsities,
            "damping": self.damping,
            "start": self.start,
            "every": self.every,
            "name": self.name,
        }


class _Pruned:
    """Sets the least elements to zero, so many that no more than a share of all are zero."""

    def __init__(self, share: Tensor) -> None:
        self._share = share

    def __call__(self, weights: Tensor) -> Tensor:
        sizes = ops.abs(weights)

        def halve(_: Any, bounds: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            low, high = bounds
            middle = (low + high) / 2
            below = ops.mean(ops.cast(sizes < middle, "float32"))
            is_low = below <= self._share
            return ops.where(is_low, middle, low), ops.where(is_low, high, middle)

        # Sorting a large table takes many times as long.
        highest = ops.max(sizes)
        threshold, _ = ops.fori_loop(0, _HALVINGS, halve, (ops.zeros_like(highest), highest))
        return ops.where(sizes < threshold, 0.0, weights)
