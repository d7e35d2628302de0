"""One stage of a search: a model trained for a fixed number of steps, its gates by an optimizer of
their own. A stage that was killed goes on from its last round."""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from pydantic import NonNegativeFloat, NonNegativeInt

from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.optimizers import AlternatingOptimizer, RoutedOptimizer, SparseAdam
from ctr_keras.plan import InteractionPlan
from ctr_keras.runs import Checkpoints, jit_setting, write_table
from ctr_keras.search.rows import Rows
from ctr_keras.settings import Count, JitCompile, check_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What all searches share.

    Args:
        batch_size: int. That of all three papers. Defaults to `2000`.
        epochs: int. Passes over the training rows in a stage. Defaults to `1`.
        rounds: int. Parts of an epoch, after each of which learning rates may fall, progress is
            printed and the state is saved. Defaults to `5`.
        learning_rate: float. Of Adam. Defaults to `0.001`.
        learning_rate_decay: float. What it is multiplied with after each round. Defaults to `1.0`.
        epsilon: float. Of Adam. Defaults to `1e-08`.
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
    learning_rate: NonNegativeFloat = 1e-3
    learning_rate_decay: NonNegativeFloat = 1.0
    epsilon: NonNegativeFloat = 1e-8
    bilevel: bool = False
    seed: NonNegativeInt = 0
    jit_compile: JitCompile = "auto"
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    verbose: bool = True

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a search on given rows.

    Attributes:
        settings: of the search.
        features: FeatureSet.
        train: rows.
        validation: rows, for a bi-level search or an early stop.
        folder: where to keep checkpoints, or None for none.
        number: which of the search's stages it is.
    """

    settings: Search
    features: FeatureSet
    train: Rows
    validation: Rows | None
    folder: str | None
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

    def decayed(self, rate: float, decay: float) -> Any:
        """A learning rate that is multiplied with `decay` after each round."""
        if decay == 1.0:
            return rate
        return keras.optimizers.schedules.ExponentialDecay(
            rate, decay_steps=self.round_steps, decay_rate=decay, staircase=True
        )

    def run(
        self,
        build: Callable[[], keras.Model],
        routes: Mapping[str, Any],
        read: Callable[[keras.Model], InteractionPlan],
        describe: Callable[[InteractionPlan], str],
        *,
        stop_early: bool = False,
    ) -> InteractionPlan:
        """Trains the stage's model, or goes on with it, and returns what its gates say.

        Args:
            build: makes the model.
            routes: the gates' optimizers by pattern (see `RoutedOptimizer`).
            read: the plan that a model's gates stand for.
            describe: a plan in a few words, to show how far the search is.
            stop_early: bool. Whether to stop at the first epoch after which the validation rows'
                AUC is not higher, and return the plan of the epoch before. Defaults to `False`.
        """
        rounds = _Rounds(self, read, describe, stop_early)
        finished = rounds.result()
        if finished is not None:
            return finished
        keras.utils.set_random_seed(self.settings.seed + self.number)
        model = rounds.restore() or self._compiled(build(), routes)
        total = self.settings.epochs * self.settings.rounds
        if not rounds.is_over:
            model.fit(
                self._batches(model, rounds.done * self.round_steps),
                steps_per_epoch=self.round_steps * (2 if self.settings.bilevel else 1),
                initial_epoch=min(rounds.done, total),
                epochs=total,
                callbacks=[rounds],
                verbose="auto" if self.settings.verbose else 0,
                shuffle=False,  # the stream is shuffled already
            )
        return rounds.finish()

    def _compiled(self, model: keras.Model, routes: Mapping[str, Any]) -> keras.Model:
        settings = self.settings
        rate = self.decayed(settings.learning_rate, settings.learning_rate_decay)
        adam = SparseAdam(rate, epsilon=settings.epsilon)
        optimizer = AlternatingOptimizer if settings.bilevel else RoutedOptimizer
        model.compile(
            optimizer(adam, routes),
            loss="binary_crossentropy",
            jit_compile=jit_setting(settings.jit_compile),
        )
        return model

    def _batches(self, model: keras.Model, skip: int) -> Any:
        settings = self.settings
        batches = self.train.stream(model, settings.batch_size, settings.seed, skip)
        if not settings.bilevel:
            return batches
        if self.validation is None:
            raise ValueError("a bi-level search needs validation rows for its gates")
        return _in_turns(
            batches, self.validation.stream(model, settings.batch_size, settings.seed, skip)
        )


def _in_turns(*streams: Any) -> Iterator[Any]:
    iterators = [iter(stream) for stream in streams]
    while True:
        for iterator in iterators:
            yield next(iterator)


class _Rounds(keras.callbacks.Callback):
    """After each round: says how far the gates are, scores after an epoch, saves."""

    def __init__(
        self,
        stage: Stage,
        read: Callable[[keras.Model], InteractionPlan],
        describe: Callable[[InteractionPlan], str],
        stop_early: bool,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._read = read
        self._describe = describe
        self._stop_early = stop_early
        self._history: list[dict[str, Any]] = []
        self._plan: InteractionPlan | None = None  # the last one, or the best with an early stop
        name = f"stage-{stage.number}"
        self._folder = stage.folder and os.path.join(stage.folder, "checkpoints", name)

    @property
    def done(self) -> int:
        """Rounds so far."""
        return len(self._history)

    @property
    def is_over(self) -> bool:
        """Whether the last epoch scored no better than the best before it."""
        aucs = [row["validation_auc"] for row in self._history if row["validation_auc"] is not None]
        return len(aucs) > 1 and aucs[-1] <= max(aucs[:-1])

    def result(self) -> InteractionPlan | None:
        """The plan of a finished stage."""
        path = self._folder and f"{self._folder}.json"
        return InteractionPlan.load(path) if path and os.path.exists(path) else None

    def restore(self) -> keras.Model | None:
        """The compiled model of the last checkpoint, if there is one."""
        restored = Checkpoints(self._folder).restore() if self._folder else None
        if restored is None:
            return None
        model, state = restored
        self._history = state["history"]
        self._plan = InteractionPlan.from_dict(state["plan"])
        return model

    def finish(self) -> InteractionPlan:
        """The stage's plan, now that it is over."""
        plan = self._plan
        assert plan is not None
        if self._folder:
            self._write_history()
            plan.save(f"{self._folder}.json")
            Checkpoints(self._folder).remove()
        return plan

    def _write_history(self) -> None:
        """Adds the stage's rounds to those of the stages before it."""
        path = os.path.join(self._stage.folder or "", "history.csv")
        rows: list[dict[str, Any]] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                earlier = csv.DictReader(file)
                rows = [row for row in earlier if int(row["stage"]) < self._stage.number]
        write_table(path, [*rows, *self._history])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        stage, plan = self._stage, self._read(self.model)
        auc = None
        if self._stop_early and (epoch + 1) % stage.settings.rounds == 0:
            assert stage.validation is not None
            auc = metrics.auc(*stage.validation.score(self.model))
        row = {"stage": stage.number, "round": epoch + 1, "train_loss": float(logs["loss"])}
        self._history.append({**row, "validation_auc": auc, "gates": self._describe(plan)})
        if stage.settings.verbose:
            print(f"\nstage {stage.number}, round {epoch + 1}: {self._describe(plan)}")
        self.model.stop_training = self.is_over
        if self._plan is None or not self.is_over:
            self._plan = plan
        if self._folder:
            state = {"history": self._history, "plan": self._plan.to_dict()}
            Checkpoints(self._folder).save(self.done, self.model, state)
