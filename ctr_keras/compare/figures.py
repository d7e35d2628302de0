"""From a comparison to matplotlib figures, an entry one colour in all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ctr_keras.compare.comparison import Comparison, Entry
from ctr_keras.compare.text import SHORT
from ctr_keras.types import Array

_FONT = 8
_LINE = 0.3  # inches of height
_POINTS = 201  # of a ROC curve
_TRAINING = "train_log_loss"  # a column of histories
_DECADES = 100  # the ratio of an axis' ends from which on powers of ten are enough labels
# Those of Okabe and Ito, but for yellow, which is hard to see on white.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = "osD^vP*"  # their number and that of colours have no common factor


def metric_intervals(comparison: Comparison, names: Sequence[str]) -> Figure:
    """The mean of each metric with its interval, and the seeds as small dots."""
    figure, panels = _rows_of_panels(comparison, len(names))
    for axes, metric in zip(panels, names, strict=True):
        for place, entry in enumerate(comparison.entries):
            mean, color = entry.mean(metric), _color(place)
            low, high = entry.intervals[metric]
            axes.plot([low, high], [place, place], color=color, linewidth=1.5)
            axes.plot(mean, place, "o", color=color, markersize=6)
            seeds = entry.values[metric]
            axes.plot(seeds, np.full(len(seeds), place + 0.25), ".", color=color, markersize=4)
        if metric == "calibration_ratio":
            axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
        axes.set_xlabel(SHORT[metric], fontsize=_FONT)
    return figure


def differences(comparison: Comparison, names: Sequence[str]) -> Figure:
    """Differences to the best entry with their paired intervals."""
    figure, panels = _rows_of_panels(comparison, len(names))
    for axes, metric in zip(panels, names, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for place, entry in enumerate(comparison.entries):
            if entry.differences is None:
                axes.plot(0, place, "o", color=_color(place), markersize=6)
                continue
            found = entry.differences[metric]
            axes.plot([found.low, found.high], [place, place], color=_color(place), linewidth=1.5)
            axes.plot(found.difference, place, "o", color=_color(place), markersize=6)
        axes.set_xlabel(f"{SHORT[metric]} minus that of {comparison.best.name}", fontsize=_FONT)
    return figure


def learning_curves(comparison: Comparison) -> Figure:
    """Log loss of validation and training, by round and by seconds, a line a seed.

    Runs of earlier versions have none of training, only what they minimized, and those of several
    labels their mean.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, label in zip(panels, ("round", "seconds of training"), strict=True):
        for place, entry in enumerate(comparison.entries):
            for run in entry.runs:
                seconds = np.cumsum([row["seconds"] for row in run.history])
                x = [row["round"] for row in run.history] if label == "round" else seconds
                many = len(run.history) > 30
                style: dict[str, Any] = {"color": _color(place), "linewidth": 1, "markersize": 3}
                for key, dashes in (("validation_log_loss", "-"), (_TRAINING, ":")):
                    if key in run.history[0]:
                        y = [row[key] for row in run.history]
                        axes.plot(x, y, dashes, marker="" if many else "o", **style)
        axes.set_xscale("log")
        _label_few(axes)
        axes.set_xlabel(label, fontsize=_FONT)
        axes.tick_params(labelsize=_FONT)
    panels[0].set_ylabel("log loss", fontsize=_FONT)
    black: dict[str, Any] = {"color": "black", "linewidth": 1}
    kinds = [Line2D([], [], linestyle="-", label="validation", **black)]
    if any(_TRAINING in run.history[0] for entry in comparison.entries for run in entry.runs):
        kinds.append(Line2D([], [], linestyle=":", label="training", **black))
    _legend(figure, comparison, kinds)
    return figure


