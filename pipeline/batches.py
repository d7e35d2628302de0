"""The record batches that rows travel in: one list column a feature, the label, key and split."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

KEY, SPLIT = "row.key", "row.split"  # columns beside the features; no feature's name has a dot


def as_lists(column: pa.Array) -> pa.ListArray:
    """A column of values as a column of lists with one value each."""
    return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), column)


def take(batch: pa.RecordBatch, is_taken: np.ndarray) -> pa.RecordBatch:
    """The rows of a boolean mask."""
    return batch if is_taken.all() else batch.take(pa.array(np.flatnonzero(is_taken)))


def column_values(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """The values of a column with one value a row."""
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)


def in_column_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns by name. TensorFlow Transform's order differs between workers."""
    return batch.select(sorted(batch.schema.names))


def only_split(batch: pa.RecordBatch, index: int) -> Iterator[pa.RecordBatch]:
    """The rows of one split, if there are any."""
    is_in = column_values(batch, SPLIT) == index
    if is_in.any():
        yield take(batch, is_in)
