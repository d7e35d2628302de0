"""Runs on the same data as a table: metrics with intervals, differences, slices, cost."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ctr_keras import metrics
from ctr_keras.compare.runs import Scored, ScoredRows, by_settings, score_runs
from ctr_keras.compare.statistics import paired_t_test, resampled
from ctr_keras.data import open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.metrics.bootstrap import interval, paired_difference
from ctr_keras.training.slices import Column, Slice, read_columns, slices
from ctr_keras.types import Array

METRICS = ("auc", "log_loss", "calibration_ratio", "expected_calibration_error", "pr_auc")
COMPARED = ("auc", "log_loss")  # of which differences are looked at
_BATCH_SIZE = 4096
_BUCKETS = 10


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the table: runs that differ in nothing but the seed.

    Attributes:
        name: str. The model, and the settings in which it differs from others of the same model.
        runs: list of Scored, by rising seed.
        values: dict. By metric an array `(seeds,)`.
        intervals: dict. By metric low and high of the mean over seeds, 95%, for other test rows.
        differences: dict. By metric what the mean is above that of the best entry, as a
            `PairedDifference`; None for the best one itself.
        t_tests: dict. By metric the p-value of the paired t-test over common seeds against the best
            entry, or None.
        slices: dict. By field a list of (value, rows, AUC or None).
    """

    name: str
    runs: Sequence[Scored]
    values: Mapping[str, Array]
    intervals: Mapping[str, tuple[float, float]]
    differences: Mapping[str, metrics.PairedDifference] | None
    t_tests: Mapping[str, float | None]
    slices: Mapping[str, Sequence[tuple[str, int, float | None]]]

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [run.seed for run in self.runs]

    def mean(self, metric: str) -> float:
        """A metric's mean over the seeds."""
        return float(self.values[metric].mean())

    def deviation(self, metric: str) -> float | None:
        """Its standard deviation over the seeds; None with one seed."""
        values = self.values[metric]
        return float(values.std(ddof=1)) if len(values) > 1 else None

    @property
    def seconds(self) -> float:
        """Of training a run, on average."""
        return float(np.mean([run.seconds for run in self.runs]))

    @property
    def rounds(self) -> float:
        """Of a run, on average."""
        return float(np.mean([len(run.history) for run in self.runs]))

    @property
    def parameters(self) -> int:
        """Numbers in the weights that are trained, of the first run."""
        return self.runs[0].parameters


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs on the same data, best first.

    Attributes:
        data: str. The prepared data.
        split: str. Which rows were scored.
        label: str. The column of the labels.
        labels: array `(rows,)`.
        weight: str. The column by which all metrics weigh rows, `""` where rows count alike.
        weights: array `(rows,)`.
        replicates: int. Of the bootstrap.
        entries: list of Entry, by falling AUC.
    """

    data: str
    split: str
    label: str
    labels: Array
    weight: str
    weights: Array
    replicates: int
    entries: Sequence[Entry]

    @property
    def best(self) -> Entry:
        """The entry of the highest AUC."""
        return self.entries[0]

    @property
    def label_mean(self) -> float:
        """The share of clicks."""
        return float(np.average(self.labels, weights=self.weights))

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON."""
        return {
            "data": self.data,
            "split": self.split,
            "label": self.label,
            "rows": len(self.labels),
            "label_mean": self.label_mean,
            **({"weighted_by": self.weight} if self.weight else {}),
            "replicates": self.replicates,
            "best": self.best.name,
            "entries": [self._entry(entry) for entry in self.entries],
        }

    def _entry(self, entry: Entry) -> dict[str, Any]:
        return {
            "name": entry.name,
            "runs": [run.folder for run in entry.runs],
            "seeds": entry.seeds,
            "parameters": entry.parameters,
            "seconds": entry.seconds,
            "rounds": entry.rounds,
            "metrics": {
                metric: {
                    "mean": entry.mean(metric),
                    "deviation": entry.deviation(metric),
                    "values": entry.values[metric].tolist(),
                    "interval": list(entry.intervals[metric]),
                }
                for metric in METRICS
            },
            "differences_to_best": entry.differences
            and {
                metric: {
                    **{"difference": found.difference, "low": found.low, "high": found.high},
                    "p_value": found.p_value,
                    "t_test_p_value": entry.t_tests[metric],
                }
                for metric, found in entry.differences.items()
            },
            "calibration": self.calibration(entry),
            "slices": {
                field: [dict(zip(("value", "rows", "auc"), row, strict=True)) for row in rows]
                for field, rows in entry.slices.items()
            },
        }

    def calibration(self, entry: Entry) -> list[dict[str, float]]:
        """Predicted and real share of clicks in buckets of rising scores, all seeds together."""
        labels, weights = (np.tile(of, len(entry.runs)) for of in (self.labels, self.weights))
        scores = np.concatenate([run.scores for run in entry.runs])
        return metrics.calibration_buckets(labels, scores, weights, buckets=_BUCKETS)


