"""One stage of a search: a model trained for a fixed number of steps, its gates by an optimizer of
their own. A stage that was killed goes on from its last round."""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import keras
import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt

from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.layers import has_statistics, recompute_statistics
from ctr_keras.optimizers import AlternatingOptimizer, RoutedOptimizer
from ctr_keras.plan import InteractionPlan
from ctr_keras.runs import (
    STATISTICS_ROWS,
    Checkpoints,
    Optimization,
    Rounds,
    Row,
    State,
    decayed,
    jit_setting,
    make_progress,
    write_table,
)
from ctr_keras.search.closing import Gated, Judge, rows_to_judge
from ctr_keras.search.rows import SearchRows, both_splits
from ctr_keras.search.verdict import NO_GATES, Course, Verdict
from ctr_keras.settings import BoolOrAuto, Count, CountOrAuto
from ctr_keras.types import Array, Inputs, LearningRate, Rows

_BATCHES = (256, 2000)  # the smallest and the largest that "auto" takes
_PASS_STEPS = 200  # in a pass, at least, where a batch is above the smallest
_STEPS, _MOST_EPOCHS = 1000, 5  # that "auto" trains for, but no more passes than that


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(Optimization):
    """What all searches share.

    Args:
        batch_size: int or str. Rows in a step. Defaults to `"auto"`: so large that a pass has 200
            steps, from 256 to 2,000, that of all three papers.
        epochs: int or str. Passes over the training rows in a stage. Defaults to `"auto"`: as many
            as 1,000 steps take, but 5 at most.
        rounds: int. Parts of an epoch, after each of which learning rates may fall, progress is
            printed and the state is saved. Defaults to `5`.
        optimizer, epsilon, weight_decay, optimizer_args: as in `Optimization`. All of these are of
            the weights; gates have an optimizer of their own.
        learning_rate: float. Of the weights. Defaults to `0.01`: gates tell interactions apart once
            these say something, which few steps have to do.
        table_optimizer, table_learning_rate, table_optimizer_args: likewise.
        table_learning_rates, table_updates: likewise.
        schedule: str. As in `Optimization`, without `"plateau"`. Defaults to `"exponential"`.
        learning_rate_decay: float. What the learning rate is multiplied with after each round.
            Defaults to `1.0`.
        warmup_steps, max_gradient_norm, gradient_accumulation_steps: as in `Optimization`.
        loss, focal_gamma, label_smoothing: likewise.
        bilevel: bool. Whether gates learn from validation rows, in turns with the weights, as in
            DARTS: the papers' comparison. Defaults to `False`: from the same rows as the weights.
        seed: int. Of weights, noise and the order of rows. Defaults to `0`.
        jit_compile: bool or str. Whether to compile the step with XLA. Defaults to `"auto"`: yes
            but for TensorFlow on a CPU, where it is slower.
        model_args: dict. Further arguments of the model's builder, which may also stand among the
            settings. Defaults to none.
        verbose: bool. Whether to show how far the search is. Defaults to `True`.

    Example:

    >>> Search(epochs=2).rounds
    5
    """

    batch_size: CountOrAuto = "auto"
    epochs: CountOrAuto = "auto"
    learning_rate: NonNegativeFloat = 1e-2
    rounds: Count = 5
    schedule: Literal["constant", "exponential", "cosine"] = "exponential"
    learning_rate_decay: NonNegativeFloat = 1.0
    bilevel: bool = False
    seed: NonNegativeInt = 0
    jit_compile: BoolOrAuto = "auto"
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    verbose: bool = True

    def search(
        self,
        features: FeatureSet,
        train: str | Rows,
        validation: str | Rows | None = None,
        folder: str | None = None,
    ) -> InteractionPlan:
        """Runs the search.

        Args:
            features: FeatureSet with known vocabulary sizes.
            train: str or tuple. Prepared data, or packed inputs by name and their labels.
            validation: str or tuple. Rows for a bi-level search or an early stop; of prepared data
                its validation split. Defaults to `None`: none.
            folder: str or None. Where to keep checkpoints, to go on from after a kill.
                Defaults to `None`: nowhere.
        """
        if self.bilevel and features.label.negatives_kept < 1:
            raise ValueError(
                "bilevel=true learns from training and validation rows by one loss, and the "
                "negatives of the training rows alone are a sample: set bilevel=false"
            )
        return self._plan(Stage(self, features, *both_splits(features, train, validation), folder))

    def _plan(self, first: "Stage") -> InteractionPlan:
        """What the search finds, from its first stage on."""
        raise NotImplementedError


