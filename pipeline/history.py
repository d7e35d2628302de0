"""Histories: the earlier items of each row's user."""

import collections
import itertools
import zlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.batches import as_lists, column_values, concatenate
from pipeline.block import Block
from pipeline.datasets.base import History
from pipeline.sources import BLOCK_LINES, Chunk

_PARTITIONS = 64
_USER, _ITEM, _TIME, _ORDER = (f"history.{name}" for name in ("user", "item", "time", "order"))


def history_columns(history: History, chunk: Chunk, block: Block) -> dict[str, pa.Array]:
    """What `AddHistory` needs to know of a block's rows. Rejects rows whose time is no number."""
    first = (chunk.file << 48) + (chunk.index << 32)
    return {
        _USER: block.columns[history.user],
        _ITEM: block.columns[history.item],
        _TIME: block.numbers(history.time, block.columns[history.time], pa.float64()),
        _ORDER: pa.array(first + block.line),
    }


class AddHistory(beam.PTransform):
    """Puts the column that `History` declares into the place of `history_columns`."""

    def __init__(self, history: History):
        super().__init__()
        self._history = history

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "ByUser" >> beam.FlatMap(_by_user)
            | "GroupUsers" >> beam.GroupByKey()
            | "History" >> beam.FlatMap(_add_history, self._history)
        )


def _by_user(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    users = column_values(batch, _USER)
    partition = np.array([zlib.crc32(user.encode()) % _PARTITIONS for user in users])
    for i in np.unique(partition).tolist():
        yield i, batch.take(pa.array(np.flatnonzero(partition == i)))


def _add_history(
    group: tuple[int, Iterable[pa.RecordBatch]], history: History
) -> Iterator[pa.RecordBatch]:
    batch = concatenate(group[1])
    users, items, times, order = (
        column_values(batch, name) for name in (_USER, _ITEM, _TIME, _ORDER)
    )
    rows = np.lexsort((order, times, users))
    histories = [""] * len(rows)
    for _, of_user in itertools.groupby(rows, key=lambda row: users[row]):
        recent: collections.deque[str] = collections.deque(maxlen=history.max_length)
        for row in of_user:
            histories[row] = history.separator.join(recent)
            recent.append(items[row])
    batch = batch.drop_columns([_USER, _ITEM, _TIME, _ORDER])
    batch = batch.append_column(history.column, as_lists(pa.array(histories)))
    for start in range(0, batch.num_rows, BLOCK_LINES):
        # Not a slice, with which Beam would write all of the batch each time.
        yield batch.take(pa.array(range(start, min(start + BLOCK_LINES, batch.num_rows))))