def compare_runs(
    runs: Sequence[str],
    split: str = "test",
    by: Sequence[str] = (),
    replicates: int = 1000,
    seed: int = 0,
    weighted: bool | None = None,
    data: str | None = None,
    label: str | None = None,
) -> Comparison:
    """Scores a split with each run, and compares what differs in more than the seed.

    Args:
        runs: list of str. Folders of finished runs on the same prepared data.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"test"`.
        by: list of str. Fields by whose values to measure the AUC as well. Defaults to `()`.
        replicates: int. Of the bootstrap. Defaults to `1000`.
        seed: int. Of the bootstrap. Defaults to `0`.
        weighted: bool or None. Whether metrics weigh rows, by the weight that the data set
            declares. Defaults to `None`: if one of the runs was trained with `sample_weight`.
        data: str or None. Prepared data to score all runs on. Defaults to `None`: those that they
            were trained on.
        label: str or None. Of runs that predict several, the one to compare; others must predict
            it, too. Defaults to `None`: the first label of the first run.

    Returns:
        `Comparison`. Intervals are of the test rows: what others of the same kind would give for
        these trained models. The t-test is of the seeds: what training again would give on these
        rows. A difference that should hold for both needs both.

    Raises:
        FileNotFoundError: if a folder holds no finished run, or the data are not there.
        ValueError: if the runs are not all of the same data, two are the same run, or there is no
            such field.
    """
    rows, scored = score_runs(runs, split, weighted, data, label)
    return compared(rows, scored, _slices(rows.data, split, by), replicates, seed)


def compared(
    rows: ScoredRows,
    scored: Sequence[Scored],
    rows_of: Mapping[str, Sequence[Slice]],
    replicates: int,
    seed: int = 0,
) -> Comparison:
    """Compares runs whose scores are known.

    Args:
        rows: ScoredRows.
        scored: list of Scored, of these rows.
        rows_of: dict. By field the rows of each of its values.
        replicates, seed: as in `compare_runs`.
    """
    groups = by_settings(scored)
    scores = {name: [run.scores for run in members] for name, members in groups.items()}
    values, drawn = resampled(rows.labels, scores, METRICS, replicates, seed, rows.weights)
    ranked = sorted(groups, key=lambda name: -values[name]["auc"].mean())
    best = ranked[0]
    entries = []
    for name in ranked:
        members = groups[name]
        of_best = {m: _by_seed(groups[best], values[best][m]) for m in COMPARED}
        entries.append(
            Entry(
                name,
                members,
                values[name],
                {metric: interval(drawn[name][metric]) for metric in METRICS},
                None
                if name == best
                else {
                    metric: paired_difference(
                        float(values[name][metric].mean() - values[best][metric].mean()),
                        drawn[name][metric] - drawn[best][metric],
                    )
                    for metric in COMPARED
                },
                {
                    metric: paired_t_test(_by_seed(members, values[name][metric]), of_best[metric])
                    for metric in COMPARED
                },
                {
                    field: [
                        (value, len(places), _auc(rows, members, places)) for value, places in found
                    ]
                    for field, found in rows_of.items()
                },
            )
        )
    return Comparison(*rows, replicates, entries)


def _by_seed(runs: Sequence[Scored], values: Array) -> dict[int, float]:
    return {run.seed: float(value) for run, value in zip(runs, values, strict=True)}


def _slices(data: str, split: str, by: Sequence[str]) -> dict[str, list[Slice]]:
    """By field the rows of each of its values."""
    if not by:
        return {}
    features = FeatureSet.load_fitted(data)
    columns = {field: Column.of(features, field) for field in by}
    packed = list(dict.fromkeys(column.packed for column in columns.values()))
    examples = open_examples(data, split, features, inputs=packed)
    read = read_columns(examples.read(_BATCH_SIZE), columns)
    return {field: slices(features, field, column) for field, column in read.items()}


def _auc(rows: ScoredRows, runs: Sequence[Scored], places: Array) -> float | None:
    """The mean over seeds of some rows, None where they are of one class."""
    places = places[rows.weights[places] > 0]
    labels, weights = rows.labels[places], rows.weights[places]
    if len(set(labels)) < 2:
        return None
    return float(np.mean([metrics.auc(labels, run.scores[places], weights) for run in runs]))
