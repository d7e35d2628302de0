"""Transformed record batches to sharded, shuffled, compressed TFRecords.

Rows go to shards by their key (a hash of where the row is) and stand in a shard in the order of
their keys: a global shuffle that comes out the same whatever the runner did. On their way to the
shards they travel in packets: record batches of many rows' keys and serialized `tf.train.Example`s.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindows, WindowedValue
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from ctr_keras.files import is_remote, open_output
from pipeline.batches import KEY, SPLIT, column_values
from pipeline.splits import SPLITS

_EXAMPLE = "row.example"
_ROWS_HELD = 2**16  # rows that a worker encodes before it hands their packets on
_COMPRESSION = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=3)

Shard = tuple[str, int]  # of which split, and which of its shards


@beam.ptransform_fn
def write_shards(
    batches: beam.PCollection, folder: str, shards: dict[str, int], waiting: str
) -> beam.PCollection:
    """Record batches with `KEY` and `SPLIT` columns in, files `<split>-?????-of-?????` out.

    Yields (split, rows written) for each file. Packets wait in the folder `waiting` until all are
    there if it is local, where runners keep what lies between two steps in memory; elsewhere the
    runner keeps them.
    """
    all_shards = [(split, i) for split, count in shards.items() for i in range(count)]
    nothing = batches.pipeline | "AllShards" >> beam.Create([(s, None) for s in all_shards])
    packets = batches | "ToPackets" >> beam.ParDo(_ToPackets(shards))
    if not is_remote(waiting):
        packets |= "KeepOnDisk" >> beam.Map(_keep_on_disk, waiting)
    return (
        (nothing, packets)
        | beam.Flatten()
        | "GroupShards" >> beam.GroupByKey()
        | "WriteShard" >> beam.Map(_write_shard, folder, shards)
    )


class _ToPackets(beam.DoFn):
    """Encodes rows and collects those of a shard, as (shard, packet)."""

    def __init__(self, shards: dict[str, int]):
        self._shards = shards

    def start_bundle(self) -> None:
        self._encoded: list[pa.RecordBatch] = []

    def process(self, batch: pa.RecordBatch) -> Iterator[tuple[Shard, pa.Table]]:
        columns = {name: column_values(batch, name) for name in (SPLIT, KEY)}
        columns[_EXAMPLE] = _examples(batch)
        self._encoded.append(pa.RecordBatch.from_pydict(columns))
        if sum(encoded.num_rows for encoded in self._encoded) >= _ROWS_HELD:
            yield from self._packets()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for packet in self._packets():
            yield GlobalWindows.windowed_value(packet)

    def _packets(self) -> Iterator[tuple[Shard, pa.Table]]:
        if not self._encoded:
            return
        rows, self._encoded = pa.Table.from_batches(self._encoded), []
        splits = rows[SPLIT].to_numpy()
        counts = np.array([self._shards[split] for split in SPLITS], np.uint64)
        shards = rows[KEY].to_numpy().astype(np.uint64) % counts[splits]
        order = np.lexsort((shards, splits))
        is_first = np.diff(splits[order]).astype(bool) | np.diff(shards[order]).astype(bool)
        for of_shard in np.split(order, np.flatnonzero(is_first) + 1):
            first = of_shard[0]
            packet = rows.select([KEY, _EXAMPLE]).take(pa.array(of_shard))
            yield (SPLITS[splits[first]], int(shards[first])), packet


def _examples(batch: pa.RecordBatch) -> pa.Array:
    """Serialized examples, the same bytes in every run: protobuf writes the features of one in an
    order that changes from run to run, and reads what is put together as one message."""
    names = sorted({*batch.schema.names} - {KEY, SPLIT})
    encoder = RecordBatchToExamplesEncoder()
    columns = (encoder.encode(batch.select([name])) for name in names)
    return pc.binary_join_element_wise(*(pa.array(column, pa.binary()) for column in columns), b"")


def _keep_on_disk(packet: tuple[Shard, pa.Table], folder: str) -> tuple[Shard, str]:
    """Writes a packet to a file and passes on the file's path."""
    shard, rows = packet
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, uuid.uuid4().hex)
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write(rows)
    return shard, path


def _write_shard(
    group: tuple[Shard, Iterable[pa.Table | str | None]], folder: str, shards: dict[str, int]
) -> tuple[str, int]:
    (split, index), parts = group
    packets = [_packet(part) for part in parts if part is not None]
    # Where two rows have one hash, their examples order them.
    order = [(KEY, "ascending"), (_EXAMPLE, "ascending")]
    rows = pa.concat_tables(packets).sort_by(order) if packets else pa.table({_EXAMPLE: []})
    name = f"{split}-{index:05d}-of-{shards[split]:05d}.tfrecord.gz"
    _write(os.path.join(folder, name), (example.as_py() for example in rows[_EXAMPLE]))
    return split, rows.num_rows


def _packet(part: pa.Table | str) -> pa.Table:
    if isinstance(part, pa.Table):
        return part
    with pa.memory_map(part) as file:
        return pa.ipc.open_file(file).read_all()


def write_examples(batch: pa.RecordBatch | None, path: str) -> None:
    """Writes a batch, in its order, as one compressed TFRecord file; None as an empty one."""
    examples = [] if batch is None else _examples(batch)
    _write(path, (example.as_py() for example in examples))


def _write(path: str, examples: Iterable[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as local:
        with tf.io.TFRecordWriter(local.name, _COMPRESSION) as writer:
            for example in examples:
                writer.write(example)
        with open_output(path) as file:
            shutil.copyfileobj(local, file)
