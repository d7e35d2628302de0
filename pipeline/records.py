"""Transformed record batches to sharded, shuffled, compressed TFRecords.

Rows go to shards by their key (a hash of the raw row) and stand in a shard in the order of their
keys: a global shuffle that comes out the same whatever the runner did.
"""

import shutil
import tempfile
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from pipeline.splits import SPLITS

KEY, SPLIT = "row.key", "row.split"  # columns beside the features; no feature's name has a dot


class WriteShards(beam.PTransform):
    """Record batches with `KEY` and `SPLIT` columns in, files `<split>-?????-of-?????` out.

    Yields (split, rows written) for each file.

    Args:
        folder: str. Where the files go.
        shards: dict. Number of shards of each split.
    """

    def __init__(self, folder: str, shards: dict[str, int]):
        super().__init__()
        self._folder, self._shards = folder, shards

    def expand(self, batches):
        all_shards = [(split, i) for split, count in self._shards.items() for i in range(count)]
        nothing = batches.pipeline | "AllShards" >> beam.Create([(s, []) for s in all_shards])
        rows = batches | "ToShards" >> beam.FlatMap(_encode, self._shards)
        return (
            (nothing, rows)
            | beam.Flatten()
            | "GroupShards" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(_write_shard, self._folder, self._shards)
        )


def column_values(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """The values of a column with one value a row."""
    return batch.column(name).flatten().to_numpy(zero_copy_only=False)


def _encode(batch: pa.RecordBatch, shards: dict[str, int]):
    """The rows of a batch as (split, shard), [(key, tf.Example), ...]."""
    keys, splits = column_values(batch, KEY), column_values(batch, SPLIT)
    examples = _examples(batch)
    for index, split in enumerate(SPLITS):
        shard = keys.astype(np.uint64) % np.uint64(shards[split])
        for i in np.unique(shard[splits == index]).tolist():
            rows = np.flatnonzero((splits == index) & (shard == i))
            yield (split, i), [(int(keys[row]), examples[row]) for row in rows]


def _examples(batch: pa.RecordBatch) -> list[bytes]:
    return RecordBatchToExamplesEncoder().encode(batch.drop_columns([KEY, SPLIT]))


def _write_shard(
    group: tuple[tuple[str, int], Iterable[list]], folder: str, shards: dict[str, int]
) -> tuple[str, int]:
    (split, index), parts = group
    rows = sorted(row for part in parts for row in part)
    name = f"{split}-{index:05d}-of-{shards[split]:05d}.tfrecord.gz"
    _write(FileSystems.join(folder, name), [example for _, example in rows])
    return split, len(rows)


def write_examples(batch: pa.RecordBatch | None, path: str) -> None:
    """Writes a batch, in its order, as one compressed TFRecord file; None as an empty one."""
    _write(path, [] if batch is None else _examples(batch))


def _write(path: str, examples: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as local:
        with tf.io.TFRecordWriter(local.name, "GZIP") as writer:
            for example in examples:
                writer.write(example)
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            shutil.copyfileobj(local, file)
