"""Chunks of source files to record batches of parsed rows, with the bad ones set aside."""

import collections
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipeline.datasets.base import Dataset, History
from pipeline.records import KEY, SPLIT, column_values
from pipeline.sources import BLOCK_LINES, Chunk
from pipeline.splits import SPLITS, FileSplit, row_keys
from pipeline.tables import Block, numbers

REJECTED, COUNTS, LINES = "rejected", "counts", "lines"  # side outputs of ParseChunk
_HISTORY_PARTITIONS = 64
_BATCHES_HELD = 32  # of which a sample is taken at once
_USER, _ITEM, _TIME, _ORDER = (f"history.{name}" for name in ("user", "item", "time", "order"))


class ReadRows(beam.PTransform):
    """All rows of the source, parsed and selected.

    Yields the outputs of `ParseChunk` and those of `SelectRows`; both have the rows as `rows`.

    Args:
        dataset: Dataset.
        source: str. The source as the user named it.
        files: list of (Chunk, int). Whole files and their sizes in bytes.
    """

    def __init__(self, dataset: Dataset, source: str, files: list[tuple[Chunk, int]]):
        super().__init__()
        self._dataset, self._source, self._files = dataset, source, files

    def expand(self, pipeline):
        parsed = (
            pipeline
            | "Files" >> beam.Create(self._files)
            | "Chunks" >> beam.FlatMapTuple(self._dataset.table.chunks)
            | "Spread" >> beam.Reshuffle()
            | "Parse"
            >> beam.ParDo(ParseChunk(self._dataset, self._source)).with_outputs(
                REJECTED, COUNTS, LINES, main="rows"
            )
        )
        batches = parsed.rows
        if self._dataset.history:
            batches |= "AddHistory" >> AddHistory(self._dataset.history)
        selected = batches | "Select" >> beam.ParDo(SelectRows(self._dataset)).with_outputs(
            COUNTS, main="rows"
        )
        return parsed, selected


class ParseChunk(beam.DoFn):
    """The rows of a chunk as record batches of `raw_columns`, the label, `KEY` and `SPLIT`.

    Every column is a list with one value a row, as TensorFlow Transform wants it. A label of NaN
    marks a row that the data set filters. Side outputs: `REJECTED` lists of (chunk, line, reason,
    row), `COUNTS` (name, number) pairs and `LINES` ((file, chunk), number of lines).
    """

    def __init__(self, dataset: Dataset, source: str):
        self._dataset, self._source = dataset, source

    def process(self, chunk: Chunk):
        lines = 0
        for block in self._dataset.table.read(chunk):
            lines = int(block.line[-1]) + 1
            batch = self._parse(chunk, block)
            yield beam.pvalue.TaggedOutput(COUNTS, ("read", len(block.line)))
            bad = np.flatnonzero(block.reason != None)  # noqa: E711 (element-wise)
            for reason, count in collections.Counter(block.reason[bad]).items():
                yield beam.pvalue.TaggedOutput(COUNTS, (f"rejected: {reason}", count))
            if len(bad):
                rejected = [(int(block.line[i]), block.reason[i], block.text[i]) for i in bad]
                yield beam.pvalue.TaggedOutput(REJECTED, (chunk, rejected))
            if batch.num_rows:
                yield batch
        yield beam.pvalue.TaggedOutput(LINES, ((chunk.file, chunk.index), lines))

    def _parse(self, chunk: Chunk, block: Block) -> pa.RecordBatch:
        raw, label = self._dataset.parse(block, self._source)
        columns = {**raw, self._dataset.features.label.name: pa.array(label)}
        if self._dataset.history:
            columns |= self._history_columns(chunk, block, self._dataset.history)
        keys = row_keys(block.text)
        if isinstance(self._dataset.split, FileSplit):
            split = np.full(len(keys), SPLITS.index(chunk.split))
        else:
            split = self._dataset.split.assign(keys, block)
        columns |= {KEY: pa.array(keys), SPLIT: pa.array(split, pa.int64())}
        batch = pa.RecordBatch.from_pydict({name: as_lists(c) for name, c in columns.items()})
        return take(batch, block.reason == None)  # noqa: E711

    def _history_columns(self, chunk: Chunk, block: Block, history: History) -> dict:
        first = (chunk.file << 48) + (chunk.index << 32)
        return {
            _USER: block.columns[history.user],
            _ITEM: block.columns[history.item],
            _TIME: numbers(block, history.time, block.columns[history.time], pa.float64()),
            _ORDER: pa.array(first + block.line),
        }


def as_lists(column: pa.Array) -> pa.ListArray:
    """A column of values as a column of lists with one value each."""
    return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), column)


