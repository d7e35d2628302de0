"""What is trained, and what is kept of it."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import click
import numpy as np

from ctr_keras import metrics
from ctr_keras.models import MODELS
from ctr_keras.settings import spelled
from ctr_keras.training import TREES
from ctr_keras.types import Array

# FuxiCTR on the numbers as they are, and on standardized ones.
PEER, STANDARDIZED = "FuxiCTR", "FuxiCTR-z"
OURS = ("LR", "FM", "DeepFM", "IPNN", "AutoInt", "AutoIntPlus")
ON_TREES = ("GBDTLR", "GBDTFFM")  # on LightGBM's, which has to be trained before
# Those that FuxiCTR's layers make, beside our first six.
OF_PEER = (*OURS, "WideDeep", "FNN", "NFM", "DCN", "DCNv2", "xDeepFM", "FiBiNET")
PEERS = tuple(f"{peer}:{model}" for peer in (PEER, STANDARDIZED) for model in OF_PEER)
DEFAULT_MODELS = (*OURS, TREES, *(f"{PEER}:{model}" for model in OURS))

Line = dict[str, Any]  # of results.jsonl


class Job(NamedTuple):
    """What is trained: a model on a log; with `trials` by the best settings of so many."""

    log: str
    model: str
    seed: int
    trials: int = 0

    @property
    def folder(self) -> str:
        """Of the model on the log, below that of the results."""
        return os.path.join(self.log, self.model.replace(":", "-"), f"trials-{self.trials}")

    @property
    def is_peers(self) -> bool:
        """Whether it is a model of FuxiCTR."""
        return self.model in PEERS


class Trained(NamedTuple):
    """What a job has come to.

    Attributes:
        labels, scores: `(rows,)`, of the test split.
        line: what else is said of it.
    """

    labels: Array
    scores: Array
    line: Line


def jobs_of(logs: Sequence[str], models: Sequence[str], seeds: int, trials: int) -> list[Job]:
    """The jobs in the order in which they are done: the first seed of all comes first.

    Raises:
        click.BadParameter: for an unknown model.
    """
    known = (*MODELS, TREES, *PEERS)
    try:
        chosen = [spelled("model", model, known) for model in models]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    first = 1 if trials else 0
    return [
        Job(log, model, seed, trials)
        for seed in range(first, first + seeds)
        for log in logs
        for model in chosen
    ]


class Kept:
    """The results in a folder: one line a job, the last one of a job counts, and test scores."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._lines = folder / "results.jsonl"
        self._scores = folder / "scores"
        self._scores.mkdir(parents=True, exist_ok=True)

    def results(self) -> dict[Job, Line]:
        """All lines by job."""
        lines = read_lines(self._lines)
        return {Job(*(line[key] for key in Job._fields)): line for line in lines}

    def scores(self, job: Job) -> tuple[Array, Array]:
        """Labels and scores, each `(rows,)`."""
        with np.load(self._path(job)) as arrays:
            return arrays["labels"], arrays["scores"]

    def add(self, job: Job, trained: Trained) -> None:
        """Keeps a job that has ended well."""
        np.savez(self._path(job), labels=trained.labels, scores=trained.scores)
        measured = metrics.evaluate(trained.labels, trained.scores)
        test = {name: measured[name] for name in ("auc", "log_loss", "calibration_ratio")}
        add_line(self._lines, {**job._asdict(), **test, **trained.line})

    def add_failed(self, job: Job, error: Exception) -> None:
        """Keeps why a job has failed, in one line."""
        add_line(self._lines, {**job._asdict(), "error": one_line(error)})

    def _path(self, job: Job) -> pathlib.Path:
        return self._scores / f"{job.folder.replace(os.sep, '-')}-seed-{job.seed}.npz"


def read_lines(path: pathlib.Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_line(path: pathlib.Path, line: Line) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
