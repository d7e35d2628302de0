"""Gates of interactions, which AutoFIS, AIM and DeepLight share, those of the first two under GRDA;
candidates of higher orders."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Protocol

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.layers import GatedInteraction
from ctr_keras.models import build_model
from ctr_keras.models.interactions import Kind, table_name
from ctr_keras.optimizers import GRDA
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search.closing import GatedTerms, Keep, choose
from ctr_keras.search.stage import Conclusion, Stage
from ctr_keras.search.verdict import Course, of_gates
from ctr_keras.types import Array, Settings

_START = 0.6  # of AutoFIS' gates
# Where the threshold ends: at 1 it closes what has not grown, as in the paper's runs on Avazu;
# below the start it presses gates down and leaves them to be ranked.
_CLOSING, _RANKING = 1.0, 0.5


class Closing(Protocol):
    """How gates close as they are trained, and which stay open in the end."""

    @property
    def keep(self) -> Keep:
        """As `choose` takes it; None for all that training has left open."""

    def optimizer(self, stage: Stage) -> keras.optimizers.Optimizer:
        """Of the gates of a stage."""

    def hint(self, stage: Stage) -> str:
        """What would have left gates open, where all are closed."""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """GRDA's threshold and how it grows."""

    c: float | None  # None for one with which the threshold ends as `keep` needs it
    mu: float
    learning_rate: float
    decay: float  # of the learning rate after each round
    keep: Keep  # None for all that the threshold has left

    def optimizer(self, stage: Stage) -> GRDA:
        """GRDA for a stage."""
        schedule = stage.decayed(self.learning_rate, self.decay)
        end = _CLOSING if self.keep is None else _RANKING
        return GRDA(schedule, self.ending_at(end, stage) if self.c is None else self.c, self.mu)

    def hint(self, stage: Stage) -> str:
        """What would have left gates open, where all are closed."""
        return (
            f"They start at {_START}: with c={self.ending_at(_START, stage):.2g} the threshold "
            "ends there, and those that grew stay open"
        )

    def ending_at(self, value: float, stage: Stage) -> float:
        """The factor with which the threshold ends at a value."""
        steps = np.arange(stage.steps)
        rates = self.learning_rate * self.decay ** (steps // stage.round_steps)
        growth = (steps + 1) ** self.mu - steps**self.mu
        return float(value / np.sum(rates ** (0.5 + self.mu) * growth))


# As the authors draw tables. Gates close from the first steps on, where interactions of the narrow
# tables that models train best from are still zero.
DRAWN: Settings = {"embeddings_initializer": "glorot_uniform"}


@dataclasses.dataclass(frozen=True)
class InteractionGates:
    """The gates of some kinds of interactions; those of others are trained as weights."""

    stage: Stage
    base: str
    candidates: InteractionPlan
    kinds: Sequence[Kind]
    closing: Closing
    normalized: bool = True

    @property
    def variables(self) -> str:
        return f"^({'|'.join(map(table_name, self.kinds))})/gates$"

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        return self.closing.optimizer(self.stage)

    def names(self, model: keras.Model) -> Sequence[str]:
        del model
        return [interaction_name(interaction) for interaction in self._searched]

    @property
    def _searched(self) -> list[Interaction]:
        """The candidates of the searched kinds, in the order of their gates."""
        names = self.stage.features.field_names
        return [
            Interaction(tuple(names[index] for index in term), kind[1])
            for kind in self.kinds
            for term in self.candidates.combinations(names, *kind)
        ]

    @property
    def arguments(self) -> Settings:
        """Of the model's builder, but the interactions."""
        gates = {"gated": True, "normalized": self.normalized}
        return {**gates, **DRAWN, **self.stage.settings.model_args}

    def build(self) -> keras.Model:
        features, arguments = self.stage.features, self.arguments
        return build_model(self.base, features, interactions=self.candidates, **arguments)

    def values(self, model: keras.Model) -> Array:
        gates = [keras.ops.convert_to_numpy(layer.gates) for layer in self._layers(model)]
        return np.concatenate(gates)

    def _layers(self, model: keras.Model) -> list[GatedInteraction]:
        return [model.get_layer(table_name(kind)) for kind in self.kinds]

    def read(self, model: keras.Model) -> InteractionPlan:
        values = self.values(model)
        return self._plan(values, values != 0)

    def _plan(self, values: Array, is_open: Array) -> InteractionPlan:
        others = (i for i in self.candidates.interactions if not self._is_searched(i))
        found = (
            dataclasses.replace(interaction, gate=value)
            for interaction, value, kept in zip(self._searched, values, is_open, strict=True)
            if kept
        )
        return InteractionPlan(itertools.chain(others, found))

    def describe(self, plan: InteractionPlan) -> str:
        count = sum(map(self._is_searched, plan.interactions))
        return f"{count} of {len(self._searched)} gates open"

    def _is_searched(self, interaction: Interaction) -> bool:
        return (interaction.order, interaction.function) in self.kinds

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best  # the last round counts
        values = self.values(model)
        gated = functools.partial(GatedTerms, model, self._layers(model))
        judge = self.stage.judge(model, len(values), gated)
        is_open, tried = choose(values, self.closing.keep, judge)
        hint = self.closing.hint(self.stage)
        verdict = of_gates(self.stage.number, course, is_open, tried, hint)
        effects = [None] * len(values) if judge is None else judge.effects(is_open).tolist()
        every = zip(self._searched, values, effects, is_open, strict=True)
        kept = ((i.fields, i.function, gate, effect) for i, gate, effect, stays in every if stays)
        return Conclusion(self._plan(values, is_open), verdict.with_kept(kept))


def interaction_name(interaction: Interaction) -> str:
    """Its fields and its function, in words.

    Example:

    >>> interaction_name(Interaction(("user", "item"), "outer"))
    'user x item, outer'
    """
    return f"{' x '.join(interaction.fields)}, {interaction.function}"


def candidate_fields(features: FeatureSet) -> list[str]:
    """The fields whose interactions are searched: crossed features are interactions already."""
    crossed = {feature.name for feature in features.crossed}
    return [name for name in features.field_names if name not in crossed]


def candidate_pool(
    plan: InteractionPlan,
    order: int,
    functions: Sequence[str],
    field_names: Sequence[str],
    top: int,
) -> list[Interaction]:
    """Candidates of an order: the best of the order below, each with one field more.

    Args:
        plan: InteractionPlan with interactions of `order - 1`.
        order: int. 3 or 4.
        functions: list of str. The interaction functions that share the pool: what they have kept
            is extended by its largest gate, and each extension tried with all of them.
        field_names: list of str.
        top: int. How many of the order below to extend.

    Example:

    >>> plan = InteractionPlan([Interaction(("a", "b")), Interaction(("b", "c"), gate=0.1)])
    >>> [i.fields for i in candidate_pool(plan, 3, ["inner"], ["a", "b", "c", "d"], top=1)]
    [('a', 'b', 'c'), ('a', 'b', 'd')]

    References:
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, Algorithm 1.
    """
    position = list(field_names).index
    gates: dict[tuple[str, ...], float] = {}
    for i in plan.interactions:
        if i.order == order - 1 and i.function in functions:
            gates[i.fields] = max(abs(i.gate), gates.get(i.fields, 0.0))
    extended = {
        tuple(sorted((*fields, name), key=position))
        for fields in sorted(gates, key=lambda fields: -gates[fields])[:top]
        for name in field_names
        if name not in fields
    }
    ordered = sorted(extended, key=lambda fields: [position(name) for name in fields])
    return [Interaction(fields, function) for function in functions for fields in ordered]
