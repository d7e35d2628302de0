"""TFRecord shards to batches."""

from ctr_keras.data.records import (
    Samples,
    read_examples,
    read_rows,
    read_samples,
    row_count,
    stream_examples,
)

__all__ = [
    "Samples",
    "read_examples",
    "read_rows",
    "read_samples",
    "row_count",
    "stream_examples",
]
