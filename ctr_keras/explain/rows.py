"""Some rows of prepared data, in memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctr_keras import data
from ctr_keras.features import FeatureSet

Array = np.ndarray[Any, Any]

_BATCH_SIZE = 1024  # attention weights of 39 fields take 12 kB a row and layer


class Rows(NamedTuple):
    """Packed inputs by name and labels `(rows,)`."""

    inputs: dict[str, Array]
    labels: Array


def read_rows(prepared: str, split: str, features: FeatureSet, count: int) -> Rows:
    """A sample of a split; see `ctr_keras.data.read_rows`."""
    inputs, labels = data.read_rows(prepared, split, features, count)
    return Rows(inputs, labels.ravel())


def batches(rows: Rows, names: Sequence[str]) -> Iterator[dict[str, Array]]:
    """Batches of the inputs of these names."""
    for start in range(0, len(rows.labels), _BATCH_SIZE):
        yield {name: rows.inputs[name][start : start + _BATCH_SIZE] for name in names}
