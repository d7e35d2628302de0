"""Trained runs: loading, scoring, evaluating."""

import dataclasses
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.data import Examples, open_examples
from ctr_keras.features import GROUP, FeatureSet
from ctr_keras.files import is_remote
from ctr_keras.mirrors import local_copy
from ctr_keras.runs import check_same_data
from ctr_keras.settings import did_you_mean
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.slices import Column, Slice, groups_of, read_columns, slices
from ctr_keras.training.stopped import best_so_far
from ctr_keras.training.trees_config import TreesConfig, read_config
from ctr_keras.types import Array, Rows

_BATCH_SIZE = 4096


def load_run(run: str) -> tuple[keras.Model, FeatureSet, TrainConfig | TreesConfig]:
    """The best model of a run, its features and its settings.

    Of a run that has not ended, it is the best model so far, which is said on standard error.

    Args:
        run: str. The run's folder.

    Raises:
        FileNotFoundError: if the folder holds no run, or none of its rounds has ended.
        ValueError: if the model's file is damaged.
    """
    run = local_copy(run)
    for name in ("config.yaml", "features.json"):
        if not os.path.exists(os.path.join(run, name)):
            raise FileNotFoundError(f"{run} holds no run: there is no {name}")
    config = read_config(os.path.join(run, "config.yaml"))
    features = FeatureSet.load(os.path.join(run, "features.json"))
    path = _best_model(run, config)
    if not zipfile.is_zipfile(path):  # Keras would say that it is not there
        raise ValueError(f"{path} is damaged: it is no .keras file")
    # Importing the config has imported the models, and so registered their layers.
    return keras.saving.load_model(path, compile=False), features, config


def _best_model(run: str, config: TrainConfig | TreesConfig) -> str:
    """The file of the best model."""
    if os.path.exists(os.path.join(run, "metrics.json")):
        path = os.path.join(run, "model.keras")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{run} holds no model: there is no model.keras")
        return path
    found = best_so_far(run, config) if isinstance(config, TrainConfig) else None
    if found is None:
        raise FileNotFoundError(f"{run} holds no model yet: none of its rounds has ended")
    path, reached = found
    print(f"{run} has not ended, {reached}", file=sys.stderr)
    return path


def evaluate_run(
    run: str,
    split: str = "test",
    data: str | None = None,
    *,
    by: Sequence[str] = (),
    group: str | None = None,
    k: int = 10,
    buckets: int = 0,
    bootstrap: int = 0,
    seed: int = 0,
    baseline: str | None = None,
    weighted: bool | None = None,
) -> dict[str, Any]:
    """Metrics of a finished run on a split.

    Args:
        run: str. The run's folder.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"test"`.
        data: str or None. Prepared data. Defaults to `None`: those the run was trained on.
        by: list of str. Fields by whose values to measure as well. Defaults to `()`.
        group: str or None. The field, such as the user, of the metrics by group, or the column
            that the data set declares as `group:`. Defaults to `None`: the declared one, if any.
        k: int. Rows of a group that NDCG, MRR and recall look at. Defaults to `10`.
        buckets: int. Buckets of rising scores by which to show calibration. Defaults to `0`.
        bootstrap: int. Replicates for intervals of 95%; groups are drawn as a whole. Defaults to
            `0`: no intervals.
        seed: int. Of the bootstrap. Defaults to `0`.
        baseline: str or None. Another run on the same data, over which to take RelaImpr. Defaults
            to `None`.
        weighted: bool or None. Whether metrics weigh rows, by the weight that the data set
            declares. Defaults to `None`: if the run was trained with `sample_weight`.

    Returns:
        `ctr_keras.metrics.report` of the split, without `undefined` and `no_interval` where these
        are empty; of a model of several labels `labels`, such a report for each by its name. In
        addition, where they are asked for, `calibration`, the buckets; `baseline_auc` and
        `rela_impr`; and `slices`, by field a list of such reports with their `value`, without
        values of whose rows none has a weight above 0. `weighted_by` names the weight of rows,
        where they have one.

    Raises:
        FileNotFoundError: if a run or the data are not there.
        ValueError: if the data were prepared with other features or vocabularies, or for a field
            or a weight that they do not have.
    """
    model, features, config = load_run(run)
    prepared = data_of(run, config.data, data)
    check_same_features(features, prepared)
    if by:
        features = FeatureSet.load_fitted(prepared)
    columns = {name: Column.of(features, name) for name in by}
    group = group or features.label.group
    if group:
        columns[GROUP] = Column.of_group(features, group)
    weight = Column.of_weight(features) if weighs_rows(config, weighted) else None
    if weight:
        columns[weight.packed] = weight
    labels, scores, fields = _predict_and_read(model, features, prepared, split, columns)
    weights = fields[weight.packed][:, 0] if weight else None
    if split == "train":
        weights = _counting_left_out(labels, weights, features.label.negatives_kept)
    baselines = _baseline_scores(baseline, features, prepared, split) if baseline else {}
    rows_of = {name: slices(features, name, fields[name]) for name in by}
    results = {}
    for label in features.label_names:
        measure = _Measure(
            column_of(label, features, labels),
            column_of(label, features, scores),
            weights,
            groups_of(features, group, fields[GROUP]) if group else None,
            baselines.get(label),
            buckets,
            {"k": k, "replicates": bootstrap, "seed": seed},
        )
        results[label] = measure.all(rows_of)
        if weight:
            results[label]["weighted_by"] = weight.packed
    return results[features.label.name] if len(results) == 1 else {"labels": results}


