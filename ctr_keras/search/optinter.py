"""OptInter: which pairs of fields to memorize, to factorize, or to leave alone."""

import dataclasses
from collections import Counter
from typing import ClassVar

import keras
from pydantic import NonNegativeFloat

from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.plan import METHODS, Interaction, InteractionPlan
from ctr_keras.search.stage import Search, Stage
from ctr_keras.settings import Count
from ctr_keras.types import Settings

_FINAL_TEMPERATURE = 0.01
# Of the authors' search: a pair that is only noise disturbs, so that to leave it alone pays.
# A description, of which each table makes an initializer: one that is shared draws the same twice.
_WIDE = {"class_name": "RandomNormal", "config": {"stddev": 1.0}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptInterSearch(Search):
    """Trains a mixture of the three methods for every pair; each keeps its most probable one.

    Weights and the methods' logits learn from the same gradients, by an Adam each. The temperature
    of the mixture falls linearly with the training steps. With validation rows the search stops at
    the first epoch after which their AUC is not higher, and the epoch before it counts.

    Every pair is a `Crossed` feature of the feature set.

    Args:
        gate_learning_rate: float. Of the logits. Defaults to `3e-05`.
        temperature_rate: float or None. Fall of the temperature a step, from 1 to 0.01.
            Defaults to `None`: over one epoch, as on Criteo. A bi-level search has none.
        gumbel_noise: bool. Whether to draw noise. The published runs do not.
            Defaults to `False`.
        learning_rate: float. Of Adam. Defaults to `0.0001`.
        epochs: int. At most. Defaults to `10`.
        rounds: int. As in `Search`. Defaults to `1`.
        batch_size, learning_rate_decay, epsilon, bilevel, seed, jit_compile: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        model_args, verbose: as in `Search`; `model_args` are those of the model `OptInter`, whose
            tables are drawn from a normal distribution with variance 1 unless they say otherwise.

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
    gate_learning_rate: NonNegativeFloat = 3e-5
    temperature_rate: float | None = None
    gumbel_noise: bool = False
    learning_rate: NonNegativeFloat = 1e-4
    epochs: Count = 10
    rounds: Count = 1

    def _plan(self, first: Stage) -> InteractionPlan:
        """A method for every pair, with its probability before temperature as gate."""
        rate = self.temperature_rate
        if rate is None:
            rate = 0.0 if self.bilevel else (1 - _FINAL_TEMPERATURE) / first.epoch_steps
        mixture = {"temperature_rate": rate, "gumbel_noise": self.gumbel_noise}
        gates = _MethodLogits(
            first.features,
            keras.optimizers.Adam(self.gate_learning_rate, epsilon=self.epsilon),
            {**mixture, "embeddings_initializer": _WIDE, **self.model_args},
        )
        return first.run(gates, stop_early=first.validation is not None)


@dataclasses.dataclass(frozen=True)
class _MethodLogits:
    """The logits of every pair's mixture of methods."""

    features: FeatureSet
    optimizer: keras.optimizers.Optimizer
    model_args: Settings

    variables = "^combination/logits$"

    def build(self) -> keras.Model:
        return build_model("OptInter", self.features, **self.model_args)

    def read(self, model: keras.Model) -> InteractionPlan:
        """The most probable method of each pair."""
        layer = model.get_layer("combination")
        names = [feature.name for feature in self.features.categorical]
        weights = keras.ops.convert_to_numpy(keras.ops.softmax(layer.logits, axis=-1))
        return InteractionPlan(
            Interaction((names[first], names[second]), method, row.max())
            for (first, second), method, row in zip(
                layer.pair_order, layer.selection(), weights, strict=True
            )
        )

    def describe(self, plan: InteractionPlan) -> str:
        counts = Counter(interaction.function for interaction in plan.interactions)
        return ", ".join(f"{counts[method]} {method}" for method in METHODS)
