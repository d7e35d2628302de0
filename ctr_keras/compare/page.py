"""A comparison as a folder: one page with pictures, Markdown and JSON."""

import json
import os
import urllib.parse

from markupsafe import Markup

from ctr_keras.compare import figures, text
from ctr_keras.compare.comparison import COMPARED, Comparison
from ctr_keras.explain.folder import check_out, check_packages, write_page
from ctr_keras.explain.page import Picture

GENERATOR = "ctr-keras compare"
REPORT = "report.html"  # in the folder of a run
_SHOWN = ("auc", "log_loss", "calibration_ratio")


def write_comparison(comparison: Comparison, out: str) -> list[str]:
    """Writes `index.html`, its pictures as PNG files, `comparison.md` and `comparison.json`.

    The folder appears under its name only when it is whole; an earlier comparison is replaced.

    Args:
        comparison: Comparison.
        out: str. The folder to write.

    Returns:
        Paths of the files, the page last.

    Raises:
        ValueError: if `out` holds something else.
    """
    check_page(out)
    facts = [
        ("data", comparison.data),
        ("rows", f"{len(comparison.labels)} of the {comparison.split} split"),
        (comparison.label, f"{comparison.label_mean:.4g} of the rows{text.weighted(comparison)}"),
        ("runs", str(sum(len(entry.runs) for entry in comparison.entries))),
        *_reports(comparison, out),
    ]
    others = {
        "comparison.md": text.to_markdown(comparison),
        "comparison.json": json.dumps(comparison.to_dict(), indent=2) + "\n",
    }
    title = f"{len(comparison.entries)} models compared"
    pictures = _pictures(comparison)
    return write_page(out, title, facts, pictures, generator=GENERATOR, others=others)


def check_page(out: str) -> None:
    """Checks, before anything is computed, that a page could be written.

    Raises:
        ModuleNotFoundError: without the packages of `ctr-keras[plots]`.
        ValueError: if `out` holds something else.
    """
    check_packages()
    check_out(out, "a comparison", GENERATOR)


def _reports(comparison: Comparison, out: str) -> list[tuple[str, Markup]]:
    """Links to the reports of the runs that have one."""
    paths = [os.path.join(run.folder, REPORT) for entry in comparison.entries for run in entry.runs]
    links = [
        Markup('<a href="{}">{}</a>').format(
            urllib.parse.quote(os.path.relpath(path, out)), os.path.dirname(path)
        )
        for path in paths
        if os.path.exists(path)
    ]
    return [("reports", Markup(", ").join(links))] if links else []


def _pictures(comparison: Comparison) -> list[Picture]:
    pictures = [_metrics(comparison)]
    if len(comparison.entries) > 1:
        pictures.append(_differences(comparison))
    return [*pictures, *shared_pictures(comparison), _costs(comparison)]


def shared_pictures(comparison: Comparison) -> list[Picture]:
    """What says something of one run, too: curves, calibration and slices."""
    pictures = [_curves(comparison), _calibration(comparison), _roc(comparison)]
    return pictures + [_slices(comparison, field) for field in comparison.best.slices]


def _metrics(comparison: Comparison) -> Picture:
    caption = (
        "Means over seeds; +/- is their standard deviation, small dots are single seeds. Lines are "
        f"intervals of 95% for other test rows, by {comparison.replicates} bootstrap replicates. "
        "They overlap even where a difference is certain: that is in the next picture."
    )
    figure = figures.metric_intervals(comparison, _SHOWN)
    return Picture(
        *("metrics", "Metrics", caption, figure, text.METRICS_HEADER),
        text.metrics_rows(comparison),
        is_open=True,
    )


def _differences(comparison: Comparison) -> Picture:
    name = comparison.best.name
    caption = (
        f"What each model has more than {name}, on the same rows. An interval without 0 says that "
        "other test rows would give the same sign (paired bootstrap), a small p of the seeds that "
        "training again would (paired t-test over common seeds). A model chosen as the best of "
        "many owes some of its lead to luck."
    )
    figure = figures.differences(comparison, COMPARED)
    return Picture(
        *("differences", f"Differences to {name}", caption, figure, text.DIFFERENCES_HEADER),
        text.difference_rows(comparison),
        is_open=True,
    )


def _curves(comparison: Comparison) -> Picture:
    caption = (
        "Log loss of the validation split (lines) and of training (dotted: with dropout, and over "
        "a round in which the model changes), a line a seed. Runs of earlier versions or of "
        "several labels have no dotted line. A round of trees is a tree."
    )
    rows = [
        (entry.name, run.seed, *(row.get(key, "") for key in _CURVE_KEYS))
        for entry in comparison.entries
        for run in entry.runs
        for row in run.history
    ]
    header = ("model", "seed", *_CURVE_KEYS)
    figure = figures.learning_curves(comparison)
    return Picture("learning-curves", "Learning curves", caption, figure, header, rows)


_CURVE_KEYS = ("round", "train_log_loss", "validation_log_loss", "validation_auc", "seconds")


def _calibration(comparison: Comparison) -> Picture:
    caption = (
        "Real against predicted share of clicks in ten buckets of rising scores, all seeds "
        "together. Points above the dashed line had more clicks than predicted."
    )
    header = ("model", "lowest score", "highest score", "rows", "predicted", "real")
    keys = ("low", "high", "rows", "score_mean", "label_mean")
    rows = [
        (entry.name, *(bucket[key] for key in keys))
        for entry in comparison.entries
        for bucket in comparison.calibration(entry)
    ]
    figure = figures.calibration(comparison)
    return Picture("calibration", "Calibration", caption, figure, header, rows)


def _roc(comparison: Comparison) -> Picture:
    caption = "The mean over seeds of the curve whose area is the AUC."
    rows = []
    for entry in comparison.entries:
        false, true = figures.roc_curve(comparison.labels, comparison.weights, entry)
        rows += [(entry.name, float(x), float(y)) for x, y in zip(false, true, strict=True)]
    header = ("model", "false positive rate", "true positive rate")
    return Picture("roc", "ROC curves", caption, figures.roc(comparison), header, rows)


def _slices(comparison: Comparison, field: str) -> Picture:
    caption = (
        f"AUC in the rows of each value of {field}, with their number; values without both clicks "
        "and other rows have none."
    )
    header, rows = text.slice_table(comparison, field)
    figure = figures.slices(comparison, field)
    return Picture(f"slices-{field}", f"AUC by {field}", caption, figure, header, rows)


def _costs(comparison: Comparison) -> Picture:
    caption = (
        "Numbers in the weights that are trained, and seconds in training rounds on the machine "
        "that trained; both axes are logarithmic. The parameters of trees are their leaves."
    )
    rows = [(e.name, e.parameters, e.seconds, e.rounds) for e in comparison.entries]
    header = ("model", "parameters", "seconds", "rounds")
    figure = figures.costs(comparison)
    return Picture("costs", "Parameters and time", caption, figure, header, rows)
