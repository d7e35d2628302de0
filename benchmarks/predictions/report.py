"""Tables of what is there, and what was reached of the goals."""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.predictions.jobs import OURS, PEERS, Job, Kept, Line
from ctr_keras import metrics
from ctr_keras.compare.statistics import paired_t_test
from ctr_keras.models import MODELS
from ctr_keras.training import TREES

CALIBRATION = (0.95, 1.05)
BEHIND_PEER = 0.002  # in AUC

Curve = Sequence[tuple[float, float]]  # seconds of training, validation AUC


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

    def of(self, log: str, model: str, what: str) -> dict[int, Any]:
        """A metric, or what else a line says, by seed."""
        wanted = (log, model)
        return {j.seed: line[what] for j, line in self._lines.items() if j[:2] == wanted}

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
    if values.logs:
        yield "\nMean rank over the logs, of the models that are trained on all of them:\n"
        yield from _ranks(values)
    yield from _races(values)


def _ranks(values: Values) -> Iterator[str]:
    """A row a model, the best by AUC first."""
    ranked = [m for m in values.models if all(values.of(log, m, "auc") for log in values.logs)]
    aucs, losses = (
        np.array([[values.mean(log, m, metric) for m in ranked] for log in values.logs])
        for metric in ("auc", "log_loss")
    )
    ranks = [rankdata(of, axis=-1).mean(axis=0) for of in (-aucs, losses)]
    yield _row("model", ["by AUC", "by log loss"])
    yield _row("---", ["---"] * 2)
    for number in np.argsort(ranks[0], kind="stable"):
        yield _row(ranked[number], [f"{of[number]:.1f}" for of in ranks])


def _races(values: Values) -> Iterator[str]:
    """Seconds of training to a validation AUC that both our model and the peer's reach."""
    pairs = [(theirs.partition(":")[2], theirs) for theirs in values.models if theirs in PEERS]
    if not pairs:
        return
    yield (
        "\nSeconds of training to the validation AUC that both reach, the lower of their best:"
        "\nours / FuxiCTR, medians over seeds:\n"
    )
    yield _row("model", values.logs)
    yield _row("---", ["---"] * len(values.logs))
    for ours, theirs in pairs:
        curves = [
            (values.of(log, ours, "curve"), values.of(log, theirs, "curve")) for log in values.logs
        ]
        yield _row(theirs, [_race(*both) for both in curves])


def _race(ours: Mapping[int, Curve], theirs: Mapping[int, Curve]) -> str:
    """The medians of both, or nothing where they have no seed in common."""
    seeds = ours.keys() & theirs.keys()
    if not seeds:
        return ""
    both = [_seconds_to_common(ours[seed], theirs[seed]) for seed in seeds]
    return " / ".join(f"{statistics.median(seconds):.1f}" for seconds in zip(*both, strict=True))


def _seconds_to_common(*curves: Curve) -> list[float]:
    """When each curve first reaches the lower of the highest points of all."""
    common = min(max(auc for _, auc in curve) for curve in curves)
    return [next(seconds for seconds, auc in curve if auc >= common) for curve in curves]


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
