"""The step of the job that counts what raw rows hold."""

from collections.abc import Iterable
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ctr_keras.features import FeatureSet
from pipeline.batches import SPLIT, column_values, concatenate
from pipeline.statistics.columns import ROWS_HELD, count_columns
from pipeline.statistics.counted import Counted

_Held: TypeAlias = list[pa.RecordBatch | Counted]


class CountFeatures(beam.CombineFn):
    """Batches of raw rows in, one `Counted` out."""

    def __init__(self, features: FeatureSet):
        self._features = features

    def create_accumulator(self) -> _Held:
        return []

    def add_input(self, held: _Held, batch: pa.RecordBatch) -> _Held:
        held.append(batch)
        rows = sum(part.num_rows for part in held if isinstance(part, pa.RecordBatch))
        return self.compact(held) if rows >= ROWS_HELD else held

    def merge_accumulators(self, accumulators: Iterable[_Held]) -> _Held:
        merged: _Held = []
        for held in accumulators:
            merged = self.compact([*merged, *held])
        return merged

    def compact(self, held: _Held) -> _Held:
        batches = [part for part in held if isinstance(part, pa.RecordBatch)]
        counted = [part for part in held if isinstance(part, Counted)]
        if batches:
            counted.append(_count(concatenate(batches), self._features))
        return [Counted.merge(counted)] if counted else []

    def extract_output(self, held: _Held) -> Counted | None:
        return next((part for part in self.compact(held) if isinstance(part, Counted)), None)


def _count(batch: pa.RecordBatch, features: FeatureSet) -> Counted:
    names = (SPLIT, *features.label_names)
    rows = np.stack([column_values(batch, name).astype(np.int64) for name in names], axis=1)
    raw = {name: batch.column(name).flatten() for name in features.raw_columns}
    return count_columns(raw, rows, features)
