"""The rows of a run: opened, and in batches with sample weights and the groups of rows."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ctr_keras.data import Examples, open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.models.registry import check_labels
from ctr_keras.partitions import prepared_report
from ctr_keras.settings import SettingError
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.slices import Column, groups_of, read_columns
from ctr_keras.training.trees_config import TreesConfig
from ctr_keras.types import Array, Rows

_FEW = 30  # rows of a class, by which a share of clicks is known to a third or so


def open_split(
    split: str, config: TrainConfig, features: FeatureSet, inputs: Sequence[str]
) -> Examples:
    """A split of a run's data, read as its settings say."""
    return open_examples(
        config.data,
        split,
        features,
        inputs=inputs,
        cache=config.cache,
        resident=config.resident,
    )


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of rows for pairs of them, and for metrics by group: those of the group that the
    data set declares, or of a feature's values.

    Raises:
        ValueError: for a feature that is not there or has not one category a row.
    """

    features: FeatureSet
    name: str

    def __post_init__(self) -> None:
        try:
            shape, _ = self.features.record_columns[self.packed]
            self.of({self.packed: np.zeros((0, *shape))})
        except ValueError as error:
            raise SettingError(f"group={self.name or None}: {error}", "group") from None

    @property
    def packed(self) -> str:
        """The packed input that holds the feature."""
        return self._column.packed

    @property
    def _column(self) -> Column:
        return Column.of_group(self.features, self.name)

    def of(self, inputs: Mapping[str, Array]) -> Array:
        """`(batch,)`, NaN where the value is missing or unknown, of packed inputs."""
        return groups_of(self.features, self.name, self._column.read(inputs))

    def of_all(self, examples: Examples, batch_size: int) -> Array:
        """`(rows,)` of a split, in its order."""
        read = read_columns(examples.read(batch_size), {self.name: self._column})
        return groups_of(self.features, self.name, read[self.name])


def groups_for(config: TrainConfig, features: FeatureSet) -> Groups | None:
    """The groups that a run needs: those of its setting, or those that the data set declares.

    Raises:
        ValueError: if there are none.
    """
    needs = {
        "monitor=auc_by_group": config.monitor == "auc_by_group",
        f"pairwise_weight={config.pairwise_weight}": config.pairwise_weight > 0,
    }
    for setting, is_needed in needs.items():
        if is_needed and not (config.group or features.label.group):
            raise SettingError(
                f"{setting} needs a group: set one, or declare `group:` in the data set's YAML",
                setting.partition("=")[0],
            )
    return Groups(features, config.group) if config.group or any(needs.values()) else None


def learned_labels(config: TrainConfig | TreesConfig) -> FeatureSet:
    """The features of a run's data, with the labels that the model learns.

    Raises:
        FileNotFoundError: if the folder holds no prepared data.
        ValueError: for a label that the data do not have, or several that the model does not take.
    """
    features = FeatureSet.load(os.path.join(config.data, "features.json"))
    if config.labels:
        features = features.with_labels(config.labels)
    check_labels(config.model, features)
    return features


def check_settings_of_labels(config: TrainConfig, features: FeatureSet) -> None:
    """Checks that settings go with the labels that are learned.

    Raises:
        SettingError: naming the setting.
    """
    config.weights_of(features)
    if config.pairwise_weight and len(features.tasks) > 1:
        raise SettingError("pairwise_weight needs one label: choose it by labels=[...]", "labels")


def check_validation(prepared: str, features: FeatureSet) -> None:
    """Checks that validation rows can tell a better model from a worse one, by the report of
    `ctr-keras prepare`; prints a line if there is little that they can tell.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the split has no rows, or of a label no row with or none without a click.
    """
    report = prepared_report(prepared)
    rows = report.get("rows", {}).get("validation")
    of_one = dict.fromkeys(features.label_names, report.get("label_mean", {}))
    means = report.get("label_means", of_one)
    for name in features.label_names:
        click = name if "label_means" in report else "a click"
        classes = {0: f"no row with {click}", 1: f"no row without {click}"}
        mean = means[name].get("validation")
        lacks = classes.get(mean) if rows else "no rows"
        if lacks:
            raise ValueError(
                f"the validation split of {prepared} has {lacks}, so that no model can be chosen "
                "by it: prepare the data with another `split:`"
            )
        rarer = 0 if mean is None else round(rows * min(mean, 1 - mean))
        if 0 < rarer < _FEW:
            print(
                f"the validation split has {rarer} rows {'with' if mean < 0.5 else 'without'} "
                f"{click}, which choose the best model and calibrate it: more in `split:` of the "
                "data set would tell more"
            )


def check_weight(features: FeatureSet, name: str) -> None:
    """Checks that the data have sample weights of a name, if any is given."""
    declared = features.label.weight
    if name and name != declared:
        hint = f"the data's is {declared!r}" if declared else "the data declare none"
        raise ValueError(
            f"sample_weight={name}: {hint}; declare `weight: {name}` in the data set's YAML and "
            "prepare the data again"
        )


def with_weights_and_groups(
    batches: Iterable[Rows],
    inputs: Sequence[str],
    weight: str,
    groups: Groups | None,
) -> Iterator[tuple[Any, ...]]:
    """What `fit` takes of batches that have more columns than the model's inputs.

    Args:
        batches: of packed inputs by name, and labels `(batch, 1)`.
        inputs: list of str. The model's.
        weight: str. The column of sample weights, `""` for none.
        groups: Groups or None. For `PairwiseLoss`; rows of none are each alone.
    """
    for columns, labels in getattr(batches, "as_numpy_iterator", batches.__iter__)():
        taken = {name: columns[name] for name in inputs}
        if groups is not None:  # numbered within the batch, as float32 is not exact for all ids
            of_rows = groups.of(columns)
            numbers = np.unique(of_rows, return_inverse=True, equal_nan=False)[1]
            labels = np.concatenate([np.asarray(labels), numbers[:, None]], axis=1, dtype="float32")
        yield (taken, labels, columns[weight][:, 0]) if weight else (taken, labels)
