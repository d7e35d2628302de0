"""OptFS: which values of its fields a model reads."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, ClassVar

import keras
import numpy as np
from pydantic import Field, NonNegativeFloat

from ctr_keras.layers import GatedEmbedding
from ctr_keras.models import build_model
from ctr_keras.plan import InteractionPlan
from ctr_keras.search.closing import Judge, Keep, choose, logit_of, predicted
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_values
from ctr_keras.types import Array, Inputs

_WAY = 3.0  # what the weight of a gate may move in all
_PENALTY = 0.05  # of the mean gate
_LEFT = 0.5  # gates above it end as 1, at the last temperature
_CLOSED = -100.0  # the weight of a gate that is 0 at any temperature
_EPSILON = 1e-8  # of Adam in the authors' code: penalties of single gates are as small


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptFSSearch(Search):
    """Trains DeepFM with a gate for every value of every field; values of open gates are kept.

    A value's gate scales its embedding, and so each interaction by the product of two gates. Gates
    learn from the same rows as the weights, under a penalty that closes those which no click needs,
    while their temperature grows and they become steps. The plan has the values that are left, or
    those of them that validation rows need; a model on it reads the others as missing. Numbers have
    no gates.

    Args:
        keep: int, str or None. How many values are kept: so many of the largest gates; with
            `"auto"`, of those that are left, as few as predict validation rows no worse than more
            of them would, but by noise (without validation rows, those of the prepared data or
            every tenth of the arrays); or None for all that are left, as in the paper. Defaults to
            `"auto"`.
        penalty: float or None. Of the sum of all gates. Defaults to `None`: 0.05 / values.
        final_temperature: float. Defaults to `1000.0`.
        gate_start: float. What the weights of gates start from; the open ones end above 0. Defaults
            to `0.5`.
        gate_learning_rate: float or None. Defaults to `None`: 3 / steps.
        batch_size, epochs, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        bilevel, seed, jit_compile, model_args, verbose: as in `Search`; `model_args` are those of
            `DeepFM`, here without a linear logit, which would need no gate.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> draw = np.random.default_rng(0)
    >>> inputs = {"categorical": draw.integers((2, 6), (5, 9), (100, 2))}
    >>> search = OptFSSearch(keep=2, epochs=1, model_args={"hidden": [4]}, verbose=False)
    >>> plan = search.search(features, (inputs, draw.integers(0, 2, (100, 1))))
    >>> sum(int(kept.sum()) for kept in plan.values.values())
    2

    References:
        [OptFS](https://arxiv.org/abs/2301.10909): its gates, learning by continuation and DeepFM,
        whose weights start anew on the plan, not from those of an early epoch.
    """

    base: ClassVar = "DeepFM"
    keep: Keep = "auto"
    penalty: NonNegativeFloat | None = None
    final_temperature: Annotated[float, Field(ge=1)] = 1000.0
    gate_start: float = 0.5
    gate_learning_rate: NonNegativeFloat | None = None

    def _plan(self, first: Stage) -> InteractionPlan:
        """The values that are kept."""
        stage = first.with_validation() if self.keep == "auto" else first
        return stage.run(_ValueGates(stage, self))


@dataclasses.dataclass(frozen=True)
class _ValueGates:
    """Whether each value of each vocabulary is kept."""

    stage: Stage
    search: OptFSSearch

    variables = "^embedding/gates$"

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        rate = self.search.gate_learning_rate
        rate = _WAY / self.stage.steps if rate is None else rate
        return keras.optimizers.Adam(rate, epsilon=_EPSILON)

    def build(self) -> keras.Model:
        search, features = self.search, self.stage.features
        penalty = search.penalty
        gates = {
            "start": search.gate_start,
            "final_temperature": search.final_temperature,
            "steps": self.stage.steps * (2 if search.bilevel else 1),
            "penalty": _PENALTY / features.id_count if penalty is None else penalty,
        }
        arguments = {"linear": False, **search.model_args, "value_gates": gates}
        return build_model(self.search.base, features, **arguments)

    def names(self, model: keras.Model) -> Sequence[str]:
        return list(_rows(model))

    def values(self, model: keras.Model) -> Array:
        """Of each vocabulary the share of its values that are open."""
        kept = self.read(model).values
        return np.array([values.mean() for values in kept.values()])

    def read(self, model: keras.Model) -> InteractionPlan:
        return _kept(model, _sizes(model) > _LEFT)

    def describe(self, plan: InteractionPlan) -> str:
        kept = sum(int(values.sum()) for values in plan.values.values())
        return f"{kept} of {sum(map(len, plan.values.values()))} values open"

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best  # the last round counts
        keep, sizes = self.search.keep, _sizes(model)
        left = np.where(sizes > _LEFT, sizes, 0.0)
        sizes = sizes if isinstance(keep, int) else left
        judge = self.stage.judge(model, 1, functools.partial(_GatedValues, model, sizes))
        is_open, tried = choose(sizes, keep, judge)
        plan = _kept(model, is_open)
        verdict = of_values(self.stage.number, plan, left, tried)
        effects = {} if judge is None else self._effects(plan, judge)
        kept = (
            ([name], "values", values.mean(), effects.get(name))
            for name, values in plan.values.items()
            if values.any()
        )
        return Conclusion(plan, verdict.with_kept(kept))

    def _effects(self, plan: InteractionPlan, judge: Judge) -> dict[str, float]:
        """By how much the log loss grows where all values of one vocabulary are closed."""
        is_open = np.concatenate(list(plan.values.values()))
        owners = np.repeat(list(plan.values), [len(values) for values in plan.values.values()])
        worth = judge.worth(is_open, (owners == name for name in plan.values))
        return dict(zip(plan.values, worth, strict=True))


def _layer(model: keras.Model) -> GatedEmbedding:
    layer: GatedEmbedding = model.get_layer("embedding")
    return layer


def _rows(model: keras.Model) -> dict[str, range]:
    """The rows of the table with the values of each vocabulary of a field."""
    layer = _layer(model)
    read = {layer.features.vocabulary_name(field) for field in layer.features.fields}
    return {name: rows for name, rows in layer.vocabulary_rows.items() if name in read}


def _sizes(model: keras.Model) -> Array:
    """The gates of all values without temperature."""
    weights = keras.ops.convert_to_numpy(_layer(model).gates)[:, 0]
    weights = np.concatenate([weights[rows.start : rows.stop] for rows in _rows(model).values()])
    sizes: Array = 1 / (1 + np.exp(-weights))
    return sizes


def _kept(model: keras.Model, is_open: Array) -> InteractionPlan:
    rows = _rows(model)
    ends = np.cumsum([len(of) for of in rows.values()])[:-1]
    return InteractionPlan([], values=dict(zip(rows, np.split(is_open, ends), strict=True)))


class _GatedValues:
    """A trained model on some rows: values that are closed have vectors of zeros."""

    def __init__(self, model: keras.Model, values: Array, inputs: Inputs) -> None:
        self.values = values
        self._gates = _layer(model).gates
        self._rows = np.concatenate([[*rows] for rows in _rows(model).values()])
        self._model = keras.Model(model.input, logit_of(model))
        self._inputs = inputs

    def logits(self, is_open: Array) -> Array:
        before = np.array(keras.ops.convert_to_numpy(self._gates))
        closed = before.copy()
        closed[self._rows[~is_open]] = _CLOSED
        self._gates.assign(closed)
        logits: Array = predicted(self._model, self._inputs)[:, 0]
        self._gates.assign(before)
        return logits
