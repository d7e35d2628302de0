"""What AutoFIS' and AIM's searches share: gates under GRDA, and candidates of higher orders."""

import dataclasses
import itertools
from collections.abc import Sequence

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.models.interactions import Kind, table_name
from ctr_keras.optimizers import GRDA
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search.stage import Stage
from ctr_keras.types import Settings

_START = 0.6  # of AutoFIS' gates


@dataclasses.dataclass(frozen=True)
class Threshold:
    """How GRDA's threshold grows."""

    c: float | None  # None for one with which the threshold ends at 1
    mu: float
    learning_rate: float
    decay: float  # of the learning rate after each round

    def optimizer(self, stage: Stage) -> GRDA:
        """GRDA for a stage."""
        schedule = stage.decayed(self.learning_rate, self.decay)
        return GRDA(schedule, self.ending_at(1.0, stage) if self.c is None else self.c, self.mu)

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

    features: FeatureSet
    base: str
    candidates: InteractionPlan
    kinds: Sequence[Kind]
    optimizer: GRDA
    model_args: Settings

    @property
    def variables(self) -> str:
        return f"^({'|'.join(map(table_name, self.kinds))})/gates$"

    def build(self) -> keras.Model:
        return build_model(
            self.base,
            self.features,
            interactions=self.candidates,
            gated=True,
            normalized=True,
            **{**DRAWN, **self.model_args},
        )

    def read(self, model: keras.Model) -> InteractionPlan:
        kept = (i for i in self.candidates.interactions if not self._is_searched(i))
        found = (open_gates(model, self.features, kind) for kind in self.kinds)
        return InteractionPlan(itertools.chain(kept, *found))

    def describe(self, plan: InteractionPlan) -> str:
        return f"{self.count(plan)} of {self.count(self.candidates)} gates open"

    def count(self, plan: InteractionPlan) -> int:
        """How many interactions of the searched kinds a plan has."""
        return sum(map(self._is_searched, plan.interactions))

    def _is_searched(self, interaction: Interaction) -> bool:
        return (interaction.order, interaction.function) in self.kinds


def search_gates(
    stage: Stage,
    base: str,
    candidates: InteractionPlan,
    kinds: Sequence[Kind],
    threshold: Threshold,
) -> InteractionPlan:
    """The candidates without those of these kinds whose gates end at zero in a stage.

    Where it closes all gates, it says which threshold would not have.
    """
    optimizer, model_args = threshold.optimizer(stage), stage.settings.model_args
    gates = InteractionGates(stage.features, base, candidates, kinds, optimizer, model_args)
    plan = stage.run(gates)
    if not gates.count(plan) and stage.settings.verbose:
        print(
            f"stage {stage.number} closed all gates. They start at {_START}: with "
            f"c={threshold.ending_at(_START, stage):.2g} the threshold ends there, and those that "
            "grew stay open."
        )
    return plan


def open_gates(model: keras.Model, features: FeatureSet, kind: Kind) -> list[Interaction]:
    """The interactions of one kind whose gate is not zero, by the layer of a model."""
    layer = model.get_layer(table_name(kind))
    gates = keras.ops.convert_to_numpy(layer.gates)
    names = features.field_names
    return [
        Interaction(tuple(names[index] for index in term), kind[1], gate)
        for term, gate in zip(layer.terms, gates, strict=True)
        if gate != 0
    ]


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
