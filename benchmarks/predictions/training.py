"""Trains models as jobs say: ours, LightGBM and, in a process of its own, FuxiCTR's."""

import csv
import functools
import itertools
import json
import math
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from benchmarks.peers.worker import ON_CPU, ROOT
from benchmarks.predictions.jobs import (
    ON_TREES,
    STANDARDIZED,
    Job,
    Line,
    Trained,
    add_line,
    one_line,
    read_lines,
)
from benchmarks.predictions.peer import peer_rows
from ctr_keras import metrics
from ctr_keras.training import TREES, load_run, predict_split, read_config, train
from ctr_keras.tuning import Choice, Range, TuneConfig, model_space, tune
from ctr_keras.tuning.spaces import Space

_FINALS = 4 * 3  # finalists of a study by their seeds
# What FuxiCTR's trials draw from, where our own models' do; some settings are not of every model.
_OUR_SPACE = model_space("DeepFM")
PEER_SPACE: Space = {
    "learning_rate": _OUR_SPACE["learning_rate"],
    "batch_size": _OUR_SPACE["batch_size"],
    "embedding_dim": _OUR_SPACE["dim"],
    "embedding_regularizer": _OUR_SPACE["embedding_l2"],
    "net_regularizer": _OUR_SPACE["net_l2"],
    "hidden_units": _OUR_SPACE["hidden"],
    "net_dropout": _OUR_SPACE["dropout"],
    "batch_norm": Choice((False, True)),
}
TREES_SPACE: Space = {
    "learning_rate": Range(0.01, 0.2, log=True),
    "num_leaves": Range(4, 255, log=True),
    "min_data_in_leaf": Range(1, 200, log=True),
    "bagging_fraction": Range(0.5, 1.0),
    "feature_fraction": Range(0.5, 1.0),
    "lambda_l2": Range(1e-3, 100.0, log=True),
    "cat_smooth": Range(1.0, 100.0, log=True),
    "cat_l2": Range(0.1, 100.0, log=True),
}


