"""What a study shows of its trials: a summary, a table, pictures."""

import collections
import os
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from ctr_keras import metrics
from ctr_keras.data import open_examples
from ctr_keras.data.records import row_count
from ctr_keras.features import FeatureSet
from ctr_keras.runs import write_table, write_whole
from ctr_keras.training import TrainConfig, load_run, predict_split
from ctr_keras.training.batches import Groups
from ctr_keras.training.evaluation import column_of, split_weights, weighs_rows
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.pictures import importance_picture, trials_picture
from ctr_keras.types import Array

DEFAULTS = "defaults"  # attribute of the trial of the settings that a run has without a search
REASON = "reason"  # why a trial has failed
_METRICS = {"auc": "AUC", "log_loss": "log loss"}
_BY_GROUP = {"auc_by_group": "AUC by group"}
_SHOWN = 10  # trials
_FEWEST = 5  # trials that have ended, of which the importance of settings says something
_BATCH_SIZE = 4096

Spread: TypeAlias = tuple[float, float | None]  # mean and standard deviation, None of one value


class Finalist(NamedTuple):
    """One of the best trials, and what it came to with other seeds.

    Attributes:
        trial: FrozenTrial.
        runs: list of str. Their folders.
        values: list of float. What they reached by the monitored metric.
        failure: str. Why one of them has failed, `""` if none has.
    """

    trial: FrozenTrial
    runs: Sequence[str]
    values: Sequence[float]
    failure: str = ""

    @property
    def value(self) -> float:
        """What it is judged by: the mean over other seeds, where there are some."""
        return statistics.mean(self.values or [float(self.trial.value or 0)])


def write_report(
    config: TuneConfig, trials: Sequence[FrozenTrial], finalists: Sequence[Finalist]
) -> dict[str, Any]:
    """Writes summary, table and pictures into the study's folder; what the summary says.

    Args:
        config: TuneConfig.
        trials: list of FrozenTrial. All of them.
        finalists: list of Finalist, the best first, those that have failed last.
    """
    out, space = config.base.out, config.space
    monitor = config.base.monitor
    importance = importance_of(trials, config.minimizes)
    best = finalists[0].trial
    report = {
        "best_trial": best.number,
        "defaults_trial": next((trial.number for trial in trials if is_of_defaults(trial)), None),
        f"validation_{monitor}": best.value,
        "settings": {name: of.value(best.params[name]) for name, of in space.items()},
        "seeds": _over_seeds(config.base, finalists[0].runs),
        "finalists": {
            one.trial.number: _spread_of(one.values)
            for one in finalists
            if one.values and not one.failure
        },
        "failed_finalists": {one.trial.number: one.failure for one in finalists if one.failure},
        "importance": importance,
        "trials": dict(collections.Counter(trial.state.name.lower() for trial in trials)),
    }
    write_table(os.path.join(out, "trials.csv"), [_row(trial, monitor) for trial in trials])
    if importance:
        importance_picture(importance).savefig(os.path.join(out, "importance.png"))
    trials_picture(config, trials, best).savefig(os.path.join(out, "trials.png"))
    text = _summary(config, report, trials)
    write_whole(os.path.join(out, "summary.md"), lambda file: file.write(text))
    return report


def is_of_defaults(trial: FrozenTrial) -> bool:
    """Whether a trial has the settings that a run has without a search, or those next to them.

    No trial of a study that an earlier version has ended need be."""
    return DEFAULTS in trial.user_attrs