def calibration(comparison: Comparison) -> Figure:
    """Real against predicted share of clicks by bucket of rising scores."""
    figure, axes = _square(comparison)
    highest = 0.0
    for place, entry in enumerate(comparison.entries):
        buckets = comparison.calibration(entry)
        predicted = [bucket["score_mean"] for bucket in buckets]
        real = [bucket["label_mean"] for bucket in buckets]
        highest = max(highest, *predicted, *real)
        style = {"color": _color(place), "marker": _marker(place), "markersize": 4}
        axes.plot(predicted, real, linewidth=1, **style)
    axes.plot([0, highest], [0, highest], color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel("predicted share of clicks", fontsize=_FONT)
    axes.set_ylabel("real share of clicks", fontsize=_FONT)
    return figure


def roc(comparison: Comparison) -> Figure:
    """True against false positive rates."""
    figure, axes = _square(comparison)
    for place, entry in enumerate(comparison.entries):
        false, true = roc_curve(comparison.labels, comparison.weights, entry)
        axes.plot(false, true, color=_color(place), linewidth=1)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel("share of the rows without a click that score above", fontsize=_FONT)
    axes.set_ylabel("share of clicks that score above", fontsize=_FONT)
    return figure


def roc_curve(labels: Array, weights: Array, entry: Entry) -> tuple[Array, Array]:
    """False positive rates from 0 to 1, and the true ones there, on average over the seeds."""
    grid = np.linspace(0, 1, _POINTS)
    curves = []
    for run in entry.runs:
        order = np.argsort(-run.scores, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(run.scores[order])), len(order) - 1)
        clicks = np.append(0, np.cumsum((weights * labels)[order])[ends])
        others = np.append(0, np.cumsum((weights * (1 - labels))[order])[ends])
        curves.append(np.interp(grid, others / others[-1], clicks / clicks[-1]))
    return grid, np.mean(curves, axis=0)


def slices(comparison: Comparison, field: str) -> Figure:
    """The AUC of each entry in the rows of each value of a field."""
    of_best = comparison.best.slices[field]
    names = [f"{value} ({count})" for value, count, _ in of_best]
    height = 1.6 + _LINE * len(names)
    figure = Figure(figsize=(5 + 0.07 * max(map(len, names)), height), layout="constrained")
    axes = figure.subplots()
    for place, entry in enumerate(comparison.entries):
        aucs = [np.nan if auc is None else auc for _, _, auc in entry.slices[field]]
        style = {"color": _color(place), "marker": _marker(place), "markersize": 5}
        axes.plot(aucs, range(len(aucs)), linestyle="", **style)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle="--")
    _names_down(axes, names)
    axes.grid(axis="y", linewidth=0.4)
    axes.set_xlabel("AUC", fontsize=_FONT)
    _legend(figure, comparison)
    return figure


def costs(comparison: Comparison) -> Figure:
    """Trained parameters and seconds of training."""
    figure, panels = _rows_of_panels(comparison, 2)
    columns: dict[str, Sequence[float]] = {
        "trained parameters": [entry.parameters for entry in comparison.entries],
        "seconds of training, without evaluations": [e.seconds for e in comparison.entries],
    }
    colors = [_color(place) for place in range(len(comparison.entries))]
    for axes, (label, values) in zip(panels, columns.items(), strict=True):
        bars = axes.barh(range(len(values)), values, color=colors, height=0.7)
        texts = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
        axes.bar_label(bars, texts, fontsize=_FONT - 1, padding=2)
        axes.set_xscale("log")
        axes.margins(x=0.2)
        _label_few(axes)
        axes.set_xlabel(label, fontsize=_FONT)
    return figure


def _label_few(axes: Any) -> None:
    """Labels on a logarithmic axis that do not lie on each other: of decades, or of 1, 2 and 5."""
    low, high = axes.get_xlim()
    subs = (1.0,) if high / low > _DECADES else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x < 1000 else EngFormatter(sep="")(x))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _rows_of_panels(comparison: Comparison, count: int) -> tuple[Figure, Sequence[Any]]:
    """Panels side by side that share the entries, one below the other."""
    names = [entry.name for entry in comparison.entries]
    size = (1 + 0.07 * max(map(len, names)) + 2.8 * count, 1.2 + _LINE * len(names))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes in panels:
        _names_down(axes, names)
        axes.grid(axis="x", linewidth=0.4)
    return figure, panels


def _square(comparison: Comparison) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=_FONT)
    axes.grid(linewidth=0.4)
    _legend(figure, comparison)
    return figure, axes


def _names_down(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(labelsize=_FONT)


def _legend(figure: Figure, comparison: Comparison, others: Sequence[Line2D] = ()) -> None:
    handles = [
        Line2D([], [], color=_color(place), marker=_marker(place), markersize=4, label=entry.name)
        for place, entry in enumerate(comparison.entries)
    ]
    place = {"loc": "outside lower left", "ncols": 4}
    figure.legend(handles=[*handles, *others], fontsize=_FONT, frameon=False, **place)


def _color(place: int) -> Any:
    """Colours that colour-blind readers tell apart, in the order of the entries."""
    return _COLORS[place % len(_COLORS)]


def _marker(place: int) -> str:
    return _MARKERS[place % len(_MARKERS)]
