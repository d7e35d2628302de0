"""Some rows of the test split, the same ones raw and transformed."""

import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipeline.batches import KEY, column_values, only_split
from pipeline.datasets import Dataset
from pipeline.splits import SPLITS

_SAMPLES = 1000
_BATCHES_HELD = 32  # of which a sample is taken at once


def _write_samples(batches: beam.PCollection, dataset: Dataset, folder: str) -> None:
    """Some raw rows of the test split, as requests carry them."""
    _ = _sample(batches, "Rows") | "WriteSamples" >> beam.Map(
        _write_sample_rows,
        list(dataset.features.raw_columns),
        FileSystems.join(folder, "samples.jsonl"),
    )


def _sample(batches: beam.PCollection, name: str) -> beam.PCollection:
    """Some rows of the test split: the same ones in the same order, raw or transformed."""
    return (
        batches
        | f"Test{name}" >> beam.FlatMap(only_split, SPLITS.index("test"))
        | f"Sample{name}" >> beam.CombineGlobally(SmallestKeys(_SAMPLES))
    )


def _write_sample_rows(batch: pa.RecordBatch | None, columns: list[str], path: str) -> None:
    with FileSystems.create(path) as file:
        if batch is not None:
            values = [batch.column(name).flatten().to_pylist() for name in columns]
            for row in zip(*values, strict=True):
                cells = (None if cell != cell else cell for cell in row)  # NaN is no JSON
                file.write(json.dumps(dict(zip(columns, cells, strict=True))).encode() + b"\n")


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
