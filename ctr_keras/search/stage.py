"""One stage of a search: a model trained for a fixed number of steps, its gates by an optimizer of
their own. A stage that was killed goes on from its last round."""

import csv
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import keras
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
from ctr_keras.search.rows import SearchRows, both_splits
from ctr_keras.settings import Count, JitCompile
from ctr_keras.types import LearningRate, Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(Optimization):
    """What all searches share.

    Args:
        batch_size: int. That of all three papers. Defaults to `2000`.
        epochs: int. Passes over the training rows in a stage. Defaults to `1`.
        rounds: int. Parts of an epoch, after each of which learning rates may fall, progress is
            printed and the state is saved. Defaults to `5`.
        optimizer, learning_rate, epsilon, weight_decay, optimizer_args: as in
            `ctr_keras.training.Optimization`. All of these are of the weights; gates have an
            optimizer of their own.
        table_optimizer, table_learning_rate, table_optimizer_args, table_updates: likewise.
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
        model_args: dict. Further arguments of the model's builder. Defaults to none.
        verbose: bool. Whether to show how far the search is. Defaults to `True`.

    Example:

    >>> Search(epochs=2).rounds
    5
    """

    batch_size: Count = 2000
    epochs: Count = 1
    rounds: Count = 5
    schedule: Literal["constant", "exponential", "cosine"] = "exponential"
    learning_rate_decay: NonNegativeFloat = 1.0
    bilevel: bool = False
    seed: NonNegativeInt = 0
    jit_compile: JitCompile = "auto"
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

    def read(self, model: keras.Model) -> InteractionPlan:
        """The plan that the model's gates stand for."""

    def describe(self, plan: InteractionPlan) -> str:
        """Such a plan in a few words, to show how far the search is."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a search on given rows."""

    settings: Search
    features: FeatureSet
    train: SearchRows
    validation: SearchRows | None  # for a bi-level search or an early stop
    folder: str | None  # of checkpoints
    number: int = 1

    @property
    def epoch_steps(self) -> int:
        """Steps in which the weights see every row once."""
        return -(-self.train.count // self.settings.batch_size)

    @property
    def steps(self) -> int:
        """Steps of the stage, not counting the gates' own of a bi-level search."""
        return self.settings.epochs * self.settings.rounds * self.round_steps

    @property
    def round_steps(self) -> int:
        """Steps of a round, likewise."""
        return -(-self.epoch_steps // self.settings.rounds)

    def decayed(self, rate: float, decay: float) -> LearningRate:
        """A learning rate that is multiplied with `decay` after each round."""
        return decayed(rate, decay, self.round_steps)

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
        rounds = Rounds(
            plans,
            checkpoints,
            total=settings.epochs * settings.rounds,
            patience=settings.rounds,
        )
        steps = self.round_steps * (2 if settings.bilevel else 1)
        title = f"stage {self.number}, "
        progress = make_progress(rounds, plans.describe, settings.batch_size, title)
        callbacks = [progress] if settings.verbose else []
        rounds.run(lambda: self._compiled(gates), self._batches, steps, callbacks)
        plan = InteractionPlan.from_dict(rounds.kept["plan"])
        if checkpoints:
            plan.save(found)
            checkpoints.remove()
        return plan

    def _compiled(self, gates: Gates) -> keras.Model:
        settings, model = self.settings, gates.build()
        weights = settings.make_optimizer(
            model, self.round_steps, settings.epochs * settings.rounds
        )
        optimizer = AlternatingOptimizer if settings.bilevel else RoutedOptimizer
        model.compile(
            optimizer(weights, {gates.variables: gates.optimizer}),
            loss=settings.make_loss(self.features.label.negatives_kept),
            jit_compile=jit_setting(settings.jit_compile),
        )
        return model

    def _batches(self, model: keras.Model, rounds_done: int) -> Iterable[Rows]:
        settings, skip = self.settings, rounds_done * self.round_steps
        batches = self.train.stream(model, settings.batch_size, settings.seed, skip)
        if not settings.bilevel:
            return batches
        if self.validation is None:
            raise ValueError("a bi-level search needs validation rows for its gates")
        return _in_turns(
            batches, self.validation.stream(model, settings.batch_size, settings.seed, skip)
        )


def _in_turns(*streams: Iterable[Rows]) -> Iterator[Rows]:
    iterators = [iter(stream) for stream in streams]
    while True:
        for iterator in iterators:
            yield next(iterator)


class _Plans:
    """Each round gives a plan, and each epoch an AUC where the search may stop early."""

    def __init__(self, stage: Stage, gates: Gates, stop_early: bool) -> None:
        self._stage = stage
        self._gates = gates
        self._stop_early = stop_early

    def measure(self, model: keras.Model, number: int, training: Row, seconds: float) -> Row:
        del seconds
        stage, auc = self._stage, None
        if self._stop_early and number % stage.settings.rounds == 0:
            assert stage.validation is not None
            if has_statistics(model):
                recompute_statistics(model, stage.train.inputs_of(model, STATISTICS_ROWS))
            auc = metrics.auc(*stage.validation.score(model))
        described = self._gates.describe(self._gates.read(model))
        row = {"stage": stage.number, "round": number, "train_loss": float(training["loss"])}
        return {**row, "validation_auc": auc, "gates": described}

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
        write_table(path, [*before, *history])
