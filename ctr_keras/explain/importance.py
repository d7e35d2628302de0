"""Permutation importance: what a model loses when it cannot tell whose value a feature has."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.data import read_rows
from ctr_keras.features import Crossed, Feature, FeatureSet, MultiValued
from ctr_keras.runs import write_table
from ctr_keras.settings import find
from ctr_keras.training.evaluation import (
    check_predicts,
    check_same_features,
    data_of,
    input_names,
    load_run,
    weighs_rows,
)
from ctr_keras.training.slices import Column
from ctr_keras.types import Array, Rows

if TYPE_CHECKING:  # it needs the packages for plots
    from matplotlib.figure import Figure

By: TypeAlias = Literal["feature", "group"]

_BATCH_SIZE = 4096
_KEYS: Mapping[str, Callable[..., str]] = {
    "feature": lambda feature: feature.raw_column,
    "group": lambda feature: feature.group or feature.raw_column,
}


@dataclasses.dataclass(frozen=True)
class Importance:
    """What is lost without one feature, or some together: means over repeated permutations.

    Attributes:
        name: of the feature, the column that several features read, or the group.
        features: names of those that are permuted together.
        auc_drop: how much AUC falls.
        auc_drop_low, auc_drop_high: the least and the most of the repeats.
        log_loss_rise: how much the log loss grows.
        log_loss_rise_low, log_loss_rise_high: the least and the most of the repeats.
    """

    name: str
    features: tuple[str, ...]
    auc_drop: float
    auc_drop_low: float
    auc_drop_high: float
    log_loss_rise: float
    log_loss_rise_low: float
    log_loss_rise_high: float


def run_importance(
    run: str,
    split: str = "test",
    *,
    data: str | None = None,
    by: By = "feature",
    repeats: int = 5,
    rows: int = 100_000,
    label: str | None = None,
) -> list[Importance]:
    """The permutation importance of the features of a finished run.

    Args:
        run: str. The run's folder.
        split: str. `"validation"` or `"test"`; that of `"train"` says what was learned by heart,
            too. Defaults to `"test"`.
        data: str or None. Prepared data. Defaults to `None`: those the run was trained on.
        by, repeats: as in `permutation_importance`.
        rows: int. Rows of the split to score, at most. Defaults to `100000`.
        label: str or None. The label of several whose scores are looked at. Defaults to `None`: the
            first.

    Returns:
        As `permutation_importance`. Metrics weigh rows if the run was trained with
        `sample_weight`.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        ValueError: if the data were prepared with other features or vocabularies, or the rows are
            all of one class.
    """
    model, features, config = load_run(run)
    data = data_of(run, config.data, data)
    check_same_features(features, data)
    names = input_names(model)
    weight = [features.label.weight] if weighs_rows(config) else []
    columns, labels = read_rows(data, split, features, rows, [*names, *weight])
    sample: Rows = {name: columns[name] for name in names}, labels
    weights = columns[weight[0]] if weight else None
    if label:
        check_predicts(label, features, run)
        model, sample = of_label(label, features, model, sample)
    return permutation_importance(model, features, sample, by=by, repeats=repeats, weights=weights)


def of_label(
    label: str, features: FeatureSet, model: keras.Model, sample: Rows
) -> tuple[keras.Model, Rows]:
    """A model of several labels, and rows, as those of one."""
    place = features.label_names.index(label)
    one = slice(place, place + 1)
    return type(model)(model.input, model.output[:, one]), (sample[0], sample[1][:, one])


def permutation_importance(
    model: keras.Model,
    features: FeatureSet,
    sample: Rows,
    *,
    by: By = "feature",
    repeats: int = 5,
    seed: int = 0,
    weights: Array | None = None,
) -> list[Importance]:
    """How much worse a model scores rows whose values of a feature are those of other rows.

    The feature stays distributed as it was, but says nothing of its row. A feature of little
    importance may still matter where another one says the same: permute them together, by group.

    What comes from one column is permuted together: features that read the same column, and
    crosses with it. A cross also has a line of its own, for what it adds to its two features. A
    feature that shares the vocabulary of another is permuted without it, and so is a sequence.
    Features that the model does not read have no line.

    Args:
        model: keras.Model on the packed inputs, which returns scores; of several labels, those of
            the first count.
        features: FeatureSet.
        sample: packed inputs by name, and labels `(rows, labels)`.
        by: str. `"feature"`, or `"group"`: all features of a group together, those without one by
            themselves. Defaults to `"feature"`.
        repeats: int. Permutations of each. Defaults to `5`.
        seed: int. Of the permutations. Defaults to `0`.
        weights: array of a weight a row or None. Of the metrics. Defaults to `None`: all rows count
            alike.

    Returns:
        A list of `Importance`, the largest drop of AUC first.

    Raises:
        ValueError: if the labels are all of one class.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> from ctr_keras.models import FM
    >>> log = {"site": ["a", "b"] * 50, "hour": ["1", "1", "2", "2"] * 25, "click": [0, 1] * 50}
    >>> known = FeatureSet(Categorical("site"), Categorical("hour"), label=Label("click")).fit(log)
    >>> rows = known.pack(log), known.labels(log)
    >>> found = permutation_importance(FM(known), known, rows)
    >>> sorted(importance.name for importance in found)
    ['hour', 'site']

    References:
        Breiman, Random Forests, Machine Learning 45 (2001), Section 10; Fisher et al.,
        [All Models are Wrong, but Many are Useful](https://arxiv.org/abs/1801.01489).
    """
    inputs, labels = sample[0], sample[1][:, 0]
    rows = len(labels)
    draw = np.random.default_rng(seed)

    def measure(inputs: Mapping[str, Array]) -> tuple[float, float]:
        scores = scores_of(model, inputs)[:, 0]
        return metrics.auc(labels, scores, weights), metrics.log_loss(labels, scores, weights)

    base = measure(inputs)
    found = []
    for name, members in _units(features, by).items():
        members = [
            feature for feature in members if Column.of(features, feature.name).packed in inputs
        ]
        if not members:
            continue
        without = [
            measure(_permuted(features, inputs, members, draw.permutation(rows)))
            for _ in range(repeats)
        ]
        auc, log_loss = np.transpose(without)
        names = tuple(feature.name for feature in members)
        drop, rise = _mean_and_range(base[0] - auc), _mean_and_range(log_loss - base[1])
        found.append(Importance(name, names, *drop, *rise))
    return sorted(found, key=lambda importance: -importance.auc_drop)


def write_importance(importances: Sequence[Importance], out: str) -> list[str]:
    """Writes `importance.csv` and `importance.png` into a folder; their paths."""
    os.makedirs(out, exist_ok=True)
    table, picture = (os.path.join(out, f"importance.{kind}") for kind in ("csv", "png"))
    rows = [dataclasses.asdict(i) | {"features": " ".join(i.features)} for i in importances]
    write_table(table, rows)
    importance_figure(importances).savefig(picture, dpi=120)
    return [table, picture]


def importance_figure(importances: Sequence[Importance]) -> "Figure":
    """Bars of the AUC that is lost."""
    from ctr_keras.explain.figures import bars

    return bars(
        [i.name for i in importances],
        [i.auc_drop for i in importances],
        "Permutation importance",
        "AUC lost; the line is from the least to the most of the repeats",
        [(i.auc_drop_low, i.auc_drop_high) for i in importances],
    )


def _units(features: FeatureSet, by: By) -> dict[str, list[Feature]]:
    """What is permuted together, by name."""
    key = find("way to permute", by, _KEYS)
    members: dict[str, list[Feature]] = {}
    for feature in features.features:
        if not isinstance(feature, Crossed):
            members.setdefault(key(feature), []).append(feature)
    units: dict[str, list[Feature]] = {}
    for name, of in members.items():
        names = {feature.name for feature in of}
        crosses = [cross for cross in features.crossed if names & {cross.first, cross.second}]
        units[name if len(of) > 1 or by == "group" else of[0].name] = [*of, *crosses]
    return units | {cross.name: [cross] for cross in features.crossed}


def scores_of(model: keras.Model, inputs: Mapping[str, Array]) -> Array:
    """The scores `(rows, labels)` of packed inputs in memory."""
    rows = len(next(iter(inputs.values())))
    batches = (
        {name: values[start : start + _BATCH_SIZE] for name, values in inputs.items()}
        for start in range(0, rows, _BATCH_SIZE)
    )
    return np.concatenate([model.predict_on_batch(batch) for batch in batches])


def _permuted(
    features: FeatureSet, inputs: Mapping[str, Array], members: Sequence[Feature], order: Array
) -> dict[str, Array]:
    """The inputs with the columns of some features from other rows."""
    permuted = dict(inputs)
    for name, place in itertools.chain.from_iterable(_places(features, f) for f in members):
        if permuted[name] is inputs[name]:
            permuted[name] = inputs[name].copy()
        permuted[name][:, place] = inputs[name][order, place]
    return permuted


def _places(features: FeatureSet, feature: Feature) -> Iterator[Column]:
    """Where a feature and the weights of its values are."""
    yield Column.of(features, feature.name)
    if isinstance(feature, MultiValued) and feature.weights_input is not None:
        yield Column(feature.weights_input, slice(None))


def _mean_and_range(values: Array) -> tuple[float, float, float]:
    return float(values.mean()), float(values.min()), float(values.max())
