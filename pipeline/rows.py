"""Chunks of source files to record batches of parsed rows, with the bad ones set aside."""

import collections
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.batches import KEY, SPLIT, column_values, in_column_order, make_batch, row_keys, take
from pipeline.block import Block
from pipeline.datasets.base import Dataset
from pipeline.history import AddHistory, history_columns
from pipeline.sources import Chunk
from pipeline.splits import SPLITS, FileSplit

REJECTED, COUNTS, LINES = "rejected", "counts", "lines"  # side outputs of ParseChunk


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

    def expand(self, pipeline: beam.Pipeline) -> tuple[Any, Any]:
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
    """The good rows of a chunk as record batches (see `pipeline.batches`).

    A label of NaN marks a row that the data set filters. Side outputs: `REJECTED` lists of (chunk,
    [(line, reason, row)]), `COUNTS` (name, number) pairs and `LINES` ((file, chunk), number of
    lines).
    """

    def __init__(self, dataset: Dataset, source: str):
        self._dataset, self._source = dataset, source

    def process(self, chunk: Chunk) -> Iterator[Any]:
        lines = 0
        for block in self._dataset.table.read(chunk):
            lines = int(block.line[-1]) + 1
            batch = self._parse(chunk, block)
            yield beam.pvalue.TaggedOutput(COUNTS, ("read", len(block)))
            rejected = list(block.rejected())
            for reason, count in collections.Counter(why for _, why, _ in rejected).items():
                yield beam.pvalue.TaggedOutput(COUNTS, (f"rejected: {reason}", count))
            if rejected:
                yield beam.pvalue.TaggedOutput(REJECTED, (chunk, rejected))
            if batch.num_rows:
                yield batch
        yield beam.pvalue.TaggedOutput(LINES, ((chunk.file, chunk.index), lines))

    def _parse(self, chunk: Chunk, block: Block) -> pa.RecordBatch:
        columns, label = self._dataset.parse(block, self._source)
        columns[self._dataset.features.label.name] = pa.array(label)
        if self._dataset.history:
            columns |= history_columns(self._dataset.history, chunk, block)
        keys = row_keys(block.raw)
        if isinstance(self._dataset.split, FileSplit):
            split = np.full(len(block), SPLITS.index(chunk.split))
        else:
            split = self._dataset.split.assign(keys, block)
        columns |= {KEY: pa.array(keys), SPLIT: pa.array(split, pa.int64())}
        return take(make_batch(columns), block.is_good)


class SelectRows(beam.DoFn):
    """Drops the rows that the data set filters; counts them, and the clicks of each split."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
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
