"""Predictions of test rows: our models, LightGBM and FuxiCTR's, on one split of each log.

Prepare the logs first, `python -m benchmarks.logs --data DATA --out PREPARED`. Then

    python -m benchmarks.predictions --data PREPARED --out DIR
    python -m benchmarks.predictions --data PREPARED --out DIR --trials 30
    python -m benchmarks.predictions --out DIR --report

train each model on each log with default settings, the same with the best settings of 30 trials,
and print the tables of what is there. `--logs criteo,frappe`, `--models LR,FuxiCTR:DeepFM` and
`--seeds 1` take a part of it.

A job is a log, a model and a seed. It leaves a line in `DIR/results.jsonl` and its test scores in
`DIR/scores`; what is there is not trained again, but for jobs that failed. Seeds start from 0,
after trials from 1, as the trials themselves have seed 0. Our models are tuned by
`ctr_keras.tuning.tune`, LightGBM and FuxiCTR's models by as many random trials, the same ones on
all logs.

All get the same rows, ids and numbers, without crossed columns. FuxiCTR trains in a process and an
environment of its own, which is made at first (some GB below `--environments`); each field has an
embedding for missing values, lists are averaged, numbers multiplied with a vector. Sequences are in
`left_out`: FuxiCTR's models do not get them, and ours of the same names do not read them. Its
settings are those of its model zoo (see `peers/predict_fuxictr.py`), but its `AutoInt_default` has
a tower and so is compared with our AutoInt+; without the tower it is AutoInt. Its vectors of
numbers start with a spread of 1 or so, too much for numbers that reach 200, as Criteo's do: the
models of `FuxiCTR-z` get numbers with mean 0 and deviation 1, as its own preprocessing can.

Seconds are those of training, without evaluations (LightGBM's with them), up to the best one and
in all. Ours contain parsing TFRecords and building the step, FuxiCTR's rows are in memory.
"""

import contextlib
import csv
import functools
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
import keras
import numpy as np
import optuna

from benchmarks.peers.environments import default_folder, environment_python
from benchmarks.peers.worker import ON_CPU, ROOT
from ctr_keras import metrics
from ctr_keras.compare.statistics import paired_t_test
from ctr_keras.data import open_examples, read_rows
from ctr_keras.features import FeatureSet, MultiValued, Numeric
from ctr_keras.models import MODELS
from ctr_keras.training import TREES, load_run, predict_split, read_config, train
from ctr_keras.tuning import Choice, Range, TuneConfig, model_space, tune
from ctr_keras.tuning.spaces import Space
from ctr_keras.types import Array, Inputs, Rows

# FuxiCTR on the numbers as they are, and on standardized ones.
PEER, STANDARDIZED = "FuxiCTR", "FuxiCTR-z"
OURS = ("LR", "FM", "DeepFM", "IPNN", "AutoInt", "AutoIntPlus")
PEERS = tuple(f"{peer}:{model}" for peer in (PEER, STANDARDIZED) for model in OURS)
DEFAULT_MODELS = (*OURS, TREES, *(model for model in PEERS if model.startswith(f"{PEER}:")))
SPLITS = ("train", "validation", "test")

CALIBRATION = (0.95, 1.05)
BEHIND_PEER = 0.002  # in AUC

