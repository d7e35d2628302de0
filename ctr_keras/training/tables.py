"""Evaluations as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NO_METRICS = (
    *("rows", "label_mean", "weighted_by", "intervals", "no_interval", "undefined"),
    *("calibration", "slices"),
    *("groups", "groups_of_one_class", "groups_without_click", "rows_without_group"),
)
_OF_SLICES = ("auc", "auc_by_group", "log_loss", "calibration_ratio", "rela_impr")


def evaluation_table(measured: Mapping[str, Any]) -> str:
    """What `evaluate_run` returns, as lines for a terminal.

    Args:
        measured: dict.

    Returns:
        Lines without a line break at the end.

    Example:

    >>> print(evaluation_table({"auc": 0.75, "pr_auc": 0.5, "label_mean": 0.25, "rows": 4000}))
    4,000 rows, 25.00% positive
    <BLANKLINE>
    auc     0.7500
    pr_auc  0.5000
    """
    if "labels" in measured:
        of_labels = measured["labels"].items()
        return "\n\n\n".join(f"{name}: {evaluation_table(of)}" for name, of in of_labels)
    return "\n\n".join("\n".join(lines) for lines in _blocks(measured) if lines)


def _blocks(measured: Mapping[str, Any]) -> Iterator[list[str]]:
    yield _heading(measured)
    names = [name for name in measured if name not in _NO_METRICS]
    width = max(map(len, names))
    yield [f"{name:<{width}}  {_cell(measured, name)}" for name in names]
    yield [f"{name}: {reason}" for name, reason in measured.get("undefined", {}).items()]
    yield _without_interval(measured)
    if "calibration" in measured:
        yield _calibration(measured["calibration"])
    for field, slices in measured.get("slices", {}).items():
        names = [name for name in _OF_SLICES if any(name in of_value for of_value in slices)]
        yield _by_value(field, slices, names)
        yield [line for name in names for line in _without(slices, name)]
        yield _slices_without_interval(slices)


def _heading(measured: Mapping[str, Any]) -> list[str]:
    weighted = f" weighted by {measured['weighted_by']}" if "weighted_by" in measured else ""
    lines = [f"{measured['rows']:,} rows{weighted}, {measured['label_mean']:.2%} positive"]
    if "groups" in measured:
        lines.append(
            f"{measured['groups']:,} groups, {measured['groups_of_one_class']:,} of one class, "
            f"{measured['groups_without_click']:,} without a positive row; "
            f"{measured['rows_without_group']:,} rows without a group"
        )
    return lines


def _calibration(buckets: Sequence[Mapping[str, float]]) -> list[str]:
    lines = [["scores", "rows", "predicted", "positive"]]
    for bucket in buckets:
        low, high, predicted, positive = (
            f"{bucket[name]:.4f}" for name in ("low", "high", "score_mean", "label_mean")
        )
        lines.append([f"{low} to {high}", f"{bucket['rows']:,}", predicted, positive])
    return _aligned(lines)


def _by_value(field: str, slices: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    lines = [[f"by {field}", "rows", "positive", *names]]
    for of_value in slices:
        counts = [f"{of_value['rows']:,}", f"{of_value['label_mean']:.2%}"]
        lines.append([of_value["value"], *counts, *(_cell(of_value, name, 3) for name in names)])
    return _aligned(lines)


def _without(slices: Sequence[Mapping[str, Any]], name: str) -> Iterator[str]:
    """Which values lack a metric, and why the first one does."""
    missing = [of_value for of_value in slices if of_value.get(name) is None]
    if missing:
        reason = missing[0].get("undefined", {}).get(name)
        others = f"; so {len(missing) - 1} more" if len(missing) > 1 else ""
        yield f"no {name} for {missing[0]['value']}: {reason}{others}"


def _without_interval(measured: Mapping[str, Any]) -> list[str]:
    """Which metrics lack an interval, and why: the reason is one for all."""
    reasons = measured.get("no_interval", {})
    return [f"no interval of {', '.join(reasons)}: {one}" for one in set(reasons.values())]


def _slices_without_interval(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which values lack intervals, and why the first one does."""
    missing = [of_value for of_value in slices if "no_interval" in of_value]
    others = f"; so {len(missing) - 1} more" if len(missing) > 1 else ""
    return [
        f"{of_value['value']}: {line}{others}"
        for of_value in missing[:1]
        for line in _without_interval(of_value)
    ]


def _cell(measured: Mapping[str, Any], name: str, digits: int = 4) -> str:
    """A value and its interval."""
    value = measured.get(name)
    if value is None:
        return "-"
    interval = measured.get("intervals", {}).get(name)
    bounds = f" [{', '.join(f'{bound:.{digits}f}' for bound in interval)}]" if interval else ""
    return f"{value:.{digits}f}{bounds}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        )
        for first, *rest in lines
    ]
