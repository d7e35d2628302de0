"""TFRecords of prepared data as `tf.data` batches, streamed.

The rows of a shard, and which shard a row is in, are random already. An epoch shuffles the order of
shards, takes turns in several of them and shuffles blocks of rows. Records are parsed where they
are read, many at a time, and what is shuffled is numbers: records are slow to move.
"""

import glob
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ctr_keras.data.order import batches_in
from ctr_keras.features import FeatureSet
from ctr_keras.partitions import (
    SAMPLE_FILES,
    moves_of,
    partitions,
    prepared_report,
    sample_partition,
)
from ctr_keras.types import Array, Rows, Tensor

if TYPE_CHECKING:  # functions import TensorFlow, which decoded copies do without
    import tensorflow as tf

_MAX_BLOCKS = 2**32  # of an epoch
_PARALLEL_SHARDS = 4
_ROWS_AT_ONCE = 1024  # parsed together
_SHUFFLED_BYTES = 32 << 20  # together, rounded up to whole batches; the first batch waits
_PREFETCHED = 4  # batches


class _Shards(NamedTuple):
    """Files, and what to add to the packed ids of each that are not 0, (files, width)."""

    paths: Sequence[str]
    moves: Mapping[str, Array]


def read_examples(
    prepared: str,
    split: str,
    features: FeatureSet,
    batch_size: int,
    inputs: Sequence[str] | None = None,
    *,
    drop_remainder: bool = False,
) -> "tf.data.Dataset":
    """One pass over a split, in an order that is always the same.

    Returns:
        A `tf.data.Dataset` of (packed inputs, labels): int32 and float32 tensors by name, and
        `(batch, labels)` float32; the last batch may be smaller, or is left out (`drop_remainder`).

    Raises:
        FileNotFoundError: if there are no files of that split, naming folder and split.
        ValueError: if no batch is left.
    """
    import tensorflow as tf

    if drop_remainder:
        batches_in(row_count(prepared, split), batch_size, drop_remainder)
    shards = _shards(prepared, split, features)
    rows = _parsed(shards, tf.range(len(shards.paths)), _ROWS_AT_ONCE, features, inputs)
    return rows.rebatch(batch_size, drop_remainder).prefetch(_PREFETCHED)


