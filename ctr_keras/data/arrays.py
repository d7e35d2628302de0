"""Decoded rows as arrays, one a packed input and one of labels, and batches of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ctr_keras.data.order import batches_in, shuffled_batches
from ctr_keras.data.records import as_arrays, read_examples, row_count
from ctr_keras.features import FeatureSet
from ctr_keras.types import Array, Rows

_ROWS_AT_ONCE = 4096


def cut(rows: Rows, numbers: Array) -> Rows:
    """The rows of these numbers."""
    inputs, labels = rows
    return {name: values[numbers] for name, values in inputs.items()}, labels[numbers]


class ArrayExamples:
    """Batches of arrays, which `cut` makes of row numbers; see `Examples`.

    Example:

    >>> ids = np.arange(5)[:, None]
    >>> examples = ArrayExamples(({"categorical": ids}, ids % 2))
    >>> [inputs["categorical"].ravel().tolist() for inputs, _ in examples.read(3)]
    [[0, 1, 2], [3, 4]]
    """

    def __init__(self, rows: Rows, cut: Callable[[Rows, Array], Rows] = cut) -> None:
        self._rows = rows
        self._cut = cut

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self._rows[1])

    def read(self, batch_size: int, *, drop_remainder: bool = False) -> Iterator[Rows]:
        """One pass, in order."""
        for number in range(batches_in(self.count, batch_size, drop_remainder)):
            start = number * batch_size
            yield self._cut(self._rows, np.arange(start, min(start + batch_size, self.count)))

    def stream(self, batch_size: int, **order: Any) -> Iterator[Rows]:
        """Endless epochs in the order of `shuffled_batches`; what is skipped is not read."""
        for numbers in shuffled_batches(self.count, batch_size, **order):
            yield self._cut(self._rows, numbers)


def decode(
    prepared: str,
    split: str,
    features: FeatureSet,
    inputs: Sequence[str] | None = None,
    allocate: Callable[..., Any] = lambda name, shape, dtype: np.empty(shape, dtype),
) -> dict[str, Any]:
    """Decodes the TFRecords of a split into arrays `(rows, width)`, which `allocate` makes.

    Returns:
        Packed inputs, int32 or float32, by name, and all labels by the name of the first.

    Raises:
        FileNotFoundError: if there are no files of that split.
        ValueError: if they have another number of rows than the report says, or one is damaged.
    """
    count, label = row_count(prepared, split), features.label.name
    arrays = {}
    for name in features.packed_shapes if inputs is None else inputs:
        shape, dtype = features.record_columns[name]
        arrays[name] = allocate(name, (count, *shape), np.dtype(dtype))
    arrays[label] = allocate(label, (count, len(features.tasks)), np.float32)
    end = 0
    batches = read_examples(prepared, split, features, _ROWS_AT_ONCE, inputs)
    for packed, labels in as_arrays(batches, prepared, split):
        start, end = end, end + len(labels)
        if end > count:
            break
        for name, values in {**packed, label: labels}.items():
            arrays[name][start:end] = values
    if end != count:
        raise ValueError(
            f"{prepared}: its report.json says {count} {split} rows, its files hold "
            f"{'more' if end > count else end}; prepare the data again"
        )
    return arrays