class Conclusion(NamedTuple):
    """What a stage has found, and what it says of that."""

    plan: InteractionPlan
    verdict: Verdict


class Gates(Protocol):
    """What a stage searches: the gates of a model, and what they say."""

    @property
    def variables(self) -> str:
        """Pattern of the paths of the gates' variables (see `RoutedOptimizer`)."""

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        """Of these variables."""

    def build(self) -> keras.Model:
        """Makes the model."""

    def names(self, model: keras.Model) -> Sequence[str]:
        """What each gate is of."""

    def values(self, model: keras.Model) -> Array:
        """The gates, in the order of their names."""

    def read(self, model: keras.Model) -> InteractionPlan:
        """The plan that the model's gates stand for."""

    def describe(self, plan: InteractionPlan) -> str:
        """Such a plan in a few words, to show how far the search is."""

    def conclude(self, model: keras.Model, best: InteractionPlan, course: Course) -> Conclusion:
        """The plan of a trained model, which may be that of its best round, and a verdict on it."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a search on given rows."""

    settings: Search
    features: FeatureSet
    train: SearchRows
    validation: SearchRows | None  # to choose gates by, for a bi-level search or an early stop
    folder: str | None  # of checkpoints
    number: int = 1

    @property
    def batch_size(self) -> int:
        """Rows in a step."""
        size = self.settings.batch_size
        if size == "auto":
            least, most = _BATCHES
            return min(max(self.train.count // _PASS_STEPS, least), most)
        return size

    @property
    def epochs(self) -> int:
        """Passes over the training rows."""
        epochs = self.settings.epochs
        return min(-(-_STEPS // self.epoch_steps), _MOST_EPOCHS) if epochs == "auto" else epochs

    @property
    def epoch_steps(self) -> int:
        """Steps in which the weights see every row once."""
        return -(-self.train.count // self.batch_size)

    @property
    def rounds(self) -> int:
        """Rounds of the stage."""
        return self.epochs * self.settings.rounds

    @property
    def steps(self) -> int:
        """Steps of the stage, not counting the gates' own of a bi-level search."""
        return self.rounds * self.round_steps

    @property
    def round_steps(self) -> int:
        """Steps of a round, likewise."""
        return -(-self.epoch_steps // self.settings.rounds)

    def decayed(self, rate: float, decay: float) -> LearningRate:
        """A learning rate that is multiplied with `decay` after each round."""
        return decayed(rate, decay, self.round_steps)

    def with_validation(self) -> "Stage":
        """The stage with rows to choose gates by: without any, some of the training rows."""
        if self.validation is not None:
            return self
        train, validation = self.train.held_out()
        return dataclasses.replace(self, train=train, validation=validation)

    def run(self, gates: Gates, *, stop_early: bool = False) -> InteractionPlan:
        """Trains the gates' model, or goes on with it, and returns what the gates say.

        Args:
            gates: Gates.
            stop_early: bool. Whether to stop at the first epoch after which the validation rows'
                AUC is not higher, and return the plan of the epoch before. Defaults to `False`.
        """
        folder = self.folder and os.path.join(self.folder, "checkpoints", f"stage-{self.number}")
        found = f"{folder}.json"
        if folder and os.path.exists(found):
            return InteractionPlan.load(found)
        settings = self.settings
        keras.utils.set_random_seed(settings.seed + self.number)
        checkpoints = Checkpoints(folder) if folder else None
        plans = _Plans(self, gates, stop_early)
        rounds = Rounds(plans, checkpoints, total=self.rounds, patience=settings.rounds)
        steps = self.round_steps * (2 if settings.bilevel else 1)
        title = f"stage {self.number}, "
        progress = make_progress(rounds, plans.describe, self.batch_size, title)
        callbacks = [progress] if settings.verbose else []
        model = rounds.run(
            lambda: plans.started(self._compiled(gates)), self._batches, steps, callbacks
        )
        course = Course(gates.names(model), _values(rounds.history[: rounds.best]))
        best = InteractionPlan.from_dict(rounds.kept["plan"])
        plan, verdict = gates.conclude(model, best, course)
        self.tell(verdict, course)
        if checkpoints:
            plan.save(found)
            checkpoints.remove()
        return plan

    def ready_to_score(self, model: keras.Model) -> None:
        """Makes the statistics of normalizations true, and rows of tables that lag behind."""
        model.optimizer.catch_up_all()
        if has_statistics(model):
            recompute_statistics(model, self.train.inputs_of(model, STATISTICS_ROWS))

    def judge(
        self, model: keras.Model, gates: int, gated: Callable[[Inputs], Gated]
    ) -> Judge | None:
        """Judges gates by validation rows, if there are any.

        Args:
            model: keras.Model, trained.
            gates: int. How many there are.
            gated: makes the gates of the model on rows from its inputs for them.
        """
        rows = self.rows_to_judge(model, gates)
        return None if rows is None else Judge(gated(rows[0]), rows[1])

    def rows_to_judge(self, model: keras.Model, gates: int) -> Rows | None:
        """Validation rows to judge gates by, if there are any: a model's inputs, and labels."""
        if self.validation is None:
            return None
        self.ready_to_score(model)
        count = rows_to_judge(gates)
        return self.validation.inputs_of(model, count), self.validation.arrays(count)[1]

    def tell(self, verdict: Verdict, course: Course = NO_GATES) -> None:
        """Prints what a stage says of itself, and writes it to the folder."""
        if self.settings.verbose:
            for line in verdict.says:
                print(f"stage {self.number}: {line}")
        if self.folder is not None:
            verdict.save(self.folder, course)

    def _compiled(self, gates: Gates) -> keras.Model:
        settings, model = self.settings, gates.build()
        weights = settings.make_optimizer(model, self.round_steps, self.rounds)
        optimizer = AlternatingOptimizer if settings.bilevel else RoutedOptimizer
        model.compile(
            optimizer(weights, {gates.variables: gates.optimizer}),
            loss=settings.make_loss(self.features.label.negatives_kept),
            jit_compile=jit_setting(settings.jit_compile),
        )
        return model

    def _batches(self, model: keras.Model, rounds_done: int) -> Iterable[Rows]:
        settings, skip = self.settings, rounds_done * self.round_steps
        batches = self.train.stream(model, self.batch_size, settings.seed, skip)
        if not settings.bilevel:
            return batches
        if self.validation is None:
            raise ValueError("a bi-level search needs validation rows for its gates")
        return _in_turns(
            batches, self.validation.stream(model, self.batch_size, settings.seed, skip)
        )


def _in_turns(*streams: Iterable[Rows]) -> Iterator[Rows]:
    iterators = [iter(stream) for stream in streams]
    while True:
        for iterator in iterators:
            yield next(iterator)


_VALUES = "values"  # in a row: the gates after its round, before them in the first those at start


def _values(history: Sequence[Row]) -> Array:
    return np.concatenate([row[_VALUES] for row in history])


class _Plans:
    """Each round gives a plan, and each epoch an AUC where the search may stop early."""

    def __init__(self, stage: Stage, gates: Gates, stop_early: bool) -> None:
        self._stage = stage
        self._gates = gates
        self._stop_early = stop_early
        self._start: Array | None = None

    def started(self, model: keras.Model) -> keras.Model:
        """Looks at the gates of a new model, before its first step."""
        self._start = self._gates.values(model)
        return model

    def measure(self, model: keras.Model, number: int, training: Row, seconds: float) -> Row:
        del seconds
        stage, auc = self._stage, None
        if self._stop_early and number % stage.settings.rounds == 0:
            assert stage.validation is not None
            stage.ready_to_score(model)
            auc = metrics.auc(*stage.validation.score(model))
        described = self._gates.describe(self._gates.read(model))
        row: Row = {"stage": stage.number, "round": number, "train_loss": float(training["loss"])}
        row |= {"validation_auc": auc, "gates": described}
        values = [self._gates.values(model)]
        if self._start is not None and number == 1:
            values = [self._start, *values]
        return row | {_VALUES: [value.tolist() for value in values]}

    def loss(self, row: Row) -> float | None:
        auc = row["validation_auc"]
        return None if auc is None else -auc

    def describe(self, row: Row) -> str:
        auc = row["validation_auc"]
        return str(row["gates"]) + ("" if auc is None else f", validation AUC {auc:.5f}")

    def keep(self, model: keras.Model, folder: str | None) -> State:
        del folder
        return {"plan": self._gates.read(model).to_dict()}

    def show(self, history: Sequence[Row]) -> None:
        """Adds the stage's rounds to those of the stages before it."""
        if self._stage.folder is None:
            return
        path = os.path.join(self._stage.folder, "history.csv")
        before: list[Row] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file)
                before = [row for row in rows if int(row["stage"]) < self._stage.number]
        shown = [{name: row[name] for name in row if name != _VALUES} for row in history]
        write_table(path, [*before, *shown])
