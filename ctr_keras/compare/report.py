"""A run on one page: its settings, how it went, what its scores are worth, what it has learned."""

import dataclasses
import os
import time
from collections.abc import Sequence

import keras
import numpy as np

from ctr_keras.compare.comparison import METRICS, Comparison, compared
from ctr_keras.compare.page import REPORT, shared_pictures
from ctr_keras.compare.runs import ScoredRows, scored_run
from ctr_keras.compare.text import SHORT, weighted
from ctr_keras.data import read_rows
from ctr_keras.data.records import row_count
from ctr_keras.explain import Explainer, plan_of_model
from ctr_keras.explain import pictures as draw
from ctr_keras.explain.importance import (
    importance_figure,
    of_label,
    permutation_importance,
    scores_of,
)
from ctr_keras.explain.page import Picture, render_page
from ctr_keras.features import FeatureSet
from ctr_keras.files import is_remote
from ctr_keras.mirrors import mirrored
from ctr_keras.runs import write_whole
from ctr_keras.settings import plain
from ctr_keras.training import TrainConfig, TreesConfig, load_run
from ctr_keras.training.evaluation import (
    check_same_features,
    column_of,
    data_of,
    input_names,
    weighs_rows,
)
from ctr_keras.training.slices import Column, slices
from ctr_keras.types import Array, Rows

_ROWS = 50_000  # that are scored, at most
_EXPLAINED_ROWS = 2_000
_REPLICATES = 200
_SECONDS = 1.0  # that importance may take, by how long scoring took
_FEWEST = 1_000  # rows from which importance says something


def write_report(run: str, by: Sequence[str] = (), data: str | None = None) -> str:
    """Writes `report.html` into the folder of a run, an earlier one is replaced.

    Metrics are of the first 50,000 rows of the test split, which is shuffled; of the validation
    split where there is no test split; of several labels, of the first. Importance is left out
    where it would take long.

    Args:
        run: str. The run's folder, also at an address. It may have been stopped.
        by: list of str. Fields by whose values to measure the AUC as well. Defaults to `()`.
        data: str or None. Prepared data. Defaults to `None`: those the run was trained on.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: if there is no run, or the data are not there.
        ModuleNotFoundError: without the packages of `ctr-keras[plots]`.
        ValueError: if the data were prepared with other features, there is no such field, or the
            rows are all of one class.
    """
    folder, upload = mirrored(run) if is_remote(run) else (run, lambda: None)
    model, features, config = load_run(folder)
    prepared = data_of(folder, config.data, data)
    check_same_features(features, prepared)
    split = "test" if row_count(prepared, "test") else "validation"
    rows = read_rows(prepared, split, features, _ROWS)
    measured = _of_both_classes(features, rows[1], prepared, split)
    weight = features.label.weight if weighs_rows(config) else ""
    weights = rows[0][weight][:, 0] if weight else np.ones(len(rows[1]), "float32")
    needed = {name: rows[0][name] for name in input_names(model)}, rows[1]
    scores = scores_of(model, needed[0])
    fitted = FeatureSet.load_fitted(prepared) if by else features
    rows_of = {name: slices(fitted, name, Column.of(fitted, name).read(rows[0])) for name in by}
    comparisons, pictures = [], []
    for label in measured:
        labels, own = (column_of(label, features, of) for of in (rows[1], scores))
        scored = ScoredRows(prepared, split, label, labels, weight, weights)
        run_of_label = scored_run(folder, model, own, label)
        comparison = compared(scored, [run_of_label], rows_of, _REPLICATES)
        importance = _importance(*of_label(label, features, model, needed), features, weights)
        shown = [_metrics(comparison), *shared_pictures(comparison), *importance]
        several = len(features.label_names) > 1
        pictures += [_named_by(label, picture) for picture in shown] if several else shown
        comparisons.append(comparison)
    pictures += [*_learned(needed, model, features, split), _settings(config)]
    title = f"{config.model}: {os.path.basename(os.path.abspath(folder))}"
    facts = _facts(config, comparisons)
    images = [picture.png() for picture in pictures]
    page = render_page(
        title, facts, list(zip(pictures, images, strict=True)), generator="ctr-keras report"
    )
    write_whole(os.path.join(folder, REPORT), lambda file: file.write(page))
    upload()
    return os.path.join(run, REPORT)


