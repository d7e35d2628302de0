"""OptInter: which pairs of fields to memorize, to factorize, or to leave alone."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import keras
from pydantic import NonNegativeFloat

from ctr_keras.models import build_model
from ctr_keras.plan import METHODS, Interaction, InteractionPlan
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_methods
from ctr_keras.settings import CountOrAuto
from ctr_keras.types import Array, Settings

_FINAL_TEMPERATURE = 0.01
# What the logits may move in all, where every step is as long as Adam's rate: far beyond the random
# start, of which methods differ by a half.
_WAY = 10.0
# The authors draw tables with deviation 1. So much noise has pairs left alone before their vectors
# mean anything, and with next to none, all methods are kept: noise does not disturb.
_SPREAD = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptInterSearch(Search):
    """Trains a mixture of the three methods for every pair; each keeps its most probable one.

    Weights and the methods' logits learn from the same gradients, by an Adam each. The temperature
    of the mixture falls linearly with the training steps. One pass is enough, and what gates learn
    in it is true of new rows; in later ones, memorizing gains by rows that it has seen. Of more
    passes, with validation rows, the search stops at the first one after which their AUC is not
    higher, and the one before it counts.

    Every pair is a `Crossed` feature of the feature set.

    Args:
        gate_learning_rate: float or None. Of the logits. Defaults to `None`: 10 / steps.
        temperature_rate: float or None. Fall of the temperature a step, from 1 to 0.01.
            Defaults to `None`: over all steps. A bi-level search has none.
        gumbel_noise: bool. Whether to draw noise. The published runs do not.
            Defaults to `False`.
        epochs: int or str. At most. Defaults to `1`.
        batch_size, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        bilevel, seed, jit_compile: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        model_args, verbose: as in `Search`; `model_args` are those of the model `OptInter`, whose
            tables are drawn from a normal distribution with deviation 0.3 unless they say
            otherwise.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> clicks = np.random.default_rng(0).integers(0, 2, (100, 1))
    >>> inputs = {"categorical": np.full((100, 2), [2, 6]), "crossed": np.full((100, 1), 9)}
    >>> plan = OptInterSearch(epochs=1, verbose=False).search(features, (inputs, clicks))
    >>> [interaction.fields for interaction in plan.interactions]
    [('a', 'b')]

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section II-D, Algorithm 1; Table IV.
    """

    base: ClassVar = "OptInter"
    gate_learning_rate: NonNegativeFloat | None = None
    temperature_rate: float | None = None
    gumbel_noise: bool = False
    epochs: CountOrAuto = 1

    def _plan(self, first: Stage) -> InteractionPlan:
        """A method for every pair, with its probability before temperature as gate."""
        fall, rate = self.temperature_rate, self.gate_learning_rate
        if fall is None:
            fall = 0.0 if self.bilevel else (1 - _FINAL_TEMPERATURE) / first.steps
        if rate is None:
            rate = _WAY / first.steps
        mixture = {"temperature_rate": fall, "gumbel_noise": self.gumbel_noise}
        gates = _MethodLogits(
            first,
            keras.optimizers.Adam(rate, epsilon=self.epsilon),
            {**mixture, "embeddings_initializer": _SPREAD, **self.model_args},
        )
        return first.run(gates, stop_early=first.validation is not None)


@dataclasses.dataclass(frozen=True)
class _MethodLogits:
    """The logits of every pair's mixture of methods."""

    stage: Stage
    optimizer: keras.optimizers.Optimizer
    model_args: Settings

    variables = "^combination/logits$"

    def build(self) -> keras.Model:
        return build_model("OptInter", self.stage.features, **self.model_args)

    def names(self, model: keras.Model) -> Sequence[str]:
        return [f"{' x '.join(pair)}, {m}" for pair in self._pairs(model) for m in METHODS]

    def _pairs(self, model: keras.Model) -> list[tuple[str, str]]:
        names = [feature.name for feature in self.stage.features.categorical]
        order = model.get_layer("combination").pair_order
        return [(names[first], names[second]) for first, second in order]

    def values(self, model: keras.Model) -> Array:
        """The methods' probabilities before temperature."""
        logits = model.get_layer("combination").logits
        weights: Array = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
        return weights.ravel()

    def read(self, model: keras.Model) -> InteractionPlan:
        """The most probable method of each pair."""
        weights = self.values(model).reshape(-1, len(METHODS))
        return InteractionPlan(
            Interaction(pair, METHODS[row.argmax()], row.max())
            for pair, row in zip(self._pairs(model), weights, strict=True)
        )

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del model
        return Conclusion(best, of_methods(self.stage.number, course))

    def describe(self, plan: InteractionPlan) -> str:
        counts = Counter(interaction.function for interaction in plan.interactions)
        return ", ".join(f"{counts[method]} {method}" for method in METHODS)
