"""Record batches of rows: from chunks of source files, with their histories and without bad rows.

A batch has a list column with one value a row, as TensorFlow Transform wants it, for every raw
column and the label, and `KEY` and `SPLIT` next to them.
"""

import collections
import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from ctr_keras.features.hashing import fingerprints
from ctr_keras.types import Array
from pipeline import progress
from pipeline.block import BLOCK_ROWS, Block
from pipeline.counts import (
    TIME,
    USER,
    count_clicks,
    count_missing,
    span_of_times,
    users_by_split,
)
from pipeline.datasets.base import Dataset, History
from pipeline.sources import Chunk, name_below
from pipeline.splits import LEFT_OUT, SPLITS, FileSplit, LastSplit, Values, drawn

KEY, SPLIT = "\x1frow.key", "\x1frow.split"  # no column of a file begins so
REJECTED, COUNTS, LINES = "rejected", "counts", "lines"  # side outputs of ParseChunk
SPANS, USERS = "spans", "users"  # of SelectRows, beside COUNTS
_SAMPLE_SEED = 2**40  # no split's
_PARTITIONS = 64  # of the users
_USER, _ITEM, _TIME, _ORDER = (f"\x1fhistory.{name}" for name in ("user", "item", "time", "order"))
_LAST = tuple(f"\x1flast.{name}" for name in ("user", "time", "order"))


@beam.ptransform_fn
def read_rows(
    files: beam.PCollection, dataset: Dataset, source: str, which: progress.Pass
) -> tuple[Any, Any]:
    """The rows of whole files, (chunk, size in bytes), parsed and selected in a pass over them.

    Yields the outputs of `ParseChunk` and those of `SelectRows`; both have the rows as `rows`.
    """
    parse = beam.ParDo(ParseChunk(dataset, source, which))
    select = beam.ParDo(SelectRows(dataset))
    parsed = (
        files
        | "Chunks" >> beam.FlatMapTuple(dataset.table.chunks)
        | "Spread" >> beam.Reshuffle()
        | "Parse" >> parse.with_outputs(REJECTED, COUNTS, LINES, main="rows")
    )
    batches = add_history(parsed.rows, dataset.history) if dataset.history else parsed.rows
    if isinstance(dataset.split, LastSplit):
        batches = split_last(batches, dataset.split, dataset.features.label.name)
    return parsed, batches | "Select" >> select.with_outputs(COUNTS, SPANS, USERS, main="rows")


class ParseChunk(beam.DoFn):
    """The good rows of a chunk as record batches.

    A label of NaN marks a row that the data set filters. Side outputs: `REJECTED` lists of (chunk,
    [(line, reason, row)]), `COUNTS` (name, number) pairs and `LINES` ((file, chunk), number of
    lines).
    """

    def __init__(self, dataset: Dataset, source: str, which: progress.Pass = "transforming"):
        self._dataset, self._source, self._pass = dataset, source, which

    def process(self, chunk: Chunk) -> Iterator[Any]:
        lines = 0
        for block in self._dataset.table.read(chunk):
            lines = block.next_line
            batch = self._parse(chunk, block)
            progress.count(self._pass, len(block))
            yield TaggedOutput(COUNTS, ("read", len(block)))
            rejected = block.rejected()
            for reason, count in collections.Counter(why for _, why, _ in rejected).items():
                yield TaggedOutput(COUNTS, (f"rejected: {reason}", count))
            if rejected:
                yield TaggedOutput(REJECTED, (chunk, rejected))
            if batch.num_rows:
                yield batch
        yield TaggedOutput(LINES, ((chunk.file, chunk.index), lines))

    def _parse(self, chunk: Chunk, block: Block) -> pa.RecordBatch:
        dataset = self._dataset
        columns, label = dataset.parse(block, self._source)
        columns[dataset.features.label.name] = pa.array(label)
        columns |= dataset.known_of(block)
        if dataset.history:
            columns |= history_columns(dataset.history, chunk, block, dataset.missing)
        if isinstance(dataset.split, LastSplit):
            columns |= last_columns(dataset.split, chunk, block, dataset.missing)
        keys = row_keys(name_below(self._source, chunk.path), block.position)
        if isinstance(dataset.split, FileSplit):
            split = dataset.split.assign_of_file(chunk.split, keys)
        else:
            split = dataset.split.assign(keys, block, dataset.missing)
        columns |= {KEY: pa.array(keys), SPLIT: pa.array(split, pa.int64())}
        return take(make_batch(columns), block.is_good)


