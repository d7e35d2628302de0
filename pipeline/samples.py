"""Samples: some rows of the test split, the same ones in the same order, raw or transformed."""

import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipeline.batches import KEY, column_values, concatenate, only_split

_SAMPLES = 1000
_BATCHES_HELD = 32  # of which a sample is taken at once


class Sample(beam.PTransform):
    """Batches of all rows in, one batch of the sample out, or None if there is no test row."""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "OfTest" >> beam.FlatMap(only_split, "test")
            | "SmallestKeys" >> beam.CombineGlobally(SmallestKeys(_SAMPLES))
        )


class SmallestKeys(beam.CombineFn):
    """The rows with the smallest keys: a sample that comes out the same in every run."""

    def __init__(self, count: int):
        self._count = count

    def create_accumulator(self) -> list[pa.RecordBatch]:
        return []

    def add_input(
        self, accumulator: list[pa.RecordBatch], batch: pa.RecordBatch
    ) -> list[pa.RecordBatch]:
        accumulator.append(batch)
        return accumulator if len(accumulator) < _BATCHES_HELD else self.compact(accumulator)

    def merge_accumulators(self, accumulators: list[list[pa.RecordBatch]]) -> list[pa.RecordBatch]:
        return self.compact([batch for batches in accumulators for batch in batches])

    def compact(self, accumulator: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        return [self._smallest(accumulator)] if accumulator else []

    def extract_output(self, accumulator: list[pa.RecordBatch]) -> pa.RecordBatch | None:
        return self._smallest(accumulator) if accumulator else None

    def _smallest(self, batches: list[pa.RecordBatch]) -> pa.RecordBatch:
        batch = concatenate(batches)
        rows = np.argsort(column_values(batch, KEY), kind="stable")[: self._count]
        return batch.take(pa.array(rows))


def write_sample_rows(batch: pa.RecordBatch | None, columns: list[str], path: str) -> None:
    """Writes raw rows as requests carry them: JSON lines of `columns`; None as an empty file."""
    with FileSystems.create(path) as file:
        if batch is not None:
            values = [column_values(batch, name).tolist() for name in columns]
            for row in zip(*values, strict=True):
                cells = (None if cell != cell else cell for cell in row)  # NaN is no JSON
                file.write(json.dumps(dict(zip(columns, cells, strict=True))).encode() + b"\n")