def data_of(run: str, trained_on: str, data: str | None = None) -> str:
    """The prepared data to look at with a run or a search.

    Args:
        run: str. Its folder.
        trained_on: str. The prepared data of its settings.
        data: str or None. Other prepared data, which take precedence. Defaults to `None`: none.

    Raises:
        FileNotFoundError: if those it was trained on are needed and not there.
        ValueError: if these were prepared anew since.
    """
    if data is not None:
        return local_copy(data)
    if not is_remote(trained_on) and not os.path.exists(trained_on):
        raise FileNotFoundError(
            f"{run} was trained on {trained_on}, which is not there: name its prepared data by "
            "--data"
        )
    prepared = local_copy(trained_on)
    check_same_data(local_copy(run), prepared)
    return prepared


def weighs_rows(config: TrainConfig | TreesConfig, weighted: bool | None = None) -> bool:
    """Whether metrics of a run weigh rows: as it is said, or else as the run was trained."""
    return bool(config.sample_weight) if weighted is None else weighted


@dataclasses.dataclass(frozen=True)
class _Measure:
    """What is measured of the rows, or of some of them."""

    labels: Array
    scores: Array
    weights: Array | None
    groups: Array | None
    baseline_scores: Array | None
    buckets: int
    settings: dict[str, int]  # of `metrics.report`

    def counts(self, rows: Any) -> bool:
        """Whether any of the rows has a weight."""
        return self.weights is None or bool(self.weights[rows].any())

    def all(self, rows_of: Mapping[str, Sequence[Slice]]) -> dict[str, Any]:
        """What is measured of all rows, and of those of each value of fields."""
        found = {
            name: [{"value": value, **self(rows)} for value, rows in of if self.counts(rows)]
            for name, of in rows_of.items()
        }
        return self(slice(None)) | ({"slices": found} if found else {})

    def __call__(self, rows: Any) -> dict[str, Any]:
        labels, scores = self.labels[rows], self.scores[rows]
        weights = None if self.weights is None else self.weights[rows]
        groups = None if self.groups is None else self.groups[rows]
        measured = metrics.report(labels, scores, weights, groups, **self.settings)
        undefined = measured.pop("undefined")
        no_interval = measured.pop("no_interval", {})
        if self.baseline_scores is not None:
            measured |= {"baseline_auc": None, "rela_impr": None}
            try:
                baseline = self.baseline_scores[rows]
                measured["baseline_auc"] = metrics.auc(labels, baseline, weights)
                measured["rela_impr"] = metrics.rela_impr(measured["auc"], measured["baseline_auc"])
            except ValueError as error:
                undefined["rela_impr"] = str(error)
        if self.buckets:
            buckets = metrics.calibration_buckets(labels, scores, weights, buckets=self.buckets)
            measured["calibration"] = buckets
        reasons = {"no_interval": no_interval, "undefined": undefined}
        return measured | {name: of for name, of in reasons.items() if of}


def _counting_left_out(labels: Array, weights: Array | None, kept: float) -> Array | None:
    """Weights by which rows of label 0 stand for those that are left out of the training rows."""
    if kept == 1:
        return weights
    counts: Array = np.where(labels == 0, 1 / kept, 1.0)
    return counts if weights is None else counts * weights