class SelectRows(beam.DoFn):
    """Drops the rows that the data set filters; counts them, and what the others have."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        label = column_values(batch, self._dataset.features.label.name)
        split = column_values(batch, SPLIT)
        rules = {
            self._dataset.filter_rule: np.isnan(label),
            "in a gap before a split": ~np.isnan(label) & (split == LEFT_OUT),
            "label 0, left out of the sample": self._is_left_out(batch, label, split),
        }
        for rule, filtered in rules.items():
            if filtered.any():
                yield TaggedOutput(COUNTS, (f"filtered: {rule}", int(filtered.sum())))
        kept = ~np.any([*rules.values()], axis=0)
        batch = take(batch, kept)
        clicks = count_clicks(self._dataset.features, batch, split[kept])
        for count in (*clicks, *count_missing(self._dataset.features, batch)):
            yield TaggedOutput(COUNTS, count)
        for span in span_of_times(batch, split[kept]):
            yield TaggedOutput(SPANS, span)
        for users in users_by_split(batch, split[kept]):
            yield TaggedOutput(USERS, users)
        if batch.num_rows:
            batch = batch.drop_columns([n for n in (USER, TIME) if n in batch.schema.names])
            # One column order for all batches: their schema is fixed once for the whole job.
            yield in_column_order(batch)

    def _is_left_out(self, batch: pa.RecordBatch, label: Array, split: Array) -> Array:
        """Of the training rows of label 0, those that the sample does not keep."""
        kept = self._dataset.features.label.negatives_kept
        is_drawn = drawn(column_values(batch, KEY), _SAMPLE_SEED) < kept
        return np.asarray((label == 0) & (split == SPLITS.index("train")) & ~is_drawn)


# Histories.


def history_columns(
    history: History, chunk: Chunk, block: Block, missing: Sequence[str] = ()
) -> dict[str, pa.Array]:
    """What `add_history` needs to know of a block's rows. Rejects rows without a time."""
    return {
        _USER: block.columns[history.user],
        _ITEM: block.columns[history.item],
        _TIME: pa.array(Values(block, history.time, missing).order()),
        _ORDER: pa.array(_places(chunk, block)),
    }


def _places(chunk: Chunk, block: Block) -> Array:
    """(rows,) the order of rows in the source."""
    return np.asarray((chunk.file << 48) + (chunk.index << 32) + block.line)


def add_history(batches: beam.PCollection, history: History) -> beam.PCollection:
    """Puts the column that `history` declares into the place of `history_columns`."""
    by_user = batches | "ByUser" >> beam.FlatMap(_by_user, _USER)
    return (
        by_user
        | "GroupUsers" >> beam.GroupByKey()
        | "History" >> beam.FlatMap(_add_history, history)
    )


def _by_user(batch: pa.RecordBatch, column: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    users = column_values(batch, column)
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
    yield from _blocks(batch.append_column(history.column, as_lists(pa.array(histories))))


def _blocks(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BLOCK_ROWS):
        # Not a slice, with which Beam would write all of the batch each time.
        yield batch.take(pa.array(range(start, min(start + BLOCK_ROWS, batch.num_rows))))


# The last rows of users.


def last_columns(
    split: LastSplit, chunk: Chunk, block: Block, missing: Sequence[str] = ()
) -> dict[str, pa.Array]:
    """What `split_last` needs to know of a block's rows. Rejects rows without a time."""
    users = pc.fill_null(block.columns[split.user], "")  # in rejected rows
    users = pc.if_else(pc.is_in(users, pa.array(["", *missing])), "", users)
    times = pa.array(Values(block, split.time, missing).order())
    columns = (users, times, pa.array(_places(chunk, block)))
    return dict(zip(_LAST, columns, strict=True))


def split_last(batches: beam.PCollection, split: LastSplit, label: str) -> beam.PCollection:
    """Puts the split into the place of `last_columns`. Rows that are filtered are nobody's."""
    by_user = batches | "ByLastUser" >> beam.FlatMap(_by_user, _LAST[0])
    grouped = by_user | "GroupLastUsers" >> beam.GroupByKey()
    return grouped | "Last" >> beam.FlatMap(_split_last, split, label)


def _split_last(
    group: tuple[int, Iterable[pa.RecordBatch]], split: LastSplit, label: str
) -> Iterator[pa.RecordBatch]:
    batch = concatenate(group[1])
    users, times, order = (column_values(batch, name) for name in _LAST)
    users = np.where(np.isnan(column_values(batch, label)), "", users)
    splits = as_lists(pa.array(split.assign_by_user(users, times, order)))
    batch = batch.drop_columns([*_LAST, SPLIT])
    yield from _blocks(batch.append_column(SPLIT, splits))


# What all steps share.


def row_keys(file: str, positions: Array) -> Array:
    """A 64-bit hash of where each row is, the same in every run whatever else is in the source.

    Not of what it says: rows that say the same would stay together, and apart from those with
    another label.
    """
    return fingerprints([f"{file}:{place}" for place in positions.tolist()]).view(np.int64)


def make_batch(columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A batch of columns of values."""
    return pa.RecordBatch.from_pydict({name: as_lists(c) for name, c in columns.items()})


def as_lists(column: pa.Array) -> pa.ListArray:
    """A column of values as a column of lists with one value each."""
    return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), column)


def column_values(batch: pa.RecordBatch, name: str) -> Array:
    """(rows,) the values of a column."""
    return np.asarray(batch.column(name).flatten())


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
