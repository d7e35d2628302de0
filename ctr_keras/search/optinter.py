"""OptInter: which pairs of fields to memorize, to factorize, or to leave alone."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

import keras
import numpy as np
from pydantic import NonNegativeFloat

from ctr_keras.models import build_model
from ctr_keras.plan import METHODS, Interaction, InteractionPlan
from ctr_keras.search.closing import Judge, Keep, choose, logit_of, predicted
from ctr_keras.search.stage import Conclusion, Search, Stage
from ctr_keras.search.verdict import Course, of_choices, of_methods
from ctr_keras.settings import SettingError
from ctr_keras.types import Array, Inputs, Settings

_FINAL_TEMPERATURE = 0.01
# What the logits may move in all, where every step is as long as Adam's rate: far beyond the random
# start, of which methods differ by a half.
_WAY = 10.0
# The authors draw tables with deviation 1. So much noise has pairs left alone before their vectors
# mean anything, and with little, those that are only noise do not disturb and are kept.
_SPREAD = 0.5
_MEMORIZE, _FACTORIZE, _NAIVE = range(len(METHODS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptInterSearch(Search):
    """Trains a model that can treat every pair by any method, and chooses one for each.

    By default the methods take turns: in each step every pair is treated by one that is drawn, so
    that each learns to stand alone. Validation rows then choose. A pair is worth what its better
    method, to memorize or to factorize, takes off their log loss where all others are left alone;
    as few of the worthiest pairs are kept as `keep` says.

    With `keep=None` it is the paper's search: a mixture of the methods for every pair, whose logits
    learn from the same gradients as the weights, by an Adam of their own, while its temperature
    falls linearly with the training steps; the most probable method counts. One pass is enough for
    it: in later ones, memorizing gains by rows that it has seen. Of more passes, with validation
    rows, the search stops at the first one after which their AUC is not higher, and the one before
    it counts.

    Every pair is a `Crossed` feature of the feature set.

    Args:
        keep: int, str or None. How many pairs are memorized or factorized: so many; with `"auto"`
            as few as predict validation rows no worse than more of them would, but by noise
            (without validation rows, those of the prepared data or every tenth of the arrays); or
            None for the paper's search. Defaults to `"auto"`.
        gate_learning_rate: float or None. Of the logits. Defaults to `None`: 10 / steps.
        temperature_rate: float or None. Fall of the temperature a step, from 1 to 0.01.
            Defaults to `None`: over all steps. A bi-level search has none.
        gumbel_noise: bool. Whether to draw noise. The published runs do not. This and the two above
            need `keep=None`, and so does `bilevel`. Defaults to `False`.
        batch_size, epochs, rounds, learning_rate, learning_rate_decay, epsilon: as in `Search`.
        bilevel, seed, jit_compile: as in `Search`.
        optimizer, weight_decay, optimizer_args, table_optimizer: as in `Search`.
        table_learning_rate, table_optimizer_args: as in `Search`.
        table_learning_rates, table_updates: as in `Search`.
        schedule, warmup_steps: as in `Search`.
        max_gradient_norm, gradient_accumulation_steps: as in `Search`.
        loss, focal_gamma, label_smoothing: as in `Search`.
        model_args, verbose: as in `Search`; `model_args` are those of the model `OptInter`, whose
            tables are drawn from a normal distribution with deviation 0.5 unless they say
            otherwise.

    Raises:
        ValueError: for settings of the paper's search where `keep` is not None.

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
    >>> [(i.fields, i.function) for i in plan.interactions]  # nothing to be learned here
    [(('a', 'b'), 'naive')]

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section II-D, Algorithm 1; Table IV. Methods
        that take turns: Guo et al., [Single path one-shot neural architecture search with uniform
        sampling](https://arxiv.org/abs/1904.00420), Section 3.
    """

    base: ClassVar = "OptInter"
    keep: Keep = "auto"
    gate_learning_rate: NonNegativeFloat | None = None
    temperature_rate: float | None = None
    gumbel_noise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None:
            for name in ("gate_learning_rate", "temperature_rate", "gumbel_noise", "bilevel"):
                if getattr(self, name) not in (None, False):
                    raise SettingError(f"{name} is of the mixture: it needs keep=null", name)

    def _plan(self, first: Stage) -> InteractionPlan:
        """A method for every pair; its gate says how much it matters."""
        if self.keep is not None:
            stage = first.with_validation()
            return stage.run(_DrawnMethods(stage, self._model_args(_DRAWN), self.keep))
        fall, rate = self.temperature_rate, self.gate_learning_rate
        if fall is None:
            fall = 0.0 if self.bilevel else (1 - _FINAL_TEMPERATURE) / first.steps
        if rate is None:
            rate = _WAY / first.steps
        mixture = {"temperature_rate": fall, "gumbel_noise": self.gumbel_noise}
        optimizer = keras.optimizers.Adam(rate, epsilon=self.epsilon)
        gates = _MixedMethods(first, self._model_args(mixture), optimizer)
        return first.run(gates, stop_early=first.validation is not None)

    def _model_args(self, mixture: Settings) -> Settings:
        return {**mixture, "embeddings_initializer": _SPREAD, **self.model_args}


@dataclasses.dataclass(frozen=True)
class _Methods:
    """The methods of every pair, in a model that can treat it by any of them."""

    stage: Stage
    model_args: Settings

    variables = "^combination/logits$"

    def build(self) -> keras.Model:
        return build_model("OptInter", self.stage.features, **self.model_args)

    def _pairs(self, model: keras.Model) -> list[tuple[str, str]]:
        names = [feature.name for feature in self.stage.features.categorical]
        order = model.get_layer("combination").pair_order
        return [(names[first], names[second]) for first, second in order]

    def _plan(
        self, model: keras.Model, methods: Iterable[int], gates: Iterable[float]
    ) -> InteractionPlan:
        chosen = zip(self._pairs(model), methods, gates, strict=True)
        return InteractionPlan(Interaction(pair, METHODS[m], gate) for pair, m, gate in chosen)


@dataclasses.dataclass(frozen=True)
class _MixedMethods(_Methods):
    """Every pair has a mixture of them, whose logits learn."""

    optimizer: keras.optimizers.Optimizer

    def names(self, model: keras.Model) -> Sequence[str]:
        return [f"{' x '.join(pair)}, {m}" for pair in self._pairs(model) for m in METHODS]

    def values(self, model: keras.Model) -> Array:
        """The methods' probabilities before temperature."""
        logits = model.get_layer("combination").logits
        weights: Array = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
        return weights.ravel()

    def read(self, model: keras.Model) -> InteractionPlan:
        """The most probable method of each pair, with its probability as gate."""
        weights = self.values(model).reshape(-1, len(METHODS))
        return self._plan(model, weights.argmax(axis=1), weights.max(axis=1))

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del model
        return Conclusion(best, of_methods(self.stage.number, course))

    def describe(self, plan: InteractionPlan) -> str:
        counts = Counter(interaction.function for interaction in plan.interactions)
        return ", ".join(f"{counts[method]} {method}" for method in METHODS)


# Noise on logits that are all alike, and so cold a mixture: one method, drawn evenly.
_DRAWN: Settings = {"gumbel_noise": True, "temperature_rate": 1.0}


@dataclasses.dataclass(frozen=True)
class _DrawnMethods(_Methods):
    """Each step draws one for every pair, and validation rows choose in the end."""

    keep: Keep

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(0.0)  # all stay as likely

    def build(self) -> keras.Model:
        model = super().build()
        logits = model.get_layer("combination").logits
        logits.assign(keras.ops.zeros(logits.shape))
        return model

    def names(self, model: keras.Model) -> Sequence[str]:
        del model
        return []  # nothing is known before the end

    def values(self, model: keras.Model) -> Array:
        del model
        return np.zeros(0)

    def read(self, model: keras.Model) -> InteractionPlan:
        del model
        return InteractionPlan([])

    def describe(self, plan: InteractionPlan) -> str:
        del plan
        return "methods are drawn"

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        del best, course
        pairs = len(self._pairs(model))
        rows = self.stage.rows_to_judge(model, pairs)
        assert rows is not None  # the stage was given some
        inputs, labels = rows
        network = keras.Model(model.input, logit_of(model))

        def judge(methods: Array, worth: Array) -> Judge:
            return Judge(_ChosenMethods(network, inputs, methods, worth), labels)

        each = [np.full(pairs, method) for method in (_MEMORIZE, _FACTORIZE)]
        gains = np.stack([judge(methods, np.ones(pairs)).gains() for methods in each], axis=1)
        methods, worth = gains.argmax(axis=1), gains.max(axis=1).clip(0.0)
        chosen = judge(methods, worth)
        is_open, tried = choose(worth, self.keep, chosen)
        effects = chosen.effects(is_open)
        plan = self._plan(model, np.where(is_open, methods, _NAIVE), np.nan_to_num(effects))
        return Conclusion(plan, of_choices(self.stage.number, plan, tried))


@dataclasses.dataclass(frozen=True)
class _ChosenMethods:
    """A trained model on some rows: open pairs are treated by their method, others left alone."""

    network: keras.Model
    inputs: Inputs
    methods: Array
    values: Array

    def logits(self, is_open: Array) -> Array:
        methods = np.where(is_open, self.methods, _NAIVE)
        one_each = np.eye(len(METHODS))[methods]  # and so cold a mixture is of nothing else
        self.network.get_layer("combination").logits.assign(one_each)
        logits: Array = predicted(self.network, self.inputs)[:, 0]
        return logits
