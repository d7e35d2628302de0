"""The rounds of a run: some steps each, then a measurement and a checkpoint."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import keras

from ctr_keras.runs.checkpoints import Checkpoints, State
from ctr_keras.runs.folder import Row
from ctr_keras.types import Rows

STATISTICS_ROWS = 32_768  # of training, to recompute those of normalizations before an evaluation


class Objective(Protocol):
    """What the rounds of one kind of run are for."""

    def measure(self, model: keras.Model, number: int, training: Row, seconds: float) -> Row:
        """The history's row of a round that has just ended; numbers start from 1.

        `training` has the `loss` of the round, and what else the model was compiled to measure.
        """

    def loss(self, row: Row) -> float | None:
        """By which rounds are compared; None for a round that has not been scored."""

    def describe(self, row: Row) -> str:
        """What counts of a round, in a few words."""

    def keep(self, model: keras.Model, folder: str | None) -> State:
        """Keeps what counts of the round that has just ended, the best one so far.

        Files go to the folder of the checkpoint that is being made, None without checkpoints; what
        is returned is kept, too.
        """

    def show(self, history: Sequence[Row]) -> None:
        """Writes the history to where it is looked for."""


class Rounds(keras.callbacks.Callback):
    """The rounds of a run: some steps each, then a row of the history and a checkpoint.

    The best round is the one of least loss, or the last one as long as none has been scored. A run
    that was killed goes on after its last checkpoint. It is over after `total` rounds, or after
    `patience` consecutive ones without a better one. A callback may end it before.
    """

    def __init__(
        self, objective: Objective, checkpoints: Checkpoints | None, *, total: int, patience: int
    ) -> None:
        super().__init__()
        self.history: list[Row] = []
        self.kept: State = {}  # of the best round
        self.seconds = 0.0  # that the steps of the last round took
        self.total = total
        self.steps = 0  # of a round
        self._objective = objective
        self._checkpoints = checkpoints
        self._patience = patience

    @property
    def best(self) -> int:
        """The number of the best round."""
        scored = self._scored
        return min(scored)[1] if scored else len(self.history)

    @property
    def plateaus(self) -> int:
        """How many rounds were scored no better than all before them."""
        losses = [loss for loss, _ in self._scored]
        least = itertools.accumulate(losses, min)
        return sum(loss >= before for loss, before in zip(losses[1:], least, strict=False))

    @property
    def _scored(self) -> list[tuple[float, int]]:
        """The loss and the number of the rounds that have one."""
        losses = ((self._objective.loss(row), n) for n, row in enumerate(self.history, start=1))
        return [(loss, number) for loss, number in losses if loss is not None]

    @property
    def is_over(self) -> bool:
        """Whether no round is left, or `patience` of them have not brought a better one."""
        return len(self.history) >= self.total or self._has_waited

    @property
    def is_cut_short(self) -> bool:
        """Whether all rounds are done, and one of the last was the best."""
        return len(self.history) >= self.total and not self._has_waited

    @property
    def _has_waited(self) -> bool:
        return len(self.history) - self.best >= self._patience

    def run(
        self,
        build: Callable[[], keras.Model],
        batches: Callable[[keras.Model, int], Iterable[Rows]],
        steps: int,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.Model:
        """Trains until the rounds are over, from the last checkpoint if there is one.

        `build` makes the compiled model; `batches` gives, for it and the number of rounds done, the
        endless batches of those that are left, `steps` a round. Callbacks are called when a round
        has been measured and saved, and find the numbers of its row in `logs`. What is returned is
        the model of the last round.
        """
        self.steps = steps
        model = self._restored() or build()
        done = len(self.history)
        if not self.is_over:
            model.fit(
                batches(model, done),
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=self.total,
                callbacks=[self, *callbacks],
                verbose=0,
                shuffle=False,  # the batches are shuffled already
            )
        self._objective.show(self.history)
        return model

    def _restored(self) -> keras.Model | None:
        restored = self._checkpoints.restore() if self._checkpoints else None
        if restored is None:
            return None
        model, state = restored
        self.history = state.pop("history")
        self.kept = state
        return model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.monotonic() - self._started
        row = self._objective.measure(self.model, epoch + 1, logs, self.seconds)
        self.history.append(row)
        logs |= {name: value for name, value in row.items() if isinstance(value, int | float)}
        if self._checkpoints is None:
            self._keep(None)
        else:
            self._checkpoints.save(len(self.history), self.model, self._keep)
        self._objective.show(self.history)
        if self.is_over:  # else it stays as it is: another callback may have ended the round
            self.model.stop_training = True

    def _keep(self, folder: str | None) -> State:
        """Keeps the round if it is the best one; returns the state of a checkpoint."""
        if self.best == len(self.history):
            self.kept = self._objective.keep(self.model, folder)
        return {"history": self.history, **self.kept}
