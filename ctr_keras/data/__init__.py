"""TFRecord shards to batches: parsed in every pass, from a decoded cache, or from memory."""

from ctr_keras.data.examples import Examples, open_examples
from ctr_keras.data.records import (
    Samples,
    read_examples,
    read_rows,
    read_samples,
    row_count,
    stream_examples,
)

__all__ = [
    "Examples",
    "Samples",
    "open_examples",
    "read_examples",
    "read_rows",
    "read_samples",
    "row_count",
    "stream_examples",
]
