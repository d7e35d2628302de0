"""What runs of training and of searching share: whole files, settings, checkpoints, rounds."""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol, TextIO, TypeAlias

import keras
import yaml

from ctr_keras.types import Rows, Settings, Variable

Row: TypeAlias = dict[str, Any]  # of a history, by column
State: TypeAlias = dict[str, Any]  # for JSON

_PACKAGES = ("ctr-keras", "keras", "numpy", "tensorflow")


def write_whole(path: str, write: Callable[[TextIO], object]) -> None:
    """Writes a file of text as a whole or not at all."""
    with open(f"{path}.partial", "w", encoding="utf-8", newline="") as file:
        write(file)
    os.replace(f"{path}.partial", path)


def write_table(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows, at least one, as CSV, below the keys of the first one."""

    def write(file: TextIO) -> None:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)

    write_whole(path, write)


def write_settings(path: str, settings: Settings) -> None:
    """Writes a run's settings as YAML, with the versions of what it runs on."""
    backend = keras.backend.backend()
    versions = {"backend": backend}
    for package in sorted({*_PACKAGES, backend}):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # Keras on JAX needs no TensorFlow
            continue
    document = {**settings, "versions": versions}
    write_whole(path, lambda file: yaml.safe_dump(document, file, sort_keys=False))


def check_same_settings(out: str, earlier: Settings, settings: Settings) -> None:
    """Checks that a folder holds a run with these settings.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for key, value in settings.items():
        if earlier.get(key) != value:
            raise ValueError(
                f"{out} holds a run with {key}={earlier.get(key)!r}, not {value!r}; choose "
                "another folder for another run"
            )


def jit_setting(setting: bool | str) -> bool | str:
    """ "auto" as a step is fastest: TensorFlow's own kernels beat XLA's on a CPU."""
    is_tensorflow_on_cpu = keras.backend.backend() == "tensorflow" and not (
        keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    )
    return False if setting == "auto" and is_tensorflow_on_cpu else setting


class Checkpoints:
    """The last checkpoint of a run: a folder named by its number.

    It holds all that the rest of the run depends on. Its renaming is the one moment that counts:
    before it, a killed run goes on from the last checkpoint, after it from this one.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def last(self) -> str | None:
        """The folder of the last checkpoint."""
        names = os.listdir(self.folder) if os.path.exists(self.folder) else []
        numbers = [int(name) for name in names if name.isdigit()]
        return os.path.join(self.folder, str(max(numbers))) if numbers else None

    def restore(self) -> tuple[keras.Model, State] | None:
        """The compiled model of the last checkpoint and its state, if there is one."""
        if self.last is None:
            return None
        with open(os.path.join(self.last, "state.json"), encoding="utf-8") as file:
            state = json.load(file)
        model = keras.saving.load_model(os.path.join(self.last, "model.keras"))
        for seed, value in zip(_random_seeds(model), state.pop("random_seeds"), strict=True):
            seed.assign(value)
        return model, state

    def save(self, number: int, model: keras.Model, complete: Callable[[str], State]) -> None:
        """Replaces the last checkpoint, of which files that are not written anew are carried over.

        `complete` is given the unfinished folder, to add files of its own, and returns the state.
        """
        new, last = os.path.join(self.folder, "new"), self.last
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        model.save(os.path.join(new, "model.keras"))
        state = complete(new)
        seeds = [keras.ops.convert_to_numpy(seed).tolist() for seed in _random_seeds(model)]
        with open(os.path.join(new, "state.json"), "w", encoding="utf-8") as file:
            json.dump({**state, "random_seeds": seeds}, file)
        if last is not None:
            for name in set(os.listdir(last)) - set(os.listdir(new)):
                shutil.copyfile(os.path.join(last, name), os.path.join(new, name))
        os.rename(new, os.path.join(self.folder, str(number)))
        if last is not None:
            shutil.rmtree(last)

    def remove(self) -> None:
        """Removes all of it, once the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _random_seeds(model: keras.Model) -> list[Variable]:
    """The states of a model's random generators, which Keras does not save with it."""
    variables = model.non_trainable_variables
    return [v for v in variables if v.path.endswith("seed_generator_state")]


class Objective(Protocol):
    """What the rounds of one kind of run are for."""

    def measure(self, model: keras.Model, number: int, train_loss: float, seconds: float) -> Row:
        """The history's row of a round that has just ended; numbers start from 1."""

    def loss(self, row: Row) -> float | None:
        """By which rounds are compared; None for a round that has not been scored."""

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
    `patience` consecutive ones without a better one.
    """

    def __init__(
        self, objective: Objective, checkpoints: Checkpoints | None, *, total: int, patience: int
    ) -> None:
        super().__init__()
        self.history: list[Row] = []
        self.kept: State = {}  # of the best round
        self._objective = objective
        self._checkpoints = checkpoints
        self._total = total
        self._patience = patience

    @property
    def best(self) -> int:
        """The number of the best round."""
        losses = ((self._objective.loss(row), n) for n, row in enumerate(self.history, start=1))
        scored = [(loss, number) for loss, number in losses if loss is not None]
        return min(scored)[1] if scored else len(self.history)

    @property
    def is_over(self) -> bool:
        """Whether no round is left, or `patience` of them have not brought a better one."""
        done = len(self.history)
        return done >= self._total or done - self.best >= self._patience

    def run(
        self,
        build: Callable[[], keras.Model],
        batches: Callable[[keras.Model, int], Iterable[Rows]],
        steps: int,
        verbose: str | int = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        """Trains until the rounds are over, from the last checkpoint if there is one.

        `build` makes the compiled model; `batches` gives, for it and the number of rounds done, the
        endless batches of those that are left, `steps` a round. Callbacks are called when a round
        has been measured and saved, and find the numbers of its row in `logs`.
        """
        model = self._restored() or build()
        done = len(self.history)
        if not self.is_over:
            model.fit(
                batches(model, done),
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=self._total,
                callbacks=[self, *callbacks],
                verbose=verbose,
                shuffle=False,  # the batches are shuffled already
            )
        self._objective.show(self.history)

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
        seconds = time.monotonic() - self._started
        row = self._objective.measure(self.model, epoch + 1, float(logs["loss"]), seconds)
        self.history.append(row)
        logs |= {name: value for name, value in row.items() if isinstance(value, int | float)}
        if self._checkpoints is None:
            self._keep(None)
        else:
            self._checkpoints.save(len(self.history), self.model, self._keep)
        self._objective.show(self.history)
        self.model.stop_training = self.is_over

    def _keep(self, folder: str | None) -> State:
        """Keeps the round if it is the best one; returns the state of a checkpoint."""
        if self.best == len(self.history):
            self.kept = self._objective.keep(self.model, folder)
        return {"history": self.history, **self.kept}
