"""What is counted of the rows that are written, batch by batch: (name, number) pairs.

`report.py` says what the names mean to a reader.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features import Categorical, Crossed, Feature, FeatureSet, Numeric
from ctr_keras.features.packing import time_part
from ctr_keras.types import Array
from pipeline.splits import SPLITS


def count_clicks(labels: Array, splits: Array) -> Iterator[tuple[str, int]]:
    """`clicks: <split>`."""
    for index, name in enumerate(SPLITS):
        yield f"clicks: {name}", int(labels[splits == index].sum())


def count_missing(features: FeatureSet, batch: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    """`missing: <feature>`, and of features of times `unread: <feature>`, the values that are there
    but no times."""
    for feature in features.features:
        if not isinstance(feature, Crossed):
            yield from _count_missing(feature, batch.column(feature.raw_column).flatten())


def _count_missing(feature: Feature, column: pa.Array) -> Iterator[tuple[str, int]]:
    if isinstance(feature, Numeric):
        yield f"missing: {feature.name}", int((~np.isfinite(np.asarray(column))).sum())
        return
    empty = pc.sum(pc.equal(column, "")).as_py() or 0
    unread = 0
    if isinstance(feature, Categorical) and feature.time_part:
        coded = column.dictionary_encode()
        is_read = [time_part(value, feature) != "" for value in coded.dictionary.to_pylist()]
        unread = int((~np.array(is_read, bool)[coded.indices]).sum()) - empty
        yield f"unread: {feature.name}", unread
    yield f"missing: {feature.name}", empty + unread