class Trainer:
    """Trains what jobs say.

    Args:
        data: the folder of the prepared logs.
        out: what jobs leave besides results is below it.
        peer_python: function that returns the interpreter of FuxiCTR's environment.
    """

    def __init__(
        self, data: pathlib.Path, out: pathlib.Path, peer_python: Callable[[], str]
    ) -> None:
        self._data = data
        self._out = out
        self._peer_python = functools.cache(peer_python)

    def train(self, job: Job) -> Trained:
        """Trains a model, by the best settings of its trials if it has some.

        A model on trees has the default settings on tuned trees, whose trials are its own.
        """
        is_tuned = job.trials and job.model not in ON_TREES
        settings = self._tuned(job) if is_tuned else {}
        if job.is_peers:
            trained, _ = self._train_peer(job, settings)
        else:
            trained = self._train_ours(job, settings)
        if settings:
            trained.line["settings"] = settings
        return trained

    def _train_ours(self, job: Job, settings: Mapping[str, Any]) -> Trained:
        out = self._run_folder(job, f"seed-{job.seed}")
        report = self._fit(job, out, settings)
        model, features, config = load_run(out)
        labels, scores = predict_split(model, features, config.data, "test")
        with open(os.path.join(out, "history.csv"), encoding="utf-8", newline="") as file:
            rounds = list(csv.DictReader(file))
        seconds = list(itertools.accumulate(float(round_["seconds"]) for round_ in rounds))
        line = {
            "validation_log_loss": report["validation"]["log_loss"],
            "evaluations": report["rounds"],
            "seconds": round(seconds[-1], 3),
            "seconds_to_best": round(seconds[report["best_round"] - 1], 3),
        }
        if job.model != TREES:
            aucs = [float(round_["validation_auc"]) for round_ in rounds]
            line["curve"] = [[round(at, 3), auc] for at, auc in zip(seconds, aucs, strict=True)]
        return Trained(labels, scores, line)

    def _fit(self, job: Job, out: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `ctr-keras train` does."""
        given = {**settings, **self._given(job), "out": out, "seed": job.seed}
        return train(read_config(None, (), **given))

    def _given(self, job: Job) -> dict[str, Any]:
        """What no trial changes: the log, the model and, for one on trees, LightGBM's run."""
        given = {"data": self._prepared(job.log), "model": job.model}
        if job.model in ON_TREES:
            given["trees"] = self._run_folder(job._replace(model=TREES), f"seed-{job.seed}")
        return given

    def _train_peer(self, job: Job, settings: Mapping[str, Any]) -> tuple[Trained, float]:
        """A trained model of FuxiCTR, and what its `fit` maximizes."""
        peer, model = job.model.split(":")
        rows_path = self._peer_rows(job.log, standardized=peer == STANDARDIZED)
        task = {"model": model, "seed": job.seed, "settings": settings}
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out.npz")
            module = "benchmarks.peers.predict_fuxictr"
            command = [self._peer_python(), "-m", module, str(rows_path), out, json.dumps(task)]
            _call(command)
            with np.load(rows_path) as rows, np.load(out) as answer:
                labels, validation_labels = rows["test/label"], rows["validation/label"]
                report = json.loads(str(answer["report"]))
                left_out = json.loads(str(rows["left_out"]))
                scores = {split: answer[split] for split in ("validation", "test")}
        validation = metrics.evaluate(validation_labels, scores["validation"])
        line = {"validation_log_loss": validation["log_loss"], **report}
        if left_out:
            line["left_out"] = left_out
        trained = Trained(labels, scores["test"], line)
        return trained, validation["auc"] - validation["log_loss"]

    def _peer_rows(self, log: str, *, standardized: bool) -> pathlib.Path:
        """The file of a log's rows as FuxiCTR is given them."""
        path = self._out / "peer" / f"{log}{'-z' if standardized else ''}.npz"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, **peer_rows(self._prepared(log), standardized=standardized))
            partial.replace(path)
        return path

    def _tuned(self, job: Job) -> dict[str, Any]:
        """The best settings of the trials, which are made at the first seed."""
        best = pathlib.Path(self._run_folder(job, "tuned.json"))
        if not best.exists():
            best.parent.mkdir(parents=True, exist_ok=True)
            best.write_text(json.dumps(self._tune(job)))
        return dict(json.loads(best.read_text()))

    def _tune(self, job: Job) -> dict[str, Any]:
        trial = job._replace(seed=0)
        if job.is_peers:

            def gain(number: int, settings: Mapping[str, Any]) -> float:
                return self._train_peer(trial, settings)[1]

            return self._search(job, PEER_SPACE, gain)
        if job.model == TREES:

            def gain(number: int, settings: Mapping[str, Any]) -> float:
                out = self._run_folder(job, "trials", f"{number:04d}")
                return -float(self._fit(trial, out, settings)["validation"]["log_loss"])

            return self._search(job, TREES_SPACE, gain)
        given = {**self._given(job), "out": self._run_folder(job, "study")}
        return dict(tune(TuneConfig.read(trials=job.trials, **given))["settings"])

    def _search(
        self, job: Job, space: Space, gain: Callable[[int, Mapping[str, Any]], float]
    ) -> dict[str, Any]:
        """The default or random settings that gain most; what is made is not made again.

        There are as many trainings as a study has: its trials, and its finalists' other seeds.
        """
        path = pathlib.Path(self._run_folder(job, "trials.jsonl"))
        made = len(read_lines(path))
        for number, settings in enumerate([{}, *drawn(space, job.trials + _FINALS - 1)]):
            if number >= made:
                line: Line = {"settings": settings}
                try:
                    line["gain"] = gain(number, settings)
                except Exception as error:  # other settings may do
                    line |= {"gain": -math.inf, "error": one_line(error)}
                add_line(path, line)
        best = max(read_lines(path), key=lambda line: line["gain"])
        if "error" in best:
            raise RuntimeError(f"all trials have failed: {best['error']}")
        return dict(best["settings"])

    def _prepared(self, log: str) -> str:
        return str(self._data / log)

    def _run_folder(self, job: Job, *parts: str) -> str:
        return os.path.join(self._out, "runs", job.folder, *parts)


def drawn(space: Space, count: int) -> Iterator[dict[str, Any]]:
    """Random settings, the same ones at every call.

    Example:

    >>> space = {"learning_rate": Range(0.001, 0.1, log=True), "batch_norm": Choice((False, True))}
    >>> list(drawn(space, 2)) == list(drawn(space, 2))
    True
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = {name: of.distribution() for name, of in space.items()}
    for _ in range(count):
        params = study.ask(distributions).params
        yield {name: of.value(params[name]) for name, of in space.items()}


def _call(command: Sequence[str]) -> None:
    """Runs a command; its error is the last line that it wrote.

    Raises:
        RuntimeError: if it fails.
    """
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ON_CPU}, capture_output=True, text=True
    )
    if ended.returncode:
        last = (ended.stderr or ended.stdout).strip().rpartition("\n")[2]
        raise RuntimeError(f"status {ended.returncode}: {last}")