def importance_of(trials: Sequence[FrozenTrial], minimizes: bool) -> dict[str, float]:
    """How much of the difference between the best tenth of the trials and all each setting makes.

    Nothing if so few have ended that it says nothing.

    References:
        Watanabe et al., [PED-ANOVA](https://arxiv.org/abs/2304.10255).
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(ended) < _FEWEST:
        return {}
    study = optuna.create_study(direction="minimize" if minimizes else "maximize")
    study.add_trials(ended)
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )


def describe(trial: FrozenTrial, monitor: str) -> str:
    """A trial in one line."""
    ended = {
        TrialState.COMPLETE: lambda: f"{monitor} {trial.value:.5f}",
        TrialState.PRUNED: lambda: f"{monitor} {trial.value:.5f}, stopped early",
        TrialState.FAIL: lambda: f"failed: {trial.user_attrs.get(REASON)}",
    }
    settings = ", ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
    return f"trial {trial.number}: {ended[trial.state]()}; {settings}"


def _over_seeds(base: TrainConfig, runs: Sequence[str]) -> dict[str, dict[str, Spread | None]]:
    """Mean and standard deviation of the metrics of runs, by split; None of one without a value."""
    data = base.data
    splits = [split for split in ("validation", "test") if runs and row_count(data, split)]
    measured: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for run in runs:
        model, features, config = load_run(run)
        for split, of_runs in measured.items():
            labels, scores = predict_split(model, features, data, split)
            weights = split_weights(features, data, split) if weighs_rows(config) else None
            groups = _groups(features, base, split) if base.group else None
            of_labels = [
                metrics.report(
                    column_of(label, features, labels),
                    column_of(label, features, scores),
                    weights,
                    groups,
                )
                for label in features.label_names
            ]
            means = partial(_mean, weights=base.weights_of(features))
            of_runs.append(
                {name: means([of[name] for of in of_labels]) for name in _shown_metrics(base)}
            )
    return {
        split: {name: _spread_of([of[name] for of in of_runs]) for name in _shown_metrics(base)}
        for split, of_runs in measured.items()
    }


def _shown_metrics(base: TrainConfig) -> dict[str, str]:
    """What the metrics that are shown are called, that by group where there are groups."""
    return {**_METRICS, **(_BY_GROUP if base.group else {})}


def _groups(features: FeatureSet, base: TrainConfig, split: str) -> Array:
    groups = Groups(features, base.group)
    examples = open_examples(base.data, split, features, inputs=[groups.packed])
    return groups.of_all(examples, _BATCH_SIZE)


def _mean(of_labels: Sequence[float | None], weights: Sequence[float] | None) -> float | None:
    """As validation has it of several labels; None if it is None of one."""
    values = [value for value in of_labels if value is not None]
    return None if len(values) < len(of_labels) else float(np.average(values, weights=weights))


def _spread_of(values: Sequence[float | None]) -> Spread | None:
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    return statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None


def _spread(of_seeds: Spread | None) -> str:
    if of_seeds is None:
        return ""
    mean, deviation = of_seeds
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _row(trial: FrozenTrial, monitor: str) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        f"validation_{monitor}": trial.value,
        "rounds": len(trial.intermediate_values),
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
        **trial.params,
        REASON: trial.user_attrs.get(REASON, ""),
    }


def _summary(config: TuneConfig, report: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> str:
    base, monitor = config.base, config.base.monitor
    ended = ", ".join(f"{count} {state}" for state, count in report["trials"].items())
    lines = [
        f"# {base.model} on {base.data}",
        "",
        f"{len(trials)} trials ({ended}). The best is trial {report['best_trial']}, with a "
        f"validation {monitor} of {report[f'validation_{monitor}']:.5f}:",
        "",
        *_setting_lines(report),
        "",
        f"Train with these settings: `ctr-keras train --config {base.out}/best.yaml --out RUN`",
    ]
    if report["best_trial"] == report["defaults_trial"] and len(trials) > 1:
        moved = "These are the default settings: no trial was better. Try more trials, or a space"
        lines += ["", f"{moved} of fewer settings (`--set` fixes one, `--space` names your own)."]
    if report["finalists"]:
        lines += _final_lines(config, report)
    sign = 1 if config.minimizes else -1
    valued = sorted(
        (trial for trial in trials if trial.value is not None),
        key=lambda trial: sign * float(trial.value or 0),
    )
    rows = [
        (
            str(trial.number),
            f"{trial.value:.5f}",
            trial.state.name.lower(),
            ", ".join(f"{name}={_short(value)}" for name, value in trial.params.items()),
        )
        for trial in valued[:_SHOWN]
    ]
    lines += ["", "Best trials:", "", *_table(("trial", monitor, "state", "settings"), rows)]
    failed = [describe(trial, monitor) for trial in trials if trial.state == TrialState.FAIL]
    failed += [
        f"trial {number} with another seed: {reason}"
        for number, reason in report["failed_finalists"].items()
    ]
    if failed:
        lines += ["", "Failed:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def _final_lines(config: TuneConfig, report: Mapping[str, Any]) -> list[str]:
    """What other seeds say of the best trials, and all metrics of the one that they chose."""
    finalists = [(str(number), _spread(of)) for number, of in report["finalists"].items()]
    splits = [(split, *map(_spread, of.values())) for split, of in report["seeds"].items()]
    defaults = report["defaults_trial"]
    looked_at = "The best trials" + (
        "" if defaults is None else f" and the defaults, trial {defaults}"
    )
    seeds = "1 other seed" if config.seeds == 1 else f"{config.seeds} other seeds"
    statistic = "" if config.seeds == 1 else ", mean and standard deviation"
    return [
        "",
        f"{looked_at}, trained again with {seeds}{statistic}; the first is chosen. Runs are in "
        f"{config.base.out}/finalists.",
        "",
        *_table(("trial", f"validation {config.base.monitor}"), finalists),
        "",
        f"Trial {report['best_trial']} with {seeds}{statistic}:",
        "",
        *_table(("split", *_shown_metrics(config.base).values()), splits),
    ]


def _setting_lines(report: Mapping[str, Any]) -> list[str]:
    settings, importance = report["settings"], report["importance"]
    if not importance:
        rows = [(name, _short(value)) for name, value in settings.items()]
        remark = f"Fewer than {_FEWEST} trials have ended: too few for the importance of settings."
        return [*_table(("setting", "value"), rows), "", remark]
    names = sorted(settings, key=lambda name: -importance.get(name, 0.0))
    ranked = [(name, _short(settings[name]), f"{importance.get(name, 0.0):.2f}") for name in names]
    return _table(("setting", "value", "importance"), ranked)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
