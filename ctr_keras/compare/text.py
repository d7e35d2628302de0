"""A comparison as Markdown."""

from collections.abc import Iterable, Sequence

from ctr_keras.compare.comparison import COMPARED, Comparison, Entry

SHORT = {
    "auc": "AUC",
    "log_loss": "log loss",
    "calibration_ratio": "calibration",
    "expected_calibration_error": "ECE",
    "pr_auc": "PR-AUC",
}
METRICS_HEADER = (
    *("model", "seeds", "AUC", "+/-", "95% of rows", "log loss", "+/-", "95% of rows"),
    *("calibration", "ECE", "PR-AUC", "parameters", "seconds", "rounds"),
)
DIFFERENCES_HEADER = (
    *("model", "metric", "difference", "95% of rows", "p, rows", "p, seeds"),
    "common seeds",
)


def to_markdown(comparison: Comparison) -> str:
    """The table of metrics, that of differences to the best entry, and one for each field.

    Args:
        comparison: Comparison.
    """
    best = comparison.best
    parts = [
        f"{len(comparison.labels)} {comparison.split} rows of {comparison.data}, "
        f"{comparison.label_mean:.4g} of them with {comparison.label}{weighted(comparison)}. "
        "Means over seeds, +/- the standard deviation over seeds; intervals of the rows by "
        f"{comparison.replicates} bootstrap replicates.",
        _table(METRICS_HEADER, metrics_rows(comparison)),
    ]
    if len(comparison.entries) > 1:
        parts += [
            f"Differences to {best.name}: p of the rows by a paired bootstrap, of the seeds by a "
            "paired t-test.",
            _table(DIFFERENCES_HEADER, difference_rows(comparison)),
        ]
    for field in best.slices:
        parts += [f"AUC by {field}:", _table(*slice_table(comparison, field))]
    return "\n\n".join(parts) + "\n"


def weighted(comparison: Comparison) -> str:
    """By what metrics weigh rows, as the end of a phrase; nothing where rows count alike."""
    return f", weighted by {comparison.weight}" if comparison.weight else ""


def metrics_rows(comparison: Comparison) -> list[tuple[object, ...]]:
    """A row an entry, in the columns of `METRICS_HEADER`."""
    return [
        (
            entry.name,
            len(entry.seeds),
            *_with_interval(entry, "auc"),
            *_with_interval(entry, "log_loss"),
            _rounded(entry.mean("calibration_ratio"), 3),
            _rounded(entry.mean("expected_calibration_error")),
            _rounded(entry.mean("pr_auc")),
            entry.parameters,
            _rounded(entry.seconds, 1),
            _rounded(entry.rounds, 1),
        )
        for entry in comparison.entries
    ]


def difference_rows(comparison: Comparison) -> list[tuple[object, ...]]:
    """A row an entry and metric, in the columns of `DIFFERENCES_HEADER`."""
    return [
        (
            entry.name,
            SHORT[metric],
            f"{entry.differences[metric].difference:+.4f}",
            f"{entry.differences[metric].low:+.4f} to {entry.differences[metric].high:+.4f}",
            _p_value(entry.differences[metric].p_value),
            _p_value(entry.t_tests[metric]),
            len(set(entry.seeds) & set(comparison.best.seeds)),
        )
        for entry in comparison.entries
        for metric in COMPARED
        if entry.differences is not None
    ]


def slice_table(
    comparison: Comparison, field: str
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Header and rows of the AUC by a field's values."""
    of_entries = [entry.slices[field] for entry in comparison.entries]
    header = (field, "rows", *(entry.name for entry in comparison.entries))
    rows = [
        (value, count, *(_rounded(found[place][2]) for found in of_entries))
        for place, (value, count, _) in enumerate(of_entries[0])
    ]
    return header, rows


def _with_interval(entry: Entry, metric: str) -> tuple[str, str, str]:
    low, high = entry.intervals[metric]
    return (
        _rounded(entry.mean(metric)),
        _rounded(entry.deviation(metric)),
        f"{_rounded(low)} to {_rounded(high)}",
    )


def _rounded(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _p_value(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
