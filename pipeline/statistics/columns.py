"""The values of each feature in a batch of raw rows, and the step of the job that counts them."""

from collections.abc import Iterable
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from ctr_keras.features import Categorical, Crossed, Feature, FeatureSet, MultiValued, Numeric
from ctr_keras.features import Sequence as SequenceFeature
from ctr_keras.types import Array
from pipeline.batches import SPLIT, column_values, concatenate
from pipeline.parsing.weights import without_weights
from pipeline.statistics.counted import Column, Counted
from pipeline.statistics.counts import DistinctSample, Moments, count, count_rows
from pipeline.times import time_part

_ROWS_HELD = 2**15  # that are counted at once


def count_batch(batch: pa.RecordBatch, features: FeatureSet) -> Counted:
    """Counts the rows of a batch of raw rows."""
    names = (SPLIT, *features.label_names)
    rows = np.stack([column_values(batch, name).astype(np.int64) for name in names], axis=1)
    columns = {
        feature.name: _count_feature(feature, batch.column(feature.raw_column).flatten(), rows)
        for feature in features.features
        if not isinstance(feature, Crossed)
    }
    return Counted(_table(rows), columns)


def _count_feature(feature: Feature, raw: pa.Array, rows: Array) -> Column:
    if isinstance(feature, Numeric):
        return _count_numbers(np.asarray(raw, np.float64), rows)
    values = raw
    if isinstance(feature, Categorical) and feature.time_part:
        values = _time_parts(feature, raw)
    is_there = pc.not_equal(values, "")
    values, rows = values.filter(is_there), rows[np.asarray(is_there)]
    if isinstance(feature, MultiValued | SequenceFeature):
        return _count_lists(feature, pc.split_pattern(values, feature.separator), rows)
    counted = count(values, rows)
    return Column(_table(rows), counted, DistinctSample.of(counted))


def _count_numbers(numbers: Array, rows: Array) -> Column:
    is_there = np.isfinite(numbers)
    numbers, rows = numbers[is_there], rows[is_there]
    counted = count(numbers, rows)
    moments = Moments.of(numbers, rows[:, 0])
    return Column(_table(rows), counted, DistinctSample.of(counted), moments)


def _count_lists(
    feature: MultiValued | SequenceFeature, lists: pa.ListArray, rows: Array
) -> Column:
    items, of_row = lists.flatten(), np.asarray(pc.list_parent_indices(lists))
    if isinstance(feature, MultiValued) and feature.weight_separator:
        items = without_weights(feature, items)
    is_there = pc.not_equal(items, "")
    items, of_row = items.filter(is_there), of_row[np.asarray(is_there)]
    lengths = np.bincount(of_row, minlength=len(rows)).astype(np.float64)
    counted = count(items, rows[of_row])
    sample = DistinctSample.of(counted)
    return Column(_table(rows), counted, sample, lengths=count(lengths, rows))


def _time_parts(feature: Categorical, times: pa.Array) -> pa.Array:
    coded = times.dictionary_encode()
    distinct = tf.constant(coded.dictionary.to_numpy(zero_copy_only=False), tf.string)
    parts = time_part(distinct, str(feature.time_part), feature.zone).numpy()
    return pa.array(parts, pa.string()).take(coded.indices)


def _table(rows: Array) -> Array:
    table: Array = count_rows(rows, np.zeros(len(rows), np.int64), 1)[0]
    return table


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
        return self.compact(held) if rows >= _ROWS_HELD else held

    def merge_accumulators(self, accumulators: Iterable[_Held]) -> _Held:
        merged: _Held = []
        for held in accumulators:
            merged = self.compact([*merged, *held])
        return merged

    def compact(self, held: _Held) -> _Held:
        batches = [part for part in held if isinstance(part, pa.RecordBatch)]
        counted = [part for part in held if isinstance(part, Counted)]
        if batches:
            counted.append(count_batch(concatenate(batches), self._features))
        return [Counted.merge(counted)] if counted else []

    def extract_output(self, held: _Held) -> Counted | None:
        return next((part for part in self.compact(held) if isinstance(part, Counted)), None)
