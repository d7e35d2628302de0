"""AutoField: which fields a model keeps."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar, Literal

import keras
import numpy as np
from pydantic import NonNegativeFloat

from ctr_keras.layers import FieldGate
from ctr_keras.models import build_model
from ctr_keras.plan import InteractionPlan
from ctr_keras.search.closing import choose, largest, logit_of, predicted
from ctr_keras.search.gates import candidate_fields
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_gates
from ctr_keras.settings import Count
from ctr_keras.types import Array, Inputs

_FINAL_TEMPERATURE = 0.01
_WAY = 10.0  # what the logits may move in all, far beyond where one choice is certain
_STEPS = 500  # in fewer the logits move less: they would be certain before the weights have learned


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoFieldSearch(Search):
    """Trains a deep tower whose fields are kept or dropped at random, and keeps the likeliest.

    Every field has a logit for keeping it and one for dropping it, to which noise is added in each
    step. The weights learn from training rows and, in turns with them, the logits from validation
    rows, while the temperature of their softmax falls, so that choices become certain. The plan
    names the fields that are kept; a model that is built on it has all interactions of these.

    Args:
        keep: int or str. How many fields are kept: so many of the most probable; or with `"auto"`
            as few of them as predict validation rows no worse than more of them would, but by
            noise. Defaults to `"auto"`.
        gate_learning_rate: float or None. Of the logits. Defaults to `None`: 10 / steps, 0.02 at
            most.
        temperature_rate: float or None. Fall of the temperature a step, of those of weights and
            logits alike, from 1 to 0.01. Defaults to `None`: over all steps.
        gumbel_noise: bool. Whether to draw noise. Defaults to `True`.
        bilevel: bool. Whether gates learn from validation rows (without any, those of the prepared
            data or every tenth of the arrays), in turns with the weights. Defaults to `True`.
        learning_rate: float. Of the weights. Defaults to `0.001`.
        batch_size, epochs, rounds, learning_rate_decay, epsilon: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        seed, jit_compile, model_args, verbose: as in `Search`; `model_args` are those of `FNN`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> clicks = np.random.default_rng(0).integers(0, 2, (100, 1))
    >>> inputs = {"categorical": np.repeat([[2, 6]], 100, axis=0)}
    >>> search = AutoFieldSearch(keep=1, epochs=1, model_args={"hidden": [4]}, verbose=False)
    >>> len(search.search(features, (inputs, clicks)).fields)
    1

    References:
        [AutoField](https://arxiv.org/abs/2204.09078), its soft and its hard feature selection.
    """

    base: ClassVar = "FNN"
    keep: Count | Literal["auto"] = "auto"
    gate_learning_rate: NonNegativeFloat | None = None
    temperature_rate: NonNegativeFloat | None = None
    gumbel_noise: bool = True
    bilevel: bool = True
    learning_rate: NonNegativeFloat = 1e-3  # a deep tower does not bear more at once

    def _plan(self, first: Stage) -> InteractionPlan:
        """The fields that are kept, with their probabilities."""
        stage = first.with_validation()
        return stage.run(_FieldGates(stage, self))


@dataclasses.dataclass(frozen=True)
class _FieldGates:
    """Whether each field is kept."""

    stage: Stage
    search: AutoFieldSearch

    variables = "^field_gate/logits$"

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        rate = self.search.gate_learning_rate
        steps = max(self.stage.steps, _STEPS)
        return keras.optimizers.Adam(_WAY / steps if rate is None else rate)

    def build(self) -> keras.Model:
        steps = self.stage.steps * (2 if self.search.bilevel else 1)
        rate = self.search.temperature_rate
        gates = {
            "gumbel_noise": self.search.gumbel_noise,
            "temperature_rate": (1 - _FINAL_TEMPERATURE) / steps if rate is None else rate,
        }
        arguments = {**self.search.model_args, "field_gates": gates}
        return build_model("FNN", self.stage.features.without_crossed(), **arguments)

    def names(self, model: keras.Model) -> Sequence[str]:
        del model
        return candidate_fields(self.stage.features)

    def values(self, model: keras.Model) -> Array:
        """The probability that each field is kept, before temperature."""
        logits = keras.ops.convert_to_numpy(_layer(model).logits)
        kept: Array = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
        return kept

    def read(self, model: keras.Model) -> InteractionPlan:
        return self._kept(model, self.values(model) > 0.5)

    def _kept(self, model: keras.Model, is_open: Array) -> InteractionPlan:
        """A plan of the open fields; where none is open, of the likeliest, as it needs one."""
        values = self.values(model)
        is_kept = is_open if is_open.any() else largest(values, 1)
        found = zip(self.names(model), values, is_kept, strict=True)
        return InteractionPlan([], fields={name: value for name, value, kept in found if kept})

    def describe(self, plan: InteractionPlan) -> str:
        likely = sum(value > 0.5 for value in (plan.fields or {}).values())
        return f"{likely} fields more likely kept than not"

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best  # the last round counts
        values = self.values(model)
        gated = functools.partial(_GatedFields, model, values)
        judge = self.stage.judge(model, len(values), gated)
        assert judge is not None  # the stage was given rows to judge by
        is_open, tried = choose(values, self.search.keep, judge)
        verdict = of_gates(self.stage.number, course, is_open, tried, "")
        if not is_open.any():
            verdict = verdict.saying("the plan has the likeliest field, as it needs one")
        unlikely = np.array(course.names)[is_open & (values < 0.5)]
        if unlikely.size:
            verdict = verdict.saying(f"kept, but more likely dropped: {', '.join(unlikely)}")
        every = zip(course.names, values, judge.effects(is_open).tolist(), is_open, strict=True)
        kept = (([name], "field", gate, effect) for name, gate, effect, stays in every if stays)
        return Conclusion(self._kept(model, is_open), verdict.with_kept(kept))


def _layer(model: keras.Model) -> FieldGate:
    layer: FieldGate = model.get_layer("field_gate")
    return layer


class _GatedFields:
    """A trained model on some rows: fields that are closed have vectors of zeros."""

    def __init__(self, model: keras.Model, values: Array, inputs: Inputs) -> None:
        self.values = values
        gated = _layer(model).output
        self._fields = predicted(keras.Model(model.input, gated), inputs)
        self._rest = keras.Model(gated, logit_of(model))

    def logits(self, is_open: Array) -> Array:
        logits: Array = predicted(self._rest, self._fields * is_open[:, None])[:, 0]
        return logits
