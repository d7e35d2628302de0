"""From numbers to matplotlib figures.

Colour-blind readers can tell the colours apart: viridis, blue to red over pale yellow, and those of
Okabe and Ito. Figures grow with the number of fields, so that every name stays readable.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ctr_keras.types import Array

_BLUE, _ORANGE, _VERMILLION, _GREY = "#0072B2", "#E69F00", "#D55E00", "#D9D9D9"
METHOD_COLORS = {"memorize": _BLUE, "factorize": _ORANGE, "naive": _GREY}
_DIVERGING = "RdYlBu_r"  # its middle, a gate near 0, is yellow, and so differs from a closed pair
_SEQUENTIAL = "viridis"

_FONT = 8
_TITLE = 10
_LETTER = 0.07  # inches of width
_BAR = 0.2  # inches of height
_MAX_SIDE = 24.0  # inches; beyond, cells shrink and not every field has its name
_MIN_TICK = 0.12  # inches between two names
_VALUES_UP_TO = 10  # fields; in larger maps numbers do not fit into cells


def gate_map(gates: Array, fields: Sequence[str], limit: float, title: str) -> Figure:
    """A map of symmetric gates, NaN for a closed pair, on a scale from `-limit` to `limit`."""
    figure, (axes,) = _maps(len(fields), _longest(fields), 1, title)
    mesh = _map(axes, _off_diagonal(gates), fields, fields, _DIVERGING, Normalize(-limit, limit))
    _color_bar(figure, mesh, axes, "gate")
    if np.isnan(_pairs(gates)).any():
        _legend_below(figure, [_hatched(axes, "closed")])
    return figure


def group_map(gates: Array, groups: Sequence[str], fields: Sequence[str], title: str) -> Figure:
    """A map of groups and fields, NaN for a field that is not in a group."""
    letters = _LETTER * max(_longest(groups), _longest(fields))
    sides = [min(max(0.24 * len(names), 1.0), _MAX_SIDE) for names in (fields, groups)]
    width, height = (side + letters + 1.2 for side in sides)
    figure = Figure(figsize=(width + 1.2, height), layout="constrained")
    figure.suptitle(title, fontsize=_TITLE)
    axes = figure.subplots()
    mesh = _map(axes, gates, groups, fields, _SEQUENTIAL, Normalize(0, 1), values=False)
    _color_bar(figure, mesh, axes, "gate")
    return figure


def method_maps(
    methods: Array, information: Array, fields: Sequence[str], names: Sequence[str], title: str
) -> Figure:
    """A map of chosen methods next to one of mutual information, both symmetric.

    Methods are positions in `names`, NaN for a pair without one.
    """
    figure, (left, right) = _maps(len(fields), _longest(fields), 2, title, share=False)
    colors = ListedColormap([METHOD_COLORS[name] for name in names])
    norm = Normalize(-0.5, len(names) - 0.5)
    _map(left, _off_diagonal(methods), fields, fields, colors, norm, values=False)
    left.set_title("chosen method", fontsize=_TITLE)
    handles = [Patch(color=METHOD_COLORS[name], label=name) for name in names]
    if np.isnan(_pairs(methods)).any():
        handles.append(_hatched(left, "not searched"))
    _legend_below(figure, handles)
    norm = Normalize(0, np.nanmax(_pairs(information)))
    mesh = _map(right, _off_diagonal(information), fields, fields, _SEQUENTIAL, norm)
    right.set_title("mutual information with the click", fontsize=_TITLE)
    _color_bar(figure, mesh, right, "nats")
    return figure


def attention_maps(weights: Array, fields: Sequence[str], title: str) -> Figure:
    """A map for each head, all on one scale about the weight of fields that count the same."""
    figure, panels = _maps(len(fields), _longest(fields), len(weights), title)
    norm = _about_even(weights)
    for head, (axes, matrix) in enumerate(zip(panels, weights, strict=True)):
        mesh = _map(axes, matrix, fields, fields, _DIVERGING, norm)
        axes.set_title(f"head {head}", fontsize=_TITLE)
        axes.set_xlabel("field attended to", fontsize=_FONT)
    panels[0].set_ylabel("field that attends", fontsize=_FONT)
    _color_bar(figure, mesh, panels, "attention weight").set_ylim(bottom=max(0.0, norm.vmin or 0.0))
    return figure


def global_weights(
    cases: Array, mean: Array, deviation: Array, parts: Sequence[str], title: str
) -> Figure:
    """Weights of a few cases (cases, parts), next to the mean of all rows with its deviation."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    figure.suptitle(title, fontsize=_TITLE)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    numbers = [str(case) for case in range(len(cases))]
    norm = _about_even(cases)
    mesh = _map(left, cases.T, parts, numbers, _DIVERGING, norm, values=False, square=False)
    left.tick_params(axis="x", rotation=0)
    left.set_xlabel("row of the test split", fontsize=_FONT)
    _color_bar(figure, mesh, left, "weight").set_ylim(bottom=max(0.0, norm.vmin or 0.0))
    places = np.arange(len(parts))
    right.barh(places, mean, xerr=deviation, color=_BLUE, capsize=3, height=0.7)
    even = right.axvline(1 / len(parts), color="black", linewidth=1, linestyle="--")
    even.set_label("if all parts counted the same")
    _legend_below(figure, [even])
    _names_down(right, parts)
    right.set_xlim(left=0)
    right.set_xlabel("mean weight and standard deviation", fontsize=_FONT)
    return figure


