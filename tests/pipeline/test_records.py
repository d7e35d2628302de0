"""Shards: every row once, in the order of the keys, whatever the way to them."""

import pathlib

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipeline import records
from pipeline.batches import KEY, SPLIT, make_batch
from pipeline.records import write_shards
from pipeline.runners import pipeline_options
from pipeline.splits import SPLITS
from tests.prepared import read_records

ROWS = 1000
SHARDS = {"train": 3, "validation": 2, "test": 2}


def batches(seed: int) -> list[pa.RecordBatch]:
    """Rows whose `id` follows from their key; the seed only changes their order and batches."""
    keys = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, ROWS)
    keys[1] = keys[0]  # two rows with one key, in an order of their own
    splits = np.random.default_rng(1).integers(0, 2, ROWS)  # none for test
    splits[1] = splits[0]
    rng = np.random.default_rng(seed)
    order = rng.permutation(ROWS)
    parts = np.split(order, np.sort(rng.choice(ROWS, 5, replace=False)))
    return [
        make_batch({"id": pa.array(part), KEY: pa.array(keys[part]), SPLIT: pa.array(splits[part])})
        for part in parts
    ]


def written(folder: pathlib.Path, seed: int) -> dict[str, list[bytes]]:
    """The records of each file."""
    (folder / "examples").mkdir(parents=True)
    write = write_shards(str(folder / "examples"), SHARDS, str(folder / "waiting"))
    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        _ = pipeline | beam.Create(batches(seed)) | write
    return {path.name: read_records([path]) for path in sorted((folder / "examples").iterdir())}


def row_id(record: bytes) -> int:
    return tf.train.Example.FromString(record).features.feature["id"].int64_list.value[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, list[bytes]]:
    return written(tmp_path_factory.mktemp("records"), seed=0)


def test_every_row_is_in_the_shard_of_its_key_in_the_order_of_the_keys(files):
    names = {f"{split}-{i:05d}-of-{n:05d}" for split, n in SHARDS.items() for i in range(n)}
    assert {name.removesuffix(".tfrecord.gz") for name in files} == names
    table = pa.Table.from_batches(batches(0)).to_pydict()
    columns = zip(table["id"], table[KEY], table[SPLIT], strict=True)
    places = {i: (key, SPLITS[split]) for [i], [key], [split] in columns}
    ids = [row_id(record) for of_file in files.values() for record in of_file]
    assert sorted(ids) == list(range(ROWS))
    for name, of_file in files.items():
        keys = [places[row_id(record)][0] for record in of_file]
        assert keys == sorted(keys)
        split, shard = name.split("-")[:2]
        for record in of_file:
            key, split_of_row = places[row_id(record)]
            assert split_of_row == split
            assert key % 2**64 % SHARDS[split] == int(shard)


def test_order_and_batches_of_the_rows_do_not_matter(files, tmp_path):
    assert written(tmp_path, seed=1) == files


def test_packets_wait_on_disk_or_with_the_runner(files, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_ROWS_HELD", 100)
    assert written(tmp_path / "disk", seed=2) == files
    assert len(list((tmp_path / "disk" / "waiting").iterdir())) > len(files)
    monkeypatch.setattr(records, "is_remote", lambda path: path.endswith("waiting"))
    assert written(tmp_path / "runner", seed=2) == files
    assert not (tmp_path / "runner" / "waiting").exists()


def test_an_example_is_the_same_bytes_whatever_the_order_of_its_columns():
    columns = {"b": pa.array([1, 2]), "a": pa.array([0.5, 1.5], pa.float32())}
    batch = make_batch(columns | {KEY: pa.array([1, 2]), SPLIT: pa.array([0, 0])})
    examples = records._examples(batch).to_pylist()
    turned = batch.select(list(reversed(batch.schema.names)))
    assert records._examples(turned).to_pylist() == examples
    # Google's own parser reads one message, with the two features.
    read = tf.train.Example.FromString(examples[1]).features.feature
    assert set(read) == {"a", "b"}
    assert read["b"].int64_list.value == [2]
    layout = {n: tf.io.FixedLenFeature([1], t) for n, t in (("a", tf.float32), ("b", tf.int64))}
    parsed = tf.io.parse_example(examples, layout)
    assert parsed["a"].numpy().tolist() == [[0.5], [1.5]]
    assert parsed["b"].numpy().tolist() == [[1], [2]]
