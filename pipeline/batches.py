"""The record batches that rows travel in, from the parsed block to the shard.

A batch has a list column with one value a row, as TensorFlow Transform wants it, for every raw
column and the label, and `KEY` and `SPLIT` next to them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from ctr_keras.types import Array
from pipeline.splits import SPLITS

KEY, SPLIT = "row.key", "row.split"  # no feature's name has a dot


def row_keys(raw: Iterable[bytes]) -> Array:
    """A 64-bit hash of each row's bytes, the same in every run and file order."""
    digests = b"".join([hashlib.blake2b(row, digest_size=8).digest() for row in raw])
    return np.frombuffer(digests, ">i8").astype(np.int64)


def make_batch(columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A batch of columns of values."""
    return pa.RecordBatch.from_pydict({name: as_lists(c) for name, c in columns.items()})


def as_lists(column: pa.Array) -> pa.ListArray:
    """A column of values as a column of lists with one value each."""
    return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), column)


def column_values(batch: pa.RecordBatch, name: str) -> Array:
    """(rows,) the values of a column."""
    values: Array = batch.column(name).flatten().to_numpy(zero_copy_only=False)
    return values


def take(batch: pa.RecordBatch, is_taken: Array) -> pa.RecordBatch:
    """The rows of a boolean mask."""
    return batch if is_taken.all() else batch.take(pa.array(np.flatnonzero(is_taken)))


def only_split(batch: pa.RecordBatch, split: str) -> Iterator[pa.RecordBatch]:
    """The rows of one split, if there are any."""
    is_in = column_values(batch, SPLIT) == SPLITS.index(split)
    if is_in.any():
        yield take(batch, is_in)


def concatenate(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of all the rows; there must be some."""
    (batch,) = pa.Table.from_batches(list(batches)).combine_chunks().to_batches()
    return batch


def in_column_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns by name. TensorFlow Transform's order differs between workers."""
    return batch.select(sorted(batch.schema.names))
