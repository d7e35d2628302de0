"""Runs to compare: read, checked to be of the same data, and grouped by their settings."""

import csv
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import yaml

from ctr_keras.features import FeatureSet
from ctr_keras.partitions import rows_digest
from ctr_keras.training import load_run, predict_split
from ctr_keras.training.evaluation import (
    check_predicts,
    check_same_features,
    column_of,
    data_of,
    split_weights,
    weighs_rows,
)
from ctr_keras.types import Array

_OF_ONE_RUN = ("out", "seed", "versions", "data")  # settings that do not make it another model
_NO_LABELS: Mapping[str, Any] = dict.fromkeys(("label", "more_labels", "positive", "negative"))


class Scored(NamedTuple):
    """A run with its scores of a split.

    Attributes:
        folder: str.
        settings: dict. Of its config.yaml.
        history: list of dict of float. Its rounds; of several labels, those of the one compared.
        parameters: int. Numbers in the weights that are trained.
        scores: `(rows,)` float32.
    """

    folder: str
    settings: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    parameters: int
    scores: Array

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @property
    def seconds(self) -> float:
        """Of all its rounds; evaluating is not in them."""
        return sum(row["seconds"] for row in self.history)


class ScoredRows(NamedTuple):
    """Rows that all runs have scored.

    Attributes:
        data: str. The folder of the prepared data.
        split: str. Which of its rows.
        label: str. The label's column.
        labels: `(rows,)` float32.
        weight: str. The column of the weights, `""` where rows count alike.
        weights: `(rows,)` float32.
    """

    data: str
    split: str
    label: str
    labels: Array
    weight: str
    weights: Array


def score_runs(
    folders: Sequence[str],
    split: str,
    weighted: bool | None = None,
    data: str | None = None,
    label: str | None = None,
) -> tuple[ScoredRows, list[Scored]]:
    """Scores a split with each run.

    Args:
        folders: of the runs.
        split: which rows.
        weighted: whether rows are weighed; None: if a run was trained with `sample_weight`.
        data: prepared data to score all runs on; None: those that they were trained on.
        label: of several, the one that is compared; None: the first of the first run.

    Returns:
        The rows, and the runs.

    Raises:
        FileNotFoundError: if a folder holds no finished run, or the data are not there.
        ValueError: if the runs are not all of the same data and split, naming two; if `data` were
            prepared with other features or vocabularies.
    """
    repeated = [f for n, f in enumerate(folders) if f in folders[:n]]
    if repeated:
        raise ValueError(f"{repeated[0]} is given twice")
    first: tuple[str, FeatureSet, str] | None = None
    scored: list[Scored] = []
    weighs = False
    for folder in folders:
        model, features, config = load_run(folder)
        run = folder, features, data_of(folder, config.data, data)
        first = first or run
        check_same_features(features, run[2])
        label = label or features.label.name
        check_predicts(label, features, folder)
        _check_same_data(first, run)
        weighs = weighs or weighs_rows(config, weighted)
        labels, scores = predict_split(model, features, first[2], split)
        labels, scores = (column_of(label, features, of) for of in (labels, scores))
        scored.append(scored_run(folder, model, scores, label))
        keras.backend.clear_session()
    assert first is not None
    _, features, prepared = first
    weights = split_weights(features, prepared, split) if weighs else np.ones_like(labels)
    weight = features.label.weight if weighs else ""
    return ScoredRows(prepared, split, label or "", labels, weight, weights), scored


def scored_run(folder: str, model: keras.Model, scores: Array, label: str) -> Scored:
    """A run with its model's scores of a label."""
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Scored(folder, _settings(folder), _history(folder, label), trained, scores)


def _check_same_data(
    first: tuple[str, FeatureSet, str], other: tuple[str, FeatureSet, str]
) -> None:
    run, features, data = first
    other_run, other_features, other_data = other
    if not _alike(features, other_features) or rows_digest(other_data) != rows_digest(data):
        raise ValueError(
            f"{other_run} is a run on {other_data}, {run} one on {data}, and these differ in "
            "features, rows or splits: compare runs on the same data"
        )


def _alike(features: FeatureSet, others: FeatureSet) -> bool:
    """Whether two feature sets differ in nothing but which labels are learned."""
    return bool({**features.to_dict(), **_NO_LABELS} == {**others.to_dict(), **_NO_LABELS})


def _settings(folder: str) -> Mapping[str, Any]:
    with open(os.path.join(folder, "config.yaml"), encoding="utf-8") as file:
        settings: Mapping[str, Any] = yaml.safe_load(file)
    return settings


def _history(folder: str, label: str) -> list[dict[str, float]]:
    with open(os.path.join(folder, "history.csv"), encoding="utf-8", newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    if rows and f"validation_log_loss_{label}" in rows[0]:
        return [_of_label(row, label) for row in rows]
    return rows


def _of_label(row: Mapping[str, float], label: str) -> dict[str, float]:
    """A round of several labels as that of one, of which training has no log loss."""
    end = f"_{label}"
    own = {key.removesuffix(end): value for key, value in row.items() if key.endswith(end)}
    return {key: of for key, of in {**row, **own}.items() if not key.startswith("train_")}


def by_settings(runs: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Runs that differ in nothing but the seed, by a name: the model's, and the settings in which
    it differs from others of the same model."""
    groups: dict[str, list[Scored]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_identity(run.settings), sort_keys=True), []).append(run)
    for members in groups.values():
        members.sort(key=lambda run: run.seed)
        seeds = [run.seed for run in members]
        for first, second in itertools.pairwise(members):
            if first.seed == second.seed:
                raise ValueError(
                    f"{first.folder} and {second.folder} are the same run: all settings are the "
                    f"same, seed {seeds[0]} included"
                )
    settings = [_flat(members[0].settings) for members in groups.values()]
    return {
        _name(flat, settings): members
        for flat, members in zip(settings, groups.values(), strict=True)
    }


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run another model than one of another seed.

    A run that starts from another run, or takes its trees, has the settings of that one, too. If
    that one is not where its path leads, because it has moved or the path is relative to another
    folder, the path stands for it: `seed-N` at its end is then the same for each run's own seed N.
    """
    found = {key: value for key, value in settings.items() if key not in _OF_ONE_RUN}
    arguments = dict(found.get("model_args") or {})
    for values, key in ((found, "start_from"), (arguments, "trees")):
        path = str(values.get(key) or "")
        run = os.path.dirname(path) if path.endswith("trees.json") else path
        if run and os.path.exists(os.path.join(run, "config.yaml")):
            values[key] = _identity(_settings(run))
        elif run and os.path.basename(os.path.normpath(run)) == f"seed-{settings['seed']}":
            values[key] = os.path.join(os.path.dirname(os.path.normpath(run)), "seed-N")
    return {**found, "model_args": arguments}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings and arguments of the model by name."""
    arguments = settings.get("model_args") or {}
    own = {k: v for k, v in settings.items() if k not in (*_OF_ONE_RUN, "model_args")}
    return {**own, **arguments}


def _name(settings: Mapping[str, Any], of_all: Sequence[Mapping[str, Any]]) -> str:
    same_model = [other for other in of_all if other["model"] == settings["model"]]
    keys = dict.fromkeys(key for other in same_model for key in other)
    differing = [key for key in keys if any(o.get(key) != settings.get(key) for o in same_model)]
    parts = [f"{key}={settings[key]}" for key in differing if key in settings]
    return " ".join([str(settings["model"]), *parts])