def read_rows(
    prepared: str,
    split: str,
    features: FeatureSet,
    count: int,
    inputs: Sequence[str] | None = None,
) -> Rows:
    """The first rows of a split in memory; as it is shuffled, a random sample of it.

    Args:
        prepared: str. The folder that `ctr-keras prepare` wrote.
        split: str. `"train"`, `"validation"` or `"test"`.
        features: FeatureSet.
        count: int. Rows to read; fewer if there are fewer.
        inputs: list of str or None. Packed inputs to read. Defaults to `None`: all.

    Returns:
        Packed inputs by name, and labels `(rows, labels)`.

    Raises:
        FileNotFoundError: if there are no files of that split, naming folder and split.
        ValueError: if the split has no rows.
    """
    batch_size = min(count, _ROWS_AT_ONCE)
    batches = read_examples(prepared, split, features, batch_size, inputs)
    read = list(as_arrays(batches.take(-(-count // batch_size)), prepared, split))
    if not read:
        raise ValueError(f"the {split} split of {prepared} has no rows")
    packed = {name: np.concatenate([b[name] for b, _ in read])[:count] for name in read[0][0]}
    return packed, np.concatenate([labels for _, labels in read])[:count]


class Samples(NamedTuple):
    """Some rows of the test split, raw and transformed, in one order.

    Attributes:
        rows: list of dict. Raw column to string, number or None.
        inputs: dict. Packed input to array `(rows, width)`.
        labels: array `(rows, labels)` of 0 and 1.
    """

    rows: list[dict[str, Any]]
    inputs: dict[str, Array]
    labels: Array


def read_samples(prepared: str, features: FeatureSet) -> Samples:
    """The rows that `ctr-keras prepare` leaves to check a served model with; there may be none.

    Args:
        prepared: str. The folder that `ctr-keras prepare` wrote.
        features: FeatureSet.

    Raises:
        FileNotFoundError: if they are not there, naming the file.
    """
    raw, transformed = (os.path.join(prepared, name) for name in SAMPLE_FILES)
    for path in (raw, transformed):
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no {path}; prepare the data again")
    with open(raw, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    shards = _Shards([transformed], moves_of([sample_partition(prepared)], prepared, features))
    batches = _parsed(shards, [0], max(len(rows), 1), features, None)
    for inputs, labels in batches.as_numpy_iterator():
        return Samples(rows, inputs, labels)
    return Samples([], {}, np.zeros((0, len(features.tasks)), np.float32))


def stream_examples(
    prepared: str,
    features: FeatureSet,
    batch_size: int,
    *,
    seed: int,
    split: str = "train",
    skip_batches: int = 0,
    inputs: Sequence[str] | None = None,
    drop_remainder: bool = False,
) -> "tf.data.Dataset":
    """Endless epochs over a split, each shuffled anew, the same for the same seed.

    Returns and raises as `read_examples`; the last batch of each epoch may be smaller.
    """
    import tensorflow as tf

    shards = _shards(prepared, split, features)
    epoch_batches = batches_in(row_count(prepared, split), batch_size, drop_remainder)
    block_batches = math.ceil(_SHUFFLED_BYTES / row_bytes(features, inputs) / batch_size)

    def blocks_of(number: Tensor) -> "tf.data.Dataset":
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(shards.paths)), [seed, number]
        )
        rows = _parsed(shards, order, _ROWS_AT_ONCE, features, inputs)

        def shuffle(index: Tensor, block: Any) -> Any:
            # Stateless, as a buffer's seed cannot depend on the epoch.
            rows = tf.range(tf.shape(block[1])[0])
            seeds = [seed, number * _MAX_BLOCKS + index]
            rows = tf.random.experimental.stateless_shuffle(rows, seeds)
            return tf.nest.map_structure(lambda values: tf.gather(values, rows), block)

        return rows.rebatch(block_batches * batch_size).enumerate().map(shuffle)

    def batches_of(*block: Any) -> "tf.data.Dataset":
        return tf.data.Dataset.from_tensors(block).rebatch(batch_size, drop_remainder)

    first_epoch, skipped = divmod(skip_batches, epoch_batches)
    blocks = tf.data.Dataset.counter(first_epoch).flat_map(blocks_of)
    batches = blocks.prefetch(1).flat_map(batches_of)  # one is read while another is learned
    return batches.skip(skipped).prefetch(_PREFETCHED)


def as_arrays(batches: "tf.data.Dataset", prepared: str, split: str) -> Iterator[Rows]:
    """The batches of a split as NumPy arrays.

    Raises:
        ValueError: for a damaged file, naming it.
    """
    import tensorflow as tf

    try:
        yield from batches.as_numpy_iterator()
    except tf.errors.DataLossError as error:
        damaged = ", ".join(filter(_is_damaged, example_files(prepared, split)))
        raise ValueError(f"{damaged} is damaged: prepare the data again") from error


def _is_damaged(path: str) -> bool:
    import tensorflow as tf

    try:
        for _ in tf.data.TFRecordDataset(path, "GZIP").batch(_ROWS_AT_ONCE):
            pass
    except tf.errors.DataLossError:
        return True
    return False


def row_bytes(features: FeatureSet, inputs: Sequence[str] | None) -> int:
    """What a decoded row takes, 4 bytes a value; its `inputs` alone, or all of them."""
    columns = features.packed_shapes if inputs is None else inputs
    widths = [math.prod(features.record_columns[name][0]) for name in columns]
    return 4 * (sum(widths) + len(features.tasks))


def row_count(prepared: str, split: str) -> int:
    """Rows of a split, from the report of `ctr-keras prepare`.

    Raises:
        FileNotFoundError: if the folder holds no prepared data.
    """
    return int(prepared_report(prepared)["rows"][split])


def click_rates(prepared: str, features: FeatureSet) -> list[float | None]:
    """The means of the labels over the training rows, from the same report: over all, where
    negatives are a sample.

    Args:
        prepared: str. The folder that `ctr-keras prepare` wrote.
        features: FeatureSet, with some of the labels of the data.

    Returns:
        list of float, with None where the report does not say.

    Raises:
        FileNotFoundError: if the folder holds no prepared data.
    """
    report = prepared_report(prepared)
    of_one = dict.fromkeys(features.label_names, report.get("label_mean", {}))
    means = report.get("label_means", of_one)
    return [_of_all(means[name].get("train"), report) for name in features.label_names]


def _of_all(rate: float | None, report: Mapping[str, Any]) -> float | None:
    """The mean label over all rows, where that over those that were kept is `rate`."""
    if rate is None:
        return None
    clicks = rate * report.get("negatives_kept", 1.0)  # for a row each
    return float(clicks / (clicks + 1 - rate))


def example_files(prepared: str, split: str) -> list[str]:
    """The TFRecord files of a split, sorted, partition by partition.

    Raises:
        FileNotFoundError: if there are none, naming folder and split.
    """
    return [path for part in partitions(prepared) for path in _files_in(part.folder, split)]


def _files_in(folder: str, split: str) -> list[str]:
    files = sorted(glob.glob(os.path.join(glob.escape(folder), "examples", f"{split}-*.gz")))
    if not files:
        raise FileNotFoundError(f"{folder}/examples holds no {split} files")
    return files


def _shards(prepared: str, split: str, features: FeatureSet) -> _Shards:
    folders = [part.folder for part in partitions(prepared)]
    files = [_files_in(folder, split) for folder in folders]
    partition = np.repeat(np.arange(len(files)), [len(of) for of in files])
    moves = moves_of(folders, prepared, features)
    return _Shards([*itertools.chain(*files)], {name: of[partition] for name, of in moves.items()})


def _parsed(
    shards: _Shards,
    order: Tensor,
    rows_at_once: int,
    features: FeatureSet,
    inputs: Sequence[str] | None,
) -> "tf.data.Dataset":
    """The rows of shards, several of which take turns with up to `rows_at_once` rows each."""
    import tensorflow as tf

    layout = {name: tf.io.FixedLenFeature([1], tf.float32) for name in features.label_names}
    for name in features.packed_shapes if inputs is None else inputs:
        shape, dtype = features.record_columns[name]
        kind = tf.float32 if dtype == "float32" else tf.int64
        layout[name] = tf.io.FixedLenFeature(shape, kind)

    def parse(records: Tensor, shard: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parsed = tf.io.parse_example(records, layout)
        labels = tf.concat([parsed.pop(name) for name in features.label_names], axis=1)
        packed = {k: tf.cast(v, features.record_columns[k][1]) for k, v in parsed.items()}
        for name in packed.keys() & shards.moves.keys():
            moved = packed[name] + tf.gather(shards.moves[name], shard)
            packed[name] = tf.where(packed[name] == 0, 0, moved)
        return packed, labels

    def read(shard: Tensor) -> "tf.data.Dataset":
        records = tf.data.TFRecordDataset(tf.gather(shards.paths, shard), "GZIP")
        return records.batch(rows_at_once).map(lambda some: parse(some, shard))

    return tf.data.Dataset.from_tensor_slices(order).interleave(
        read,
        cycle_length=_PARALLEL_SHARDS,
        num_parallel_calls=_PARALLEL_SHARDS,
        deterministic=True,
    )