# What FuxiCTR's trials draw from, where our own models' do; some settings are not of every model.
_OUR_SPACE = model_space("DeepFM")
PEER_SPACE: Space = {
    "learning_rate": _OUR_SPACE["learning_rate"],
    "batch_size": _OUR_SPACE["batch_size"],
    "embedding_dim": _OUR_SPACE["dim"],
    "embedding_regularizer": _OUR_SPACE["embedding_l2"],
    "net_regularizer": _OUR_SPACE["linear_l2"],
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


@click.command(help="Train models on logs with default settings or tuned, and compare.")
@click.option("--data", type=click.Path(path_type=pathlib.Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path))
@click.option("--logs", default="", help="Some of them, separated by commas.")
@click.option("--models", default=",".join(DEFAULT_MODELS), show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--trials", default=0, show_default=True, help="0: default settings.")
@click.option("--report", "only_report", is_flag=True, help="Print the tables, train nothing.")
@click.option("--threads", default=2, show_default=True, help="CPUs that all share (Linux).")
@click.option("--environments", default=default_folder, help="Folder of the peers' environments.")
def main(
    data: pathlib.Path | None,
    out: pathlib.Path,
    logs: str,
    models: str,
    seeds: int,
    trials: int,
    only_report: bool,
    threads: int,
    environments: str,
) -> None:
    """Train what is not trained yet, and print the tables."""
    kept = Kept(out)
    if not only_report:
        if data is None:
            raise click.UsageError("give --data, or --report to train nothing")
        names = _list(logs) or sorted(path.parent.name for path in data.glob("*/features.json"))
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        jobs = jobs_of(names, _list(models), seeds, trials)
        run(jobs, kept, Trainer(data, out, lambda: environment_python(environments, "fuxictr")))
    for line in report(kept):
        print(line)


def _list(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def jobs_of(logs: Sequence[str], models: Sequence[str], seeds: int, trials: int) -> list[Job]:
    """The jobs in the order in which they are done: the first seed of all comes first.

    Raises:
        click.BadParameter: for an unknown model.
    """
    known = (*MODELS, TREES, *PEERS)
    for model in models:
        if model not in known:
            raise click.BadParameter(f"unknown model {model!r}; available: {', '.join(known)}")
    first = 1 if trials else 0
    return [
        Job(log, model, seed, trials)
        for seed in range(first, first + seeds)
        for log in logs
        for model in models
    ]


class Kept:
    """The results in a folder: one line a job, the last one of a job counts, and test scores."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._lines = folder / "results.jsonl"
        self._scores = folder / "scores"
        self._scores.mkdir(parents=True, exist_ok=True)

    def results(self) -> dict[Job, Line]:
        """All lines by job."""
        lines = _read_lines(self._lines)
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
        _add_line(self._lines, {**job._asdict(), **test, **trained.line})

    def add_failed(self, job: Job, error: Exception) -> None:
        """Keeps why a job has failed, in one line."""
        _add_line(self._lines, {**job._asdict(), "error": _one_line(error)})

    def _path(self, job: Job) -> pathlib.Path:
        return self._scores / f"{job.folder.replace(os.sep, '-')}-seed-{job.seed}.npz"


def _read_lines(path: pathlib.Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _add_line(path: pathlib.Path, line: Line) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def run(jobs: Sequence[Job], kept: Kept, trainer: "Trainer") -> None:
    """Does the jobs that are not done yet; one that fails does not stop the others."""
    done = {job for job, line in kept.results().items() if "error" not in line}
    for number, job in enumerate(jobs, start=1):
        if job in done:
            continue
        print(f"[{number}/{len(jobs)}] {' '.join(map(str, job))}", file=sys.stderr)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # progress
                kept.add(job, trainer.train(job))
        except Exception as error:  # whatever it is, it is this job's
            kept.add_failed(job, error)
            print(f"failed: {_one_line(error)}", file=sys.stderr)
        keras.backend.clear_session()


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
        """Trains a model, by the best settings of its trials if it has some."""
        settings = self._tuned(job) if job.trials else {}
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
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
        line = {
            "validation_log_loss": report["validation"]["log_loss"],
            "evaluations": report["rounds"],
            "seconds": round(sum(seconds), 3),
            "seconds_to_best": round(sum(seconds[: report["best_round"]]), 3),
        }
        return Trained(labels, scores, line)

    def _fit(self, job: Job, out: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `ctr-keras train` does."""
        given = {"data": self._prepared(job.log), "model": job.model, "out": out, "seed": job.seed}
        return train(read_config(None, (), **{**settings, **given}))

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
        given: dict[str, Any] = {"data": self._prepared(job.log), "model": job.model}
        given["out"] = self._run_folder(job, "study")
        return dict(tune(TuneConfig.read(trials=job.trials, seeds=0, **given))["settings"])

    def _search(
        self, job: Job, space: Space, gain: Callable[[int, Mapping[str, Any]], float]
    ) -> dict[str, Any]:
        """The random settings that gain most; trials that are made are not made again."""
        path = pathlib.Path(self._run_folder(job, "trials.jsonl"))
        made = len(_read_lines(path))
        for number, settings in enumerate(drawn(space, job.trials)):
            if number >= made:
                line: Line = {"settings": settings}
                try:
                    line["gain"] = gain(number, settings)
                except Exception as error:  # other settings may do
                    line |= {"gain": -math.inf, "error": _one_line(error)}
                _add_line(path, line)
        best = max(_read_lines(path), key=lambda line: line["gain"])
        if "error" in best:
            raise RuntimeError(f"all {job.trials} trials have failed: {best['error']}")
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


def peer_rows(prepared: str, *, standardized: bool = False) -> dict[str, Any]:
    """A log as FuxiCTR is given it: `ROWS.npz` of `benchmarks.peers.predict_fuxictr`.

    Args:
        prepared: the folder that `ctr-keras prepare` wrote.
        standardized: whether numbers get mean 0 and deviation 1 in the training split.

    Returns:
        By name, columns of fields and labels, `features` and `left_out`.
    """
    features = FeatureSet.load(os.path.join(prepared, "features.json")).without_crossed()
    rows = {split: _whole(prepared, split, features) for split in SPLITS}
    if standardized and features.numeric:
        numbers = rows["train"][0]["numeric"]
        mean, deviation = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-6)
        rows = {
            split: ({**inputs, "numeric": (inputs["numeric"] - mean) / deviation}, labels)
            for split, (inputs, labels) in rows.items()
        }
    found: dict[str, Any] = {
        "features": json.dumps([one for one, _ in _peer_fields(features, rows["train"][0])]),
        "left_out": json.dumps([feature.name for feature in features.sequences]),
    }
    for split, (inputs, labels) in rows.items():
        found[f"{split}/label"] = labels[:, 0]
        for number, (_, column) in enumerate(_peer_fields(features, inputs)):
            found[f"{split}/{number}"] = column
    return found


def _whole(prepared: str, split: str, features: FeatureSet) -> Rows:
    return read_rows(prepared, split, features, open_examples(prepared, split, features).count)


def _peer_fields(features: FeatureSet, inputs: Inputs) -> Iterator[tuple[dict[str, Any], Array]]:
    """FuxiCTR's specification and the column of each field; ids start from 1 in each."""
    columns = {
        feature.name: inputs[packed] if isinstance(feature, MultiValued) else inputs[packed][:, n]
        for packed, members in features.packed_features.items()
        for n, feature in enumerate(members)
        if packed in inputs
    }
    for feature in features.fields:
        column = columns[feature.name]
        if isinstance(feature, Numeric) and feature.vocabulary is None:
            yield {"type": "numeric"}, column
            continue
        known = features.id_ranges[features.vocabulary_name(feature)]
        ids = np.where(column == 0, 0, column - known.start + 1)
        specification: dict[str, Any] = {"type": "categorical", "vocab_size": len(known) + 1}
        if isinstance(feature, MultiValued):
            pooling = "layers.MaskedAveragePooling()"
            own = {"padding_idx": 0, "max_len": feature.max_length, "feature_encoder": pooling}
            specification |= {"type": "sequence", **own}
        yield specification, ids


class Values:
    """The results of jobs with as many trials, by log and model."""

    def __init__(self, results: Mapping[Job, Line], trials: int) -> None:
        self.trials = trials
        self._lines = {
            job: line
            for job, line in sorted(results.items())
            if job.trials == trials and "error" not in line
        }
        present = {job.model for job in self._lines}
        self.logs = list(dict.fromkeys(job.log for job in self._lines))
        self.models = [m for m in dict.fromkeys((*OURS, *MODELS, TREES, *PEERS)) if m in present]
        self.ours = [model for model in self.models if model in MODELS]

    def of(self, log: str, model: str, metric: str) -> dict[int, float]:
        """A metric by seed."""
        wanted = (log, model)
        return {j.seed: line[metric] for j, line in self._lines.items() if j[:2] == wanted}

    def mean(self, log: str, model: str, metric: str) -> float:
        """The mean over seeds, NaN without any: it is neither more nor less than anything."""
        values = self.of(log, model, metric).values()
        return statistics.fmean(values) if values else math.nan


def report(kept: Kept) -> Iterator[str]:
    """Tables in Markdown and what was reached of the goals, by the number of trials."""
    results = kept.results()
    for trials in sorted({job.trials for job in results}):
        values = Values(results, trials)
        yield f"## {f'Best of {trials} trials' if trials else 'Default settings'}"
        yield from _tables(values)
        yield "\nGoals:\n"
        yield from goals(values, half_widths(values, kept))
        for job, line in results.items():
            if job.trials == trials and "error" in line:
                yield f"- failed: {job.model} on {job.log}, seed {job.seed}: {line['error']}"
        yield ""


def _tables(values: Values) -> Iterator[str]:
    yield "\nTest AUC / log loss, means over seeds +/- the standard deviation:\n"
    yield from _table(values, "auc", "log_loss", digits=4, spread=True)
    yield "\nCalibration ratios, mean score over share of clicks:\n"
    yield from _table(values, "calibration_ratio", digits=3)
    yield "\nSeconds of training to the best evaluation:\n"
    yield from _table(values, "seconds_to_best", digits=1)


def _table(values: Values, *shown: str, digits: int, spread: bool = False) -> Iterator[str]:
    """A row a model, a column a log; the means of what is shown in each cell."""

    def number(by_seed: Mapping[int, float]) -> str:
        mean = f"{statistics.fmean(by_seed.values()):.{digits}f}"
        if not spread or len(by_seed) == 1:
            return mean
        return f"{mean} +/- {statistics.stdev(by_seed.values()):.{digits}f}"

    yield _row("model", values.logs)
    yield _row("---", ["---"] * len(values.logs))
    for model in values.models:
        of_logs = [[values.of(log, model, metric) for metric in shown] for log in values.logs]
        yield _row(model, [" / ".join(map(number, filter(None, cell))) for cell in of_logs])


def _row(first: str, others: Sequence[str]) -> str:
    return f"| {' | '.join((first, *others))} |"


def half_widths(values: Values, kept: Kept) -> dict[str, float]:
    """Half the width of the 95% bootstrap interval of LR's AUC, of its first seed, by log."""
    found = {}
    for log in values.logs:
        if seeds := values.of(log, "LR", "auc"):
            labels, scores = kept.scores(Job(log, "LR", min(seeds), values.trials))
            interval = metrics.bootstrap_intervals(labels, scores, ["auc"])["auc"]
            found[log] = (interval[1] - interval[0]) / 2 if interval else 0.0
    return found


def goals(values: Values, half_widths: Mapping[str, float]) -> Iterator[str]:
    """What was reached of the goals that can be judged by these results, and where it was not.

    Args:
        values: Values.
        half_widths: of LR's intervals, by log.
    """
    low, high = CALIBRATION
    if half_widths:
        misses = list(_below_lr(values, half_widths))
        yield from _goal("ours below LR by more than half of its interval nowhere", misses)
    misses = list(_miscalibrated(values))
    yield from _goal(f"calibration ratios from {low} to {high} everywhere", misses)
    if TREES in values.models and values.ours:
        misses = list(_below_trees(values))
        yield from _goal("the best of ours below LightGBM on one log at most", misses, allowed=1)
    if any(model in PEERS for model in values.models):
        misses = list(_behind_peer(values))
        yield from _goal(f"ours behind FuxiCTR's by more than {BEHIND_PEER} nowhere", misses)
    yield from _goal("no run stopped while it still got better", list(_unfinished(values)))


def _goal(what: str, misses: Sequence[str], allowed: int = 0) -> Iterator[str]:
    yield f"- {what}: {'met' if len(misses) <= allowed else 'missed'}"
    yield from (f"  - {miss}" for miss in misses)


def _below_lr(values: Values, half_widths: Mapping[str, float]) -> Iterator[str]:
    for log, half_width in half_widths.items():
        lr = values.mean(log, "LR", "auc")
        for model in values.ours:
            auc = values.mean(log, model, "auc")
            if lr - auc > half_width:
                yield f"{log}: {model} is {lr - auc:.4f} below LR in AUC, over {half_width:.4f}"


def _miscalibrated(values: Values) -> Iterator[str]:
    low, high = CALIBRATION
    for log in values.logs:
        for model in values.models:
            ratio = values.mean(log, model, "calibration_ratio")
            if not math.isnan(ratio) and not low <= ratio <= high:
                yield f"{log}: {model} has {ratio:.3f}"


def _below_trees(values: Values) -> Iterator[str]:
    for log in values.logs:
        aucs = {model: values.mean(log, model, "auc") for model in values.ours}
        best = max(aucs, key=lambda model: (not math.isnan(aucs[model]), aucs[model]))
        behind = values.mean(log, TREES, "auc") - aucs[best]
        if behind > 0:
            yield f"{log}: {best} is {behind:.4f} below LightGBM in AUC"


def _behind_peer(values: Values) -> Iterator[str]:
    for log, theirs in itertools.product(values.logs, values.models):
        ours = theirs.partition(":")[2]
        behind = values.mean(log, theirs, "auc") - values.mean(log, ours, "auc")
        if behind > BEHIND_PEER:
            aucs = [values.of(log, model, "auc") for model in (ours, theirs)]
            p_value = paired_t_test(*aucs)
            says = "" if p_value is None else f", p = {p_value:.2g} over seeds"
            yield f"{log}: {ours} is {behind:.4f} behind {theirs} in AUC{says}"


def _unfinished(values: Values) -> Iterator[str]:
    """Runs that ended with the best evaluation of all: longer ones would have been better."""
    for log, model in itertools.product(values.logs, values.models):
        best, all_ = (values.of(log, model, of) for of in ("seconds_to_best", "seconds"))
        if count := sum(best[seed] == all_[seed] for seed in best):
            yield f"{log}: {model}, {count} of {len(best)} seeds"


if __name__ == "__main__":
    main()