def _of_both_classes(
    features: FeatureSet, labels: Array, prepared: str, split: str
) -> Sequence[str]:
    """The labels that some of the rows have and others have not."""
    found = [n for n, of in zip(features.label_names, labels.T, strict=True) if len(set(of)) > 1]
    if not found:
        raise ValueError(
            f"the first {len(labels)} {split} rows of {prepared} are all of label "
            f"{labels[0, 0]:g}: there is no AUC"
        )
    return found


def _named_by(label: str, picture: Picture) -> Picture:
    name, title = f"{picture.name}-{label}", f"{picture.title} of {label}"
    return dataclasses.replace(picture, name=name, title=title)


def _facts(
    config: TrainConfig | TreesConfig, comparisons: Sequence[Comparison]
) -> list[tuple[str, str]]:
    """What the run is, and on what its scores are measured."""
    entry = comparisons[0].best
    facts = [
        ("model", config.model),
        ("data", str(entry.runs[0].settings["data"])),
        ("training", f"rounds: {entry.rounds:g}, in {entry.seconds:.1f} s"),
    ]
    for comparison in comparisons:
        history = comparison.best.runs[0].history
        best = min(history, key=lambda row: row["validation_log_loss"])
        facts += [
            (
                f"validation of {comparison.label}",
                f"round {best['round']:g} has the least log loss, "
                f"{best['validation_log_loss']:.5f}",
            ),
            (
                f"{comparison.split} of {comparison.label}",
                f"{len(comparison.labels)} rows, {comparison.label_mean:.4g} of them with it"
                f"{weighted(comparison)}",
            ),
        ]
    return facts


def _metrics(comparison: Comparison) -> Picture:
    entry = comparison.best
    lines = [(SHORT[name], entry.mean(name), *entry.intervals[name]) for name in METRICS]
    caption = (
        "With intervals of 95% for other rows of the same kind, by "
        f"{comparison.replicates} bootstrap replicates. Calibration is the predicted share of "
        "clicks over the real one, ECE the mean distance of the two in buckets of scores."
    )
    header = ("metric", "value", "from", "to")
    return Picture("metrics", "Metrics", caption, None, header, lines, is_open=True)


def _importance(
    model: keras.Model, rows: Rows, features: FeatureSet, weights: Array
) -> list[Picture]:
    """Permutation importance of as many rows as take about a second, if these are enough."""
    inputs, labels = rows
    few = {name: values[:_FEWEST] for name, values in inputs.items()}
    enough = min(_FEWEST, len(labels))
    scores_of(model, few)  # compiles it for that many rows
    started = time.monotonic()
    scores_of(model, few)
    seconds = (time.monotonic() - started) / enough * len(features.features)  # for a row
    count = min(len(labels), int(_SECONDS / seconds))
    if count < enough or len(np.unique(labels[:count, 0])) < 2:
        return []
    part = {name: values[:count] for name, values in inputs.items()}, labels[:count]
    found = permutation_importance(model, features, part, repeats=1, weights=weights[:count])
    caption = (
        f"The AUC that is lost where the values of a feature are those of other rows, by one "
        f"permutation of {count} rows; ctr-keras importance permutes more rows, and more often."
    )
    lines = [(one.name, one.auc_drop, one.log_loss_rise) for one in found]
    header = ("feature", "AUC lost", "log loss gained")
    return [Picture("importance", "Importance", caption, importance_figure(found), header, lines)]


def _learned(rows: Rows, model: keras.Model, features: FeatureSet, split: str) -> list[Picture]:
    """Gates of interactions, and attention."""
    inputs, labels = rows
    few = {n: of[:_EXPLAINED_ROWS] for n, of in inputs.items()}, labels[:_EXPLAINED_ROWS]
    explainer = Explainer(model, features)
    return [
        *draw.gate_pictures(plan_of_model(model, features), features),
        *draw.mean_attention_pictures(explainer, few, split),
        *draw.global_pictures(explainer, few, split),
        *draw.expert_pictures(model, features, few, split),
    ]


def _settings(config: TrainConfig | TreesConfig) -> Picture:
    arguments = dict(config.model_args) if isinstance(config, TrainConfig) else {}
    settings = {k: v for k, v in plain(config).items() if k != "model_args"}
    lines = [(name, str(value)) for name, value in (arguments | settings).items()]
    caption = "Those of config.yaml; arguments of the model that are not here have its defaults."
    return Picture("settings", "Settings", caption, None, ("setting", "value"), lines)