def take(batch: pa.RecordBatch, is_taken: np.ndarray) -> pa.RecordBatch:
    """The rows of a boolean mask."""
    return batch if is_taken.all() else batch.take(pa.array(np.flatnonzero(is_taken)))


class AddHistory(beam.PTransform):
    """Adds the column that `History` declares; needs the columns `ParseChunk` made for it."""

    def __init__(self, history: History):
        super().__init__()
        self._history = history

    def expand(self, batches):
        return (
            batches
            | "ByUser" >> beam.FlatMap(_by_user)
            | "GroupUsers" >> beam.GroupByKey()
            | "History" >> beam.FlatMap(_add_history, self._history)
        )


def _by_user(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    users = column_values(batch, _USER)
    partition = np.array([zlib.crc32(user.encode()) % _HISTORY_PARTITIONS for user in users])
    for i in np.unique(partition).tolist():
        yield i, batch.take(pa.array(np.flatnonzero(partition == i)))


def _add_history(
    group: tuple[int, Iterable[pa.RecordBatch]], history: History
) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(list(group[1])).combine_chunks()
    batch = table.to_batches()[0]
    users, items, times, order = (
        column_values(batch, name) for name in (_USER, _ITEM, _TIME, _ORDER)
    )
    rows = np.lexsort((order, times, users))
    texts = [""] * len(rows)
    for _, of_user in itertools.groupby(rows, key=lambda row: users[row]):
        recent = collections.deque(maxlen=history.max_length)
        for row in of_user:
            texts[row] = history.separator.join(recent)
            recent.append(items[row])
    batch = batch.drop_columns([_USER, _ITEM, _TIME, _ORDER])
    batch = batch.append_column(history.column, as_lists(pa.array(texts)))
    for start in range(0, batch.num_rows, BLOCK_LINES):
        # Not a slice, with which Beam would write all of the batch each time.
        yield batch.take(pa.array(range(start, min(start + BLOCK_LINES, batch.num_rows))))


class SelectRows(beam.DoFn):
    """Drops the rows that the data set filters; counts them, and the clicks of each split."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def process(self, batch: pa.RecordBatch):
        label = column_values(batch, self._dataset.features.label.name)
        split = column_values(batch, SPLIT)
        kept = ~np.isnan(label)
        if not kept.all():
            name = f"filtered: {self._dataset.filter_rule}"
            yield beam.pvalue.TaggedOutput(COUNTS, (name, int((~kept).sum())))
            batch = take(batch, kept)
        for index, name in enumerate(SPLITS):
            clicks = int(label[kept & (split == index)].sum())
            yield beam.pvalue.TaggedOutput(COUNTS, (f"clicks: {name}", clicks))
        if batch.num_rows:
            # One column order for all batches: their schema is fixed once for the whole job.
            yield in_column_order(batch)


def in_column_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns by name. TensorFlow Transform's order differs between workers."""
    return batch.select(sorted(batch.schema.names))


def only_split(batch: pa.RecordBatch, index: int) -> Iterator[pa.RecordBatch]:
    """The rows of one split, if there are any."""
    is_in = column_values(batch, SPLIT) == index
    if is_in.any():
        yield take(batch, is_in)


class SmallestKeys(beam.CombineFn):
    """The rows with the smallest keys: a sample that comes out the same in every run."""

    def __init__(self, count: int):
        self._count = count

    def create_accumulator(self) -> list[pa.RecordBatch]:
        return []

    def add_input(self, accumulator, batch):
        accumulator.append(batch)
        return accumulator if len(accumulator) < _BATCHES_HELD else self.compact(accumulator)

    def merge_accumulators(self, accumulators):
        return self.compact([batch for batches in accumulators for batch in batches])

    def compact(self, accumulator):
        return [self._smallest(accumulator)] if accumulator else []

    def extract_output(self, accumulator) -> pa.RecordBatch | None:
        return self._smallest(accumulator) if accumulator else None

    def _smallest(self, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
        batch = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
        rows = np.argsort(column_values(batch, KEY), kind="stable")[: self._count]
        return batch.take(pa.array(rows))


def write_rejected(element: tuple[Chunk, list], lines: dict, folder: str) -> None:
    """Writes the rejected rows of a block as JSON lines: file, line (from 1), reason, row."""
    chunk, rows = element
    before = sum(lines[chunk.file, index] for index in range(chunk.index))
    name = f"{chunk.file:05d}-{chunk.index:05d}-{rows[0][0]:09d}.jsonl"
    with FileSystems.create(FileSystems.join(folder, name)) as file:
        for line, reason, text in rows:
            entry = {
                "file": chunk.path,
                "line": before + line + 1,
                "reason": reason,
                "row": text.decode("utf-8", "backslashreplace"),
            }
            file.write(json.dumps(entry).encode() + b"\n")
