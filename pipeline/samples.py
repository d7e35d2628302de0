"""Some rows of the test split, raw and transformed, to check a served model with."""

import json

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ctr_keras.files import open_output
from pipeline.batches import KEY, column_values, concatenate, only_split

_SAMPLES = 1000
_BATCHES_HELD = 32  # of which a sample is taken at once


@beam.ptransform_fn
def sample(batches: beam.PCollection) -> beam.PCollection:
    """Batches of all rows in, one of some of the test split out, or None if that is empty."""
    test = batches | beam.FlatMap(only_split, "test")
    return test | beam.CombineGlobally(SmallestKeys())


class SmallestKeys(beam.CombineFn):
    """The rows with the smallest keys: a sample that comes out the same in every run."""

    def create_accumulator(self) -> list[pa.RecordBatch]:
        return []

    def add_input(self, held: list[pa.RecordBatch], batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        held.append(batch)
        return held if len(held) < _BATCHES_HELD else self.compact(held)

    def merge_accumulators(self, accumulators: list[list[pa.RecordBatch]]) -> list[pa.RecordBatch]:
        return self.compact([batch for held in accumulators for batch in held])

    def compact(self, held: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        if not held:
            return []
        batch = concatenate(held)
        rows = np.argsort(column_values(batch, KEY), kind="stable")[:_SAMPLES]
        return [batch.take(pa.array(rows))]

    def extract_output(self, held: list[pa.RecordBatch]) -> pa.RecordBatch | None:
        return next(iter(self.compact(held)), None)


def write_sample_rows(batch: pa.RecordBatch | None, columns: list[str], path: str) -> None:
    """Writes raw rows as requests carry them: JSON lines of `columns`; None as an empty file."""
    with open_output(path) as file:
        if batch is not None:
            values = [column_values(batch, name).tolist() for name in columns]
            for row in zip(*values, strict=True):
                cells = (None if cell != cell else cell for cell in row)  # NaN is no JSON
                file.write(json.dumps(dict(zip(columns, cells, strict=True))).encode() + b"\n")
