"""TFRecord shards to batches."""

from ctr_keras.data.records import read_examples, read_rows, row_count, stream_examples

__all__ = ["read_examples", "read_rows", "row_count", "stream_examples"]
