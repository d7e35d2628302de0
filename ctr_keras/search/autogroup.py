"""AutoGroup: which fields interact together, in groups of each order."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import keras
import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from ctr_keras.layers import GatedGroups
from ctr_keras.models import build_model
from ctr_keras.plan import Group, InteractionPlan
from ctr_keras.search.closing import Keep, assign, choose, logit_of, predicted
from ctr_keras.search.gates import candidate_fields
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_gates
from ctr_keras.types import Array, Inputs

_WAY = 10.0  # what the logits may move in all, far beyond where one choice is certain


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoGroupSearch(Search):
    """Trains groups whose fields are in or out at random, and keeps the likeliest places in them.

    Each field has a place in each group, and each place a logit. In a step, the field is in the
    group where the logit and noise together are over 0: a group learns which fields it is better
    with, and different groups, which weigh fields differently from the start, settle on different
    ones. The plan has the groups of the places that are kept, without those of too few fields to
    interact.

    Args:
        keep: int, str or None. How many places are kept: so many of the most probable; with
            `"auto"`, of those that are more probable than not, as few as predict validation rows no
            worse than more of them would, but by noise (without validation rows, those of the
            prepared data or every tenth of the arrays); or None for all that are more probable than
            not, as in the paper. Defaults to `"auto"`.
        gate_learning_rate: float or None. Of the logits. Defaults to `None`: 10 / steps.
        temperature: float. Of what gradients take the choice for (see `GatedGroups`). Defaults to
            `1.0`.
        gumbel_noise: bool. Whether to draw noise. Defaults to `True`.
        batch_size, epochs, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        bilevel, seed, jit_compile, model_args, verbose: as in `Search`; `model_args` are those of
            `AutoGroup`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> draw = np.random.default_rng(0)
    >>> inputs = {"categorical": draw.integers((2, 6), (5, 9), (100, 2))}
    >>> small = {"groups": [0, 1], "hidden": [4]}
    >>> search = AutoGroupSearch(keep=2, epochs=1, model_args=small, verbose=False)
    >>> plan = search.search(features, (inputs, draw.integers(0, 2, (100, 1))))
    >>> [group.fields for group in plan.groups]
    [('a', 'b')]

    References:
        AutoGroup: Liu et al., SIGIR 2020, Section 3.1; weights learn by the same steps as logits,
        where its authors take turns on each batch.
    """

    base: ClassVar = "AutoGroup"
    keep: Keep = "auto"
    gate_learning_rate: NonNegativeFloat | None = None
    temperature: PositiveFloat = 1.0
    gumbel_noise: bool = True

    def _plan(self, first: Stage) -> InteractionPlan:
        """The groups."""
        stage = first.with_validation() if self.keep == "auto" else first
        return stage.run(_Places(stage, self))


@dataclasses.dataclass(frozen=True)
class _Places:
    """Which fields are in which groups."""

    stage: Stage
    search: AutoGroupSearch

    variables = "^field_groups_[0-9]/logits$"

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        rate = self.search.gate_learning_rate
        return keras.optimizers.Adam(_WAY / self.stage.steps if rate is None else rate)

    def build(self) -> keras.Model:
        search = self.search
        gates = {"temperature": search.temperature, "gumbel_noise": search.gumbel_noise}
        arguments = {**search.model_args, "group_gates": gates}
        return build_model(search.base, self.stage.features.without_crossed(), **arguments)

    def names(self, model: keras.Model) -> Sequence[str]:
        fields = candidate_fields(self.stage.features)
        return [
            f"{field} in group {group + 1} of order {layer.order}"
            for layer in _layers(model)
            for field in fields
            for group in range(layer.count)
        ]

    def values(self, model: keras.Model) -> Array:
        """The probability of each place."""
        every = [keras.ops.ravel(keras.ops.sigmoid(layer.logits)) for layer in _layers(model)]
        probabilities: Array = keras.ops.convert_to_numpy(keras.ops.concatenate(every))
        return probabilities

    def read(self, model: keras.Model) -> InteractionPlan:
        found = self._groups(model, self.values(model) > 0.5)
        return InteractionPlan([], groups=[group for group, _ in found])

    def _groups(self, model: keras.Model, is_open: Array) -> list[tuple[Group, Array]]:
        """The groups of enough open places to interact, and which places are theirs."""
        fields, values = np.array(candidate_fields(self.stage.features)), self.values(model)
        found, start = [], 0
        for layer in _layers(model):
            places = np.arange(start, start + len(fields) * layer.count)
            start += len(places)
            for column in places.reshape(len(fields), -1).T:
                inside = column[is_open[column]]
                if len(inside) >= min(layer.order, 2):
                    names = tuple(fields[is_open[column]].tolist())
                    group = Group(names, layer.order, values[inside].mean())
                    found.append((group, np.isin(np.arange(len(values)), inside)))
        return found

    def describe(self, plan: InteractionPlan) -> str:
        return f"groups: {_counted(plan)}"

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best  # the last round counts
        keep, values = self.search.keep, self.values(model)
        sizes = values if isinstance(keep, int) else np.where(values > 0.5, values, 0.0)
        gated = functools.partial(_ChosenPlaces, model, sizes)
        judge = self.stage.judge(model, len(values), gated)
        is_open, tried = choose(sizes, keep, judge)
        found = self._groups(model, is_open)
        groups, places = [group for group, _ in found], [of for _, of in found]
        worth = [None] * len(groups) if judge is None else judge.worth(is_open, places)
        kept = (
            (group.fields, f"order {group.order}", group.gate, effect)
            for group, effect in zip(groups, worth, strict=True)
        )
        plan = InteractionPlan([], groups=groups)
        verdict = of_gates(self.stage.number, course, is_open, tried, "")
        says = [*verdict.says, f"their groups: {_counted(plan)}"]
        return Conclusion(plan, dataclasses.replace(verdict, says=says).with_kept(kept))


def _counted(plan: InteractionPlan) -> str:
    """How many groups there are of each order."""
    counts = sorted(Counter(group.order for group in plan.groups).items())
    return ", ".join(f"{count} of order {order}" for order, count in counts) or "none"


def _layers(model: keras.Model) -> list[GatedGroups]:
    return [layer for layer in model.layers if isinstance(layer, GatedGroups)]


class _ChosenPlaces:
    """A trained model on some rows: fields are in the groups in which their places are open."""

    def __init__(self, model: keras.Model, values: Array, inputs: Inputs) -> None:
        self.values = values
        self._logits = [layer.logits for layer in _layers(model)]
        fields = {layer.name: layer.input for layer in _layers(model)}
        self._inputs = [inputs, predicted(keras.Model(model.input, fields), inputs)]
        self._rest = keras.Model([model.input, fields], logit_of(model))

    def logits(self, is_open: Array) -> Array:
        before = np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in self._logits])
        assign(self._logits, np.where(is_open, 1.0, -1.0))
        logits: Array = predicted(self._rest, self._inputs)[:, 0]
        assign(self._logits, before)
        return logits
