"""The values of each feature in some raw rows, counted."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from ctr_keras.features import Categorical, Crossed, Feature, FeatureSet, MultiValued, Numeric
from ctr_keras.features import Sequence as SequenceFeature
from ctr_keras.types import Array
from pipeline.parsing.weights import without_weights
from pipeline.statistics.counted import Column, Counted
from pipeline.statistics.counts import DistinctSample, Moments, count, count_rows
from pipeline.times import time_part

ROWS_HELD = 2**15  # that are counted at once


def count_columns(raw: Mapping[str, pa.Array], rows: Array, features: FeatureSet) -> Counted:
    """Counts rows of raw columns, by name; `rows` says of each its split, and its labels."""
    columns = {
        feature.name: _count_feature(feature, raw[feature.raw_column], rows)
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
