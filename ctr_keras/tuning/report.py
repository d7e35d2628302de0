"""What a study shows of its trials: a summary, a table, pictures."""

import collections
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from ctr_keras import metrics
from ctr_keras.data.records import row_count
from ctr_keras.runs import write_table, write_whole
from ctr_keras.training import load_run, predict_split
from ctr_keras.training.evaluation import split_weights, weighs_rows
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.pictures import importance_picture, trials_picture

REASON = "reason"  # why a trial has failed
_METRICS = ("auc", "log_loss")
_SHOWN = 10  # trials


class Finalist(NamedTuple):
    """One of the best trials, and what it came to with other seeds.

    Attributes:
        trial: FrozenTrial.
        runs: list of str. Their folders.
        values: list of float. What they reached by the monitored metric.
    """

    trial: FrozenTrial
    runs: Sequence[str]
    values: Sequence[float]

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
        finalists: list of Finalist, the best first.
    """
    out, space = config.base.out, config.space
    monitor = config.base.monitor
    importance = importance_of(trials, config.minimizes)
    best = finalists[0].trial
    report = {
        "best_trial": best.number,
        f"validation_{monitor}": best.value,
        "settings": {name: of.value(best.params[name]) for name, of in space.items()},
        "seeds": _over_seeds(config.base.data, finalists[0].runs),
        "finalists": {
            one.trial.number: _mean_and_deviation(one.values) for one in finalists if one.values
        },
        "importance": importance,
        "trials": dict(collections.Counter(trial.state.name.lower() for trial in trials)),
    }
    write_table(os.path.join(out, "trials.csv"), [_row(trial, monitor) for trial in trials])
    importance_picture(importance).savefig(os.path.join(out, "importance.png"))
    trials_picture(config, trials, best).savefig(os.path.join(out, "trials.png"))
    text = _summary(config, report, trials)
    write_whole(os.path.join(out, "summary.md"), lambda file: file.write(text))
    return report


def importance_of(trials: Sequence[FrozenTrial], minimizes: bool) -> dict[str, float]:
    """How much of the difference between the best tenth of the trials and all each setting makes.

    References:
        Watanabe et al., [PED-ANOVA](https://arxiv.org/abs/2304.10255).
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(ended) < 2:
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


def _over_seeds(data: str, runs: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation of the metrics of runs, by split."""
    splits = [split for split in ("validation", "test") if runs and row_count(data, split)]
    measured: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for run in runs:
        model, features, config = load_run(run)
        for split, of_runs in measured.items():
            labels, scores = predict_split(model, features, data, split)
            weights = split_weights(features, data, split) if weighs_rows(config) else None
            of_runs.append(metrics.evaluate(labels, scores, weights))
    return {
        split: {name: _mean_and_deviation([of[name] for of in of_runs]) for name in _METRICS}
        for split, of_runs in measured.items()
    }


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _spread(of_seeds: tuple[float, float]) -> str:
    return "{:.4f} ± {:.4f}".format(*of_seeds)


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
        *_table(("setting", "value", "importance"), _setting_rows(report)),
        "",
        f"Train with these settings: `ctr-keras train --config {base.out}/best.yaml --out RUN`",
    ]
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
    if failed:
        lines += ["", "Failed:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def _final_lines(config: TuneConfig, report: Mapping[str, Any]) -> list[str]:
    """What other seeds say of the best trials, and all metrics of the one that they chose."""
    finalists = [(str(number), _spread(of)) for number, of in report["finalists"].items()]
    splits = [(split, *map(_spread, of.values())) for split, of in report["seeds"].items()]
    return [
        "",
        f"The best trials, trained again with {config.seeds} other seeds, mean and standard "
        f"deviation; the first is chosen. Runs are in {config.base.out}/finalists.",
        "",
        *_table(("trial", f"validation {config.base.monitor}"), finalists),
        "",
        f"Trial {report['best_trial']} over these seeds:",
        "",
        *_table(("split", "AUC", "log loss"), splits),
    ]


def _setting_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    importance = report["importance"]
    names = sorted(report["settings"], key=lambda name: -importance.get(name, 0.0))
    return [
        (name, _short(report["settings"][name]), f"{importance.get(name, 0.0):.2f}")
        for name in names
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