def gate_bars(names: Sequence[str], gates: Sequence[float], title: str) -> Figure:
    """Bars to both sides of 0, in the order given."""
    width = 5 + _LETTER * _longest(names)
    figure = Figure(figsize=(width, 1.2 + _BAR * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    colors = [_BLUE if gate < 0 else _VERMILLION for gate in gates]
    bars = axes.barh(range(len(names)), gates, color=colors, height=0.7)
    axes.bar_label(bars, [f"{gate:.3g}" for gate in gates], fontsize=_FONT - 1, padding=2)
    axes.margins(x=0.12)
    axes.axvline(0, color="black", linewidth=0.8)
    _names_down(axes, names)
    axes.set_xlabel("gate", fontsize=_FONT)
    return figure


def bars(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    label: str,
    ranges: Sequence[tuple[float, float]] | None = None,
) -> Figure:
    """Bars in the order given, with lines from the low to the high of each."""
    width = 5 + _LETTER * _longest(names)
    figure = Figure(figsize=(width, 1.2 + _BAR * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    errors = np.abs(np.array(values) - np.transpose(ranges)) if ranges else None
    axes.barh(range(len(names)), values, xerr=errors, color=_BLUE, capsize=3, height=0.7)
    axes.axvline(0, color="black", linewidth=0.8)
    _names_down(axes, names)
    axes.set_xlabel(label, fontsize=_FONT)
    return figure


def gate_scatter(
    statistics: Array, gates: Array, is_open: Array, labels: Mapping[int, str], title: str
) -> Figure:
    """Gates of pairs, 0 where closed, over statistics_AUC; some points named at the right."""
    width = 6.5 + _LETTER * _longest(list(labels.values()))
    figure = Figure(figsize=(width, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    axes.axhline(0, color="black", linewidth=0.8, zorder=0)
    closed: dict[str, Any] = {"marker": "x", "color": "#767676", "linewidths": 0.9, "s": 22}
    opened: dict[str, Any] = {"color": _BLUE, "edgecolors": "white", "linewidths": 0.5, "s": 32}
    axes.scatter(statistics[~is_open], gates[~is_open], label="closed", **closed)
    axes.scatter(statistics[is_open], gates[is_open], label="open", **opened)
    low, high = axes.get_ylim()
    heights = {place: (gates[place] - low) / (high - low) for place in labels}
    leader = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "relpos": (0, 0.5)}
    for place, height in _spread(heights, 0.06).items():
        axes.annotate(
            labels[place],
            (statistics[place], gates[place]),
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=_FONT,
            annotation_clip=False,
            arrowprops=leader,
        )
    axes.set_xlabel("statistics_AUC", fontsize=_FONT)
    axes.set_ylabel("gate", fontsize=_FONT)
    axes.tick_params(labelsize=_FONT)
    _legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def gate_lines(values: Array, stands_out: Array, title: str) -> Figure:
    """Gates (rounds + 1, gates) over the rounds; those that stand out in colour, others grey."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    axes.axhline(0, color="black", linewidth=0.8, zorder=0)
    axes.plot(values[:, ~stands_out], color=_GREY, linewidth=0.8)
    axes.plot(values[:, stands_out], color=_BLUE, linewidth=1.2)
    axes.margins(x=0)
    axes.set_xlabel("round", fontsize=_FONT)
    axes.set_ylabel("gate", fontsize=_FONT)
    axes.tick_params(labelsize=_FONT)
    return figure


def loss_points(losses: Sequence[float], first: int, title: str) -> Figure:
    """The log loss of structures in their order, the first ones in another colour."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    numbers = np.arange(1, len(losses) + 1)
    kinds = (("at random", _GREY, slice(first)), ("by the tree", _BLUE, slice(first, None)))
    for label, color, part in kinds:
        axes.scatter(numbers[part], losses[part], color=color, s=20, label=label)
    axes.set_xlabel("structure", fontsize=_FONT)
    axes.set_ylabel("validation log loss", fontsize=_FONT)
    axes.tick_params(labelsize=_FONT)
    _legend_below(figure, axes.collections)
    return figure


def closing_curve(counts: Sequence[int], losses: Sequence[float], kept: int, title: str) -> Figure:
    """The log loss over how many gates are open, and the count that is kept."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    axes.plot(counts, losses, color=_BLUE, linewidth=1.2, marker=".", markersize=4)
    line = axes.axvline(kept, color=_VERMILLION, linewidth=1, linestyle="--")
    line.set_label("kept")
    axes.set_xlabel("open gates", fontsize=_FONT)
    axes.set_ylabel("validation log loss", fontsize=_FONT)
    axes.tick_params(labelsize=_FONT)
    _legend_below(figure, [line])
    return figure


def agreement_scatter(first: Array, second: Array, names: Sequence[str], title: str) -> Figure:
    """The sizes of gates in one plan over those in another."""
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left", wrap=True)
    axes.scatter(first, second, color=_BLUE, edgecolors="white", linewidths=0.5, s=32)
    axes.set_xlabel(names[0], fontsize=_FONT)
    axes.set_ylabel(names[1], fontsize=_FONT)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=_FONT)
    return figure


def method_bars(values: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The mean of each method's mutual informations, and these as points."""
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(values)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    for place, (method, information) in enumerate(values.items()):
        axes.barh(place, np.mean(information), color=METHOD_COLORS[method], height=0.6)
        heights = place + np.linspace(-0.25, 0.25, len(information))  # or points hide points
        axes.scatter(information, heights, s=9, color="black", alpha=0.4, linewidths=0)
    names = [
        f"{method}\n{len(pairs)} pairs, mean {np.mean(pairs):.4f}"
        for method, pairs in values.items()
    ]
    _names_down(axes, names)
    axes.set_xlim(left=0)
    axes.set_xlabel("mutual information with the click in nats", fontsize=_FONT)
    return figure


def width_bars(widths: Mapping[str, Sequence[int]], fields: Sequence[str], dim: int) -> Figure:
    """Bars of each field's embedding width, which was `dim` before the search, a panel a table."""
    size = (1 + _LETTER * _longest(fields) + 2 * len(widths), 1.2 + _BAR * len(fields))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"Embedding widths, of {dim}", fontsize=_TITLE)
    panels = figure.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, (table, counts) in zip(panels, widths.items(), strict=True):
        bars = axes.barh(range(len(fields)), counts, color=_BLUE, height=0.7)
        axes.bar_label(bars, fontsize=_FONT - 1, padding=2)
        axes.set_title(table, fontsize=_TITLE)
        _names_down(axes, fields)
        axes.set_xlim(0, 1.2 * dim)  # with room for the number behind the longest bar
        axes.set_xticks([0, dim])
    return figure


def _maps(
    fields: int, letters: int, panels: int, title: str, share: bool = True
) -> tuple[Figure, list[Any]]:
    """A figure with maps side by side, as large as their fields need."""
    side = min(max(0.24 * fields, min(0.7 * fields, 4.2)), _MAX_SIDE)
    names = _LETTER * letters
    width = panels * side + (1 if share else panels) * (names + 1.2)
    figure = Figure(figsize=(width, side + names + 1.2), layout="compressed")
    figure.suptitle(title, fontsize=_TITLE)
    axes = figure.subplots(1, panels, sharey=share, squeeze=False)[0]
    return figure, list(axes)


def _map(
    axes: Any,
    matrix: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    colors: Any,
    norm: Any,
    *,
    values: bool = True,
    square: bool = True,
) -> Any:
    """Draws cells, names on both axes, and in small maps the values."""
    lines = {"edgecolors": "white", "linewidth": 0.5}
    mesh = axes.pcolormesh(np.ma.masked_invalid(matrix), cmap=colors, norm=norm, **lines)
    axes.set_aspect("equal" if square else "auto")
    _name_cells(axes.xaxis, columns)
    _name_cells(axes.yaxis, rows)
    axes.set_ylim(len(rows), 0)
    axes.tick_params(labelsize=_FONT, length=2)
    axes.tick_params(axis="x", rotation=90)
    if values and max(len(rows), len(columns)) <= _VALUES_UP_TO:
        decimals = max(1 - math.floor(math.log10(norm.vmax)), 2) if norm.vmax > 0 else 2
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                color = _readable_on(mesh.cmap(norm(value)))
                place = (column + 0.5, row + 0.5)
                text = f"{value:.{decimals}f}"
                axes.text(*place, text, ha="center", va="center", fontsize=7, color=color)
    return mesh


def _name_cells(axis: Any, names: Sequence[str]) -> None:
    step = int(np.ceil(_MIN_TICK * len(names) / _MAX_SIDE))
    places = range(0, len(names), step)
    axis.set_ticks([place + 0.5 for place in places], [names[place] for place in places])


def _names_down(axes: Any, names: Sequence[str]) -> None:
    """Names of horizontal bars, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(labelsize=_FONT)


def _about_even(weights: Array) -> Normalize:
    """A scale of weights that sum to 1 along the last axis, its middle where all are the same.

    Weights within a hundredth of that look the same, too.
    """
    even = 1 / weights.shape[-1]
    reach = max(float(np.abs(weights - even).max()), even / 100)
    return Normalize(even - reach, even + reach)


def _color_bar(figure: Figure, mesh: Any, axes: Any, label: str) -> Any:
    """Draws what colours stand for, and gives the bar's axes."""
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
    bar.set_label(label, fontsize=_FONT)
    bar.ax.tick_params(labelsize=_FONT)
    return bar.ax


def _hatched(axes: Any, label: str) -> Any:
    """Hatches pairs without a value, blanks the diagonal, and gives what a legend shows of it."""
    hatching: dict[str, Any] = {
        "facecolor": "#F2F2F2",
        "edgecolor": "#B0B0B0",
        "hatch": "////",
        "linewidth": 0,
    }
    axes.patch.set(**hatching)
    count = round(axes.get_ylim()[0])
    for place in range(count):
        axes.add_patch(Rectangle((place, place), 1, 1, facecolor="white"))
    return Patch(label=label, **hatching)


def _legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """Under the names of the axes, where it covers nothing."""
    place = {"loc": "outside lower left", "ncols": 4}
    figure.legend(handles=handles, fontsize=_FONT, frameon=False, **place)


def _off_diagonal(matrix: Array) -> Array:
    """A field makes no pair with itself."""
    return np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)


def _pairs(matrix: Array) -> Array:
    return matrix[np.triu_indices(len(matrix), 1)]


def _readable_on(color: Any) -> str:
    """Black on bright colours, white on dark ones."""
    return "black" if np.dot(color[:3], [0.299, 0.587, 0.114]) > 0.5 else "white"


def _spread(heights: Mapping[int, float], gap: float) -> dict[int, float]:
    """Heights in [0, 1] moved apart by at least `gap`, in the same order."""
    order = sorted(heights, key=heights.__getitem__)
    placed = np.array([heights[place] for place in order])
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    placed[-1:] = np.minimum(placed[-1:], 1)
    for index in range(len(placed) - 2, -1, -1):
        placed[index] = min(placed[index], placed[index + 1] - gap)
    return dict(zip(order, placed.tolist(), strict=True))


def _longest(names: Sequence[str]) -> int:
    return max(map(len, names), default=0)
