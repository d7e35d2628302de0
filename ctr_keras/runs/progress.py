"""How far a run is: in a terminal a line that changes, anywhere else a line a round."""

import datetime
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

import keras

from ctr_keras.runs.folder import Row
from ctr_keras.runs.rounds import Rounds

_PAUSE = 0.2  # seconds between two changes of the line
_ERASE = "\r\x1b[K"  # what stands in the terminal's line


def make_progress(
    rounds: Rounds, describe: Callable[[Row], str], batch_size: float, title: str = ""
) -> "Progress":
    """The callback that shows how far a run is on standard output.

    Args:
        rounds: Rounds, that are called before it.
        describe: function. What counts of a row of the history, in a few words.
        batch_size: float. Rows in a step, on average.
        title: str. What the lines begin with. Defaults to `""`.
    """
    kind = _TerminalProgress if sys.stdout.isatty() else Progress
    return kind(rounds, describe, batch_size, title)


class Progress(keras.callbacks.Callback):
    """A line when a round has ended."""

    def __init__(
        self, rounds: Rounds, describe: Callable[[Row], str], batch_size: float, title: str
    ) -> None:
        super().__init__()
        self._rounds = rounds
        self._describe = describe
        self._batch_size = batch_size
        self._title = title

    def on_train_begin(self, logs: Any = None) -> None:
        self._first = len(self._rounds.history)
        self._began = self._paced = time.monotonic()  # of all, and of what tells the time left
        if self._first:
            self._print(f"going on after {self._round(self._first)}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rounds, done = self._rounds, epoch + 1
        parts = [
            f"{self._round(done)}: {_training(logs)}",
            self._describe(rounds.history[-1]),
            self._speed(rounds.steps, rounds.seconds),
        ]
        if rounds.is_over:
            parts.append(f"took {_duration(time.monotonic() - self._began)}")
            if done < rounds.total:
                parts.append(f"stopped, as round {rounds.best} was the best")
        else:
            parts.append(self._left(done - self._first))
        self._print(", ".join(parts))

    def _round(self, number: int) -> str:
        return f"{self._title}round {number} of {self._rounds.total}"

    def _speed(self, steps: int, seconds: float) -> str:
        return f"{steps * self._batch_size / max(seconds, 1e-6):,.0f} examples/s"

    def _left(self, done: float) -> str:
        """The time left if no round is spared, by that of the rounds done since the start."""
        left = self._rounds.total - self._first - done
        seconds = (time.monotonic() - self._paced) / max(done, 1e-6) * left
        return f"at most {_duration(seconds)} left"

    def _print(self, line: str) -> None:
        print(line, flush=True)


class _TerminalProgress(Progress):
    """Below these lines, one that changes during a round."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now, steps, done = time.monotonic(), self._rounds.steps, len(self._rounds.history)
        if batch == 0:  # the first step of all is built and compiled, and no measure of the others
            self._round_began = self._changed = now
            if done == self._first:
                self._paced = now
        if now - self._changed < _PAUSE and batch + 1 < steps:
            return
        self._changed = now
        parts = [
            f"{self._round(done + 1)}: step {batch + 1} of {steps}",
            _training(logs),
            self._speed(batch, now - self._round_began),
            self._left(done - self._first + (batch + 1) / steps),
        ]
        line = ", ".join(parts)[: shutil.get_terminal_size().columns - 1]  # or it would wrap
        print(f"{_ERASE}{line}", end="", flush=True)

    def _print(self, line: str) -> None:
        super()._print(f"{_ERASE}{line}")


def _training(logs: Any) -> str:
    """The log loss of the training rows where it is measured, else what is minimized."""
    kind = "log_loss" if "log_loss" in logs else "loss"
    return f"training {kind.replace('_', ' ')} {logs[kind]:.5f}"


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
