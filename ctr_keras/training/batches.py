"""Batches for `fit` with more than inputs and labels: sample weights, and groups of a row."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ctr_keras.data import Examples
from ctr_keras.features import FeatureSet
from ctr_keras.settings import did_you_mean
from ctr_keras.types import Array, Rows


@dataclasses.dataclass(frozen=True)
class GroupColumn:
    """The ids of the feature by which rows are grouped."""

    position: int  # in the packed input
    packed: ClassVar = "categorical"

    @classmethod
    def of(cls, features: FeatureSet, name: str) -> "GroupColumn":
        """That of a feature; a ValueError for one that is not categorical."""
        names = [feature.name for feature in features.categorical]
        if name not in names:
            raise ValueError(
                f"group={name}: it is no categorical feature of the data{did_you_mean(name, names)}"
            )
        return cls(names.index(name))

    def ids(self, inputs: Any) -> Array:
        """`(batch,)` ids of packed inputs."""
        return np.asarray(inputs[self.packed])[:, self.position]

    def all_ids(self, examples: Examples, batch_size: int) -> Array:
        """`(rows,)` ids of a split, in its order."""
        return np.concatenate([self.ids(inputs) for inputs, _ in examples.read(batch_size)])


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
    group: GroupColumn | None,
) -> Iterator[tuple[Any, ...]]:
    """What `fit` takes of batches that have more columns than the model's inputs.

    Args:
        batches: of packed inputs by name, and labels `(batch, 1)`.
        inputs: list of str. The model's.
        weight: str. The column of sample weights, `""` for none.
        group: GroupColumn or None. Of groups for `PairwiseLoss`.
    """
    for columns, labels in getattr(batches, "as_numpy_iterator", batches.__iter__)():
        taken = {name: columns[name] for name in inputs}
        if group is not None:  # numbered within the batch, as float32 is not exact for all ids
            numbers = np.unique(group.ids(columns), return_inverse=True)[1]
            labels = np.concatenate([np.asarray(labels), numbers[:, None]], axis=1, dtype="float32")
        yield (taken, labels, columns[weight][:, 0]) if weight else (taken, labels)