def _baseline_scores(run: str, features: FeatureSet, prepared: str, split: str) -> dict[str, Array]:
    """By label the scores `(rows,)` of another run, which must predict all of a model's."""
    model, own, _ = load_run(run)
    check_same_features(own, prepared)
    for label in features.label_names:
        check_predicts(label, own, run)
    scores = predict_split(model, own, prepared, split)[1]
    return {label: column_of(label, own, scores) for label in features.label_names}


def _predict_and_read(
    model: keras.Model,
    features: FeatureSet,
    prepared: str,
    split: str,
    columns: Mapping[str, Column],
) -> tuple[Array, Array, dict[str, Array]]:
    """Labels and scores as `predict_split`, and columns `(rows, width)` of the same rows."""
    names = input_names(model)
    packed = dict.fromkeys([*names, *(column.packed for column in columns.values())])
    examples = open_examples(prepared, split, features, inputs=list(packed))
    read: dict[str, list[Array]] = {name: [] for name in columns}

    def read_along() -> Iterator[Rows]:
        for inputs, labels in examples.read(_BATCH_SIZE):
            for name, column in columns.items():
                read[name].append(column.read(inputs))
            yield {name: inputs[name] for name in names}, labels

    labels, scores = _predict(model, read_along())
    return labels, scores, {name: np.concatenate(parts) for name, parts in read.items()}


def split_weights(features: FeatureSet, prepared: str, split: str) -> Array:
    """The weights `(rows,)` of the rows of `predict_split`.

    Raises:
        ValueError: if the data set declares none, or all are 0.
    """
    column = Column.of_weight(features)
    examples = open_examples(prepared, split, features, inputs=[column.packed])
    read = read_columns(examples.read(_BATCH_SIZE), {column.packed: column})
    weights = read[column.packed][:, 0]
    if not weights.any():
        raise ValueError(f"all rows of the {split} split have the {features.label.weight} 0")
    return weights


def check_same_features(features: FeatureSet, prepared: str) -> None:
    """Checks that prepared data have the labels and the ids that a model was trained on.

    Raises:
        ValueError: if they differ.
    """
    found = FeatureSet.load(os.path.join(prepared, "features.json"))
    if {*features.label_names} <= {*found.label_names}:
        found = found.with_labels(features.label_names)
    if found != features:
        has, wanted = (of.vocabulary_version for of in (found, features))
        versions = f": their version {has}, not {wanted}" if has != wanted else ""
        raise ValueError(f"{prepared} was prepared with other features or vocabularies{versions}")


def predict_split(
    model: keras.Model, features: FeatureSet, prepared: str, split: str
) -> tuple[Array, Array]:
    """Labels and scores of a split, each float32, in the order of `read_examples`: `(rows,)`, or of
    several labels `(rows, labels)`.

    Args:
        model: keras.Model on the packed inputs.
        features: FeatureSet.
        prepared: str. The folder that `ctr-keras prepare` wrote.
        split: str. `"train"`, `"validation"` or `"test"`.
    """
    return predict(model, open_examples(prepared, split, features, inputs=input_names(model)))


def predict(model: keras.Model, examples: Examples) -> tuple[Array, Array]:
    """Labels and scores of an opened split, each float32, in its order: `(rows,)`, or of several
    labels `(rows, labels)`."""
    return _predict(model, examples.read(_BATCH_SIZE))


def _predict(model: keras.Model, batches: Iterable[Rows]) -> tuple[Array, Array]:
    labels, scores = [], []
    for inputs, batch_labels in batches:
        labels.append(_of_one(batch_labels))
        scores.append(_of_one(model.predict_on_batch(inputs)))
    return np.concatenate(labels), np.concatenate(scores)


def _of_one(columns: Array) -> Array:
    """The only column, or all of several."""
    columns = np.asarray(columns)
    return columns[:, 0] if columns.shape[1] == 1 else columns


def check_predicts(label: str, features: FeatureSet, run: str) -> None:
    """Raises a ValueError if the model of a run, with these features, does not predict a label."""
    if label not in features.label_names:
        known = ", ".join(features.label_names)
        hint = did_you_mean(label, features.label_names)
        raise ValueError(f"{run} predicts {known}, not {label!r}{hint}")


def column_of(label: str, features: FeatureSet, columns: Array) -> Array:
    """`(rows,)` of one label, from what `predict_split` gives for a model of these features."""
    return columns if columns.ndim == 1 else columns[:, features.label_names.index(label)]


def input_names(model: keras.Model) -> Sequence[str]:
    """Names of the packed inputs a model takes."""
    return [tensor.name for tensor in model.inputs]
