"""AIM: which interactions, by which functions, on embeddings of which width."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import keras
import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ctr_keras.features import FeatureSet
from ctr_keras.layers import EmbeddingGate
from ctr_keras.models import build_model
from ctr_keras.models.base import built_features
from ctr_keras.models.interactions import table_name
from ctr_keras.optimizers import GRDA
from ctr_keras.plan import FUNCTIONS, Function, Interaction, InteractionPlan
from ctr_keras.search.closing import GatedDimensions, Keep, assign, choose
from ctr_keras.search.gates import (
    DRAWN,
    InteractionGates,
    Threshold,
    candidate_fields,
    candidate_pool,
)
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_gates
from ctr_keras.types import Array

KeptDims = dict[str, dict[str, tuple[int, ...]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AIMSearch(Search):
    """Searches interactions together with their functions, then embedding dimensions.

    One stage an order, and one for the dimensions. In all of them the model is a factorization
    machine with an embedding table for each order and function. In the stage of an order, every
    candidate has a gate under `GRDA`; interactions of lower orders stay as they were found. Second
    order starts with all pairs and functions; a higher one with the best interactions of the order
    below, each with one field more, for each function by itself. In the last stage every dimension
    of every field of each table has a gate, and interactions have none: the two scale each other,
    so they are not searched together.

    Args:
        order, top: as in `AutoFISSearch`.
        functions: list of str. What each interaction is tried with. Defaults to
            `("inner", "vector", "scalar", "outer")`.
        shared_pool: bool. Whether an interaction that one function has kept is extended for all of
            them, as the paper can be read. Defaults to `False`: for each by itself, as in the
            authors' code.
        dims: bool. Whether to search embedding dimensions, too. Defaults to `True`.
        keep, c: as in `AutoFISSearch`. A gate is of an interaction by one function.
        mu: float. How its pressure grows with the steps. Defaults to `0.8`.
        gate_learning_rate: float. Of interactions' gates. Defaults to `1.0`.
        dims_keep: int, str or None. As `keep`, of dimensions. Defaults to `"auto"`.
        dims_c: float or None. How hard the threshold of dimensions' gates presses. Defaults to
            `None`: as `c`.
        dims_mu: float. How its pressure grows. Defaults to `0.8`.
        dims_learning_rate: float. Of dimensions' gates. Defaults to `1.0`.
        gate_learning_rate_decay: float. What both rates are multiplied with after each round.
            Defaults to `1.0`.
        batch_size, epochs, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        bilevel, seed, jit_compile, model_args, verbose: as in `Search`; `model_args` are those of
            `FM`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> clicks = np.random.default_rng(0).integers(0, 2, (100, 1))
    >>> inputs = {"categorical": np.repeat([[2, 6]], 100, axis=0)}
    >>> search = AIMSearch(c=20.0, dims=False, model_args={"dim": 4}, verbose=False)
    >>> search.search(features, (inputs, clicks)).interactions  # nothing to be learned here
    ()

    References:
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, Algorithm 1.
    """

    base: ClassVar = "FM"
    order: Literal[2, 3, 4] = 2
    functions: Annotated[Sequence[Function], Field(min_length=1)] = FUNCTIONS
    top: NonNegativeInt = 0
    shared_pool: bool = False
    dims: bool = True
    keep: Keep = "auto"
    c: float | None = None
    mu: NonNegativeFloat = 0.8
    gate_learning_rate: NonNegativeFloat = 1.0
    dims_keep: Keep = "auto"
    dims_c: float | None = None
    dims_mu: NonNegativeFloat = 0.8
    dims_learning_rate: NonNegativeFloat = 1.0
    gate_learning_rate_decay: NonNegativeFloat = 1.0

    def _plan(self, first: Stage) -> InteractionPlan:
        """The interactions that are kept, with their functions and gates, and the dimensions."""
        threshold = Threshold(
            self.c, self.mu, self.gate_learning_rate, self.gate_learning_rate_decay, self.keep
        )
        if "auto" in (self.keep, self.dims_keep):
            first = first.with_validation()
        names = candidate_fields(first.features)
        plan = InteractionPlan.complete(names, functions=self.functions)
        for number, order in enumerate(range(2, self.order + 1), start=1):
            if order > 2:
                top = self.top or len(names) // 2
                sharing = [self.functions] if self.shared_pool else [[f] for f in self.functions]
                pools = (candidate_pool(plan, order, some, names, top) for some in sharing)
                plan = InteractionPlan([*plan.interactions, *(i for pool in pools for i in pool)])
            kinds = plan.restricted([order]).kinds
            if not kinds:
                break  # nothing left to extend
            stage = dataclasses.replace(first, number=number)
            plan = stage.run(InteractionGates(stage, self.base, plan, kinds, threshold))
        if self.dims and plan.interactions:
            stage = dataclasses.replace(first, number=self.order)
            threshold = Threshold(
                self.dims_c,
                self.dims_mu,
                self.dims_learning_rate,
                self.gate_learning_rate_decay,
                self.dims_keep,
            )
            plan = stage.run(_DimensionGates(stage, plan, threshold))
        return plan


@dataclasses.dataclass(frozen=True)
class _DimensionGates:
    """The gates of dimensions, in a model whose interactions, those of the plan, have none."""

    stage: Stage
    plan: InteractionPlan
    threshold: Threshold

    variables = "^dims_"

    @property
    def optimizer(self) -> GRDA:
        return self.threshold.optimizer(self.stage)

    def build(self) -> keras.Model:
        return build_model(
            "FM",
            self.stage.features,
            interactions=self.plan,
            gated=False,
            normalized=False,
            embedding_gates=True,
            **{**DRAWN, **self.stage.settings.model_args},
        )

    def _layers(self, model: keras.Model) -> dict[str, EmbeddingGate]:
        """The gates of each table."""
        return {
            table: model.get_layer(f"dims_{table}") for table in map(table_name, self.plan.kinds)
        }

    def names(self, model: keras.Model) -> Sequence[str]:
        fields = built_features(model, self.stage.features).field_names
        return [
            f"{field}, {table}, dimension {place}"
            for table, layer in self._layers(model).items()
            for field in fields
            for place in range(layer.gates.shape[1])
        ]

    def values(self, model: keras.Model) -> Array:
        gates = [_numpy(layer.gates).ravel() for layer in self._layers(model).values()]
        return np.concatenate(gates)

    def read(self, model: keras.Model) -> InteractionPlan:
        features = built_features(model, self.stage.features)
        gates = {table: _numpy(layer.gates) for table, layer in self._layers(model).items()}
        return _without_empty(self.plan, _kept_dims(features, gates))

    def describe(self, plan: InteractionPlan) -> str:
        kept = sum(len(p) for fields in plan.kept_dims.values() for p in fields.values())
        return f"{kept} dimensions open"

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best  # the last round counts
        values, layers = self.values(model), list(self._layers(model).values())
        gated = functools.partial(GatedDimensions, model, layers)
        judge = self.stage.judge(model, len(values), gated)
        is_open, tried = choose(values, self.threshold.keep, judge)
        assign([layer.gates for layer in layers], np.where(is_open, values, 0.0))
        hint = self.threshold.hint(self.stage)
        verdict = of_gates(self.stage.number, course, is_open, tried, hint)
        return Conclusion(self.read(model), verdict)


def _numpy(variable: keras.Variable) -> Array:
    values: Array = keras.ops.convert_to_numpy(variable)
    return values


def _kept_dims(features: FeatureSet, gates: dict[str, Array]) -> KeptDims:
    """By table and field, the positions with a gate; fields of one vocabulary keep the same."""
    owners = [features.vocabulary_name(field) for field in features.fields]
    kept: KeptDims = {}
    for table, values in gates.items():
        is_open = {owner: np.zeros(values.shape[1], bool) for owner in owners}
        for owner, row in zip(owners, values, strict=True):
            is_open[owner] |= row != 0
        kept[table] = {
            name: tuple(np.flatnonzero(is_open[owner]).tolist())
            for name, owner in zip(features.field_names, owners, strict=True)
        }
    return kept


def _without_empty(plan: InteractionPlan, kept: KeptDims) -> InteractionPlan:
    """The plan with these dimensions, and without interactions that they leave nothing of."""

    def is_left(interaction: Interaction) -> bool:
        fields = kept[table_name((interaction.order, interaction.function))]
        positions = [set(fields[name]) for name in interaction.fields]
        if interaction.function == "outer":  # a product of sums, not a sum of products
            return all(positions)
        return bool(set.intersection(*positions))

    interactions = [i for i in plan.interactions if is_left(i)]
    tables = {table_name((i.order, i.function)) for i in interactions}
    return InteractionPlan(interactions, {t: f for t, f in kept.items() if t in tables})
