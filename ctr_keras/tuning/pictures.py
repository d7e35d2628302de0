"""Pictures of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from optuna.trial import FrozenTrial, TrialState

from ctr_keras.explain.figures import bars
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.spaces import Choice, Range
from ctr_keras.types import Array

_BLUE, _GREY, _VERMILLION = "#0072B2", "#999999", "#D55E00"  # of Okabe and Ito
_FONT = 8
_COLUMNS = 3
_MOST = 0.8  # of the trials are in the picture wherever they are
_FAR = 1.5  # times as far from these as they are from the best, others are moved to the edge


def importance_picture(importance: Mapping[str, float]) -> Figure:
    """A bar for each setting, the most important first."""
    names = sorted(importance, key=lambda name: -importance[name])
    title = "What decided which trials were best"
    return bars(names, [importance[name] for name in names], title, "share of the importance")


def trials_picture(config: TuneConfig, trials: Sequence[FrozenTrial], best: FrozenTrial) -> Figure:
    """The values that were tried of each setting against the monitored metric."""
    space, monitor = config.space, config.base.monitor
    rows = -(-len(space) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.4 * rows), layout="constrained", dpi=120)
    figure.suptitle("What was tried", fontsize=_FONT + 2, x=0.01, ha="left")
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).ravel()
    valued = [trial for trial in trials if trial.value is not None]
    values, is_moved = _with_the_worst_at_the_edge(
        np.array([trial.value for trial in valued], float), config.minimizes
    )
    outwards = "^" if config.minimizes else "v"
    for axes, (name, of) in zip(panels, space.items(), strict=False):
        places = _places(axes, of, [trial.params[name] for trial in valued])
        for state, color, label in (
            (TrialState.PRUNED, _GREY, "stopped early"),
            (TrialState.COMPLETE, _BLUE, "trained to the end"),
        ):
            is_in = np.array([trial.state == state for trial in valued])
            style: dict[str, Any] = {"s": 18, "color": color, "linewidths": 0}
            near, far = is_in & ~is_moved, is_in & is_moved
            axes.scatter(places[near], values[near], label=label, **style)
            axes.scatter(places[far], values[far], marker=outwards, **style)
        is_best = [trial.number == best.number for trial in valued]
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": _VERMILLION, "label": "best"}
        axes.scatter(places[is_best], values[is_best], s=60, linewidths=1.5, **ring)
        axes.set_xlabel(name, fontsize=_FONT)
        axes.tick_params(labelsize=_FONT)
        axes.margins(x=0.1)
    for axes in panels[len(space) :]:
        axes.set_axis_off()
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel(f"validation {monitor}", fontsize=_FONT)
    handles, _ = panels[0].get_legend_handles_labels()
    if is_moved.any():
        triangle: dict[str, Any] = {"marker": outwards, "color": "black", "linestyle": ""}
        label = "far worse, moved to the edge"
        handles.append(Line2D([], [], markersize=4, label=label, **triangle))
    place = {"loc": "outside lower left", "ncols": 4}
    figure.legend(handles=handles, fontsize=_FONT, frameon=False, **place)
    return figure


def _with_the_worst_at_the_edge(values: Array, minimizes: bool) -> tuple[Array, Array]:
    """Values of which those that are far worse than most are moved next to the others, and which
    these are."""
    losses = values if minimizes else -values
    best, most = losses.min(), np.quantile(losses, _MOST)
    is_far = (losses > most + _FAR * (most - best)) & (most > best)
    worst = losses[~is_far].max()
    moved = np.where(is_far, worst + 0.1 * (worst - best), losses)
    return moved if minimizes else -moved, is_far


def _places(axes: Any, of: Choice | Range, values: Sequence[Any]) -> Any:
    """Where values are on the axis of a panel, which gets its scale or its names."""
    if isinstance(of, Range):
        if of.log:
            axes.set_xscale("log")
        return np.array(values, float)
    names = of.names
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    if max(map(len, names)) > 5:
        axes.tick_params(axis="x", rotation=45)
    return np.array([names.index(value) for value in values], float)
