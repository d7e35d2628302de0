"""Pictures of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from ctr_keras.explain.figures import bars
from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.spaces import Choice, Range
from ctr_keras.types import Array

_BLUE, _GREY, _VERMILLION = "#0072B2", "#999999", "#D55E00"  # of Okabe and Ito
_FONT = 8
_COLUMNS = 3
_MOST = 0.8  # of the trials are not at the edge of the picture


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
    title = "What was tried; trials that are far worse lie at the edge"
    figure.suptitle(title, fontsize=_FONT + 2, x=0.01, ha="left")
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).ravel()
    valued = [trial for trial in trials if trial.value is not None]
    values = _without_the_worst(
        np.array([trial.value for trial in valued], float), config.minimizes
    )
    for axes, (name, of) in zip(panels, space.items(), strict=False):
        places = _places(axes, of, [trial.params[name] for trial in valued])
        for state, color, label in (
            (TrialState.PRUNED, _GREY, "stopped early"),
            (TrialState.COMPLETE, _BLUE, "trained to the end"),
        ):
            is_in = np.array([trial.state == state for trial in valued])
            axes.scatter(places[is_in], values[is_in], s=18, color=color, label=label, linewidths=0)
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
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=_FONT, frameon=False)
    return figure


def _without_the_worst(values: Array, minimizes: bool) -> Array:
    """Values that are far worse than most are moved to the edge of these."""
    best, edge = (values.min(), _MOST) if minimizes else (values.max(), 1 - _MOST)
    worst = np.quantile(values, edge)
    worst += 0.1 * (worst - best)
    moved: Array = np.minimum(values, worst) if minimizes else np.maximum(values, worst)
    return moved


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
