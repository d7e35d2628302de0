"""One analysis pass that builds every vocabulary of a feature set, and the lookup that uses it.

All vocabularies live in one text file, so that the transform graph needs one table and one lookup
whatever the number of features. Line 0 is a JSON header with the size of each counted vocabulary.
Then every vocabulary, in the order of the global ids (see `ctr_keras.features`), has a line with
its name followed by one line `<name>=<value>` a value. The table maps a line's text to its number,
so the graph finds both a value and where a vocabulary starts. A value with a line break cannot be a
line: it is always out of vocabulary.
"""

import collections
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.transforms.window import GlobalWindows, WindowedValue
from tensorflow_transform.beam.experimental import PTransformAnalyzer

from ctr_keras.features import Vocabulary
from ctr_keras.files import exists, open_input, open_output
from ctr_keras.types import Array

FILE_NAME = "vocabulary"
_PARTITIONS = 32  # of the keys when counts are merged
_MAX_KEYS_HELD = 2**18  # distinct keys a worker counts before it hands them on

_KEYS_AT_ONCE = 2**16
# Millions of keys take several times as much as Python's own objects.
_KEPT = pa.schema([("vocabulary", pa.int32()), ("count", pa.int64()), ("key", pa.large_binary())])

Counts = list[tuple[bytes, int]]  # of keys


def count_and_look_up(
    vocabularies: Sequence[Vocabulary], counted_keys: tf.Tensor, keys: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts keys (`<vocabulary>=<value>`, 1-D) over the training split and looks keys of any shape
    up in the result: the line of each, -1 where it has none, and that of each vocabulary's name."""
    # Counted here first, in the graph: a key leaves it once a batch, not once a row.
    distinct, _, counts = tf.unique_with_counts(counted_keys, tf.int64)
    (path,) = tft.experimental.ptransform_analyzer(
        inputs=[distinct, counts],
        ptransform=_CountKeys(vocabularies),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[b"{}"],
        name="vocabulary",
    )
    names = tf.constant([v.name for v in vocabularies])
    flat = tf.concat([names, tf.reshape(keys, [-1])], axis=0)
    lines = tft.apply_vocabulary(flat, path)
    return tf.reshape(lines[len(vocabularies) :], tf.shape(keys)), lines[: len(vocabularies)]


def read_sizes(transform_fn_dir: str) -> dict[str, int]:
    """The vocabulary sizes in the header of a transform graph's vocabulary file."""
    path = os.path.join(transform_fn_dir, "assets", FILE_NAME)
    if not exists(path):
        return {}
    with open_input(path) as file:
        return dict(json.loads(file.readline()))


class _CountKeys(PTransformAnalyzer):
    """Batches of (distinct keys, counts) in, the path of the vocabulary file out."""

    def __init__(self, vocabularies: Sequence[Vocabulary]):
        super().__init__()
        self._vocabularies = vocabularies

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        path = os.path.join(self.base_temp_dir, FILE_NAME)
        kept = batches | frequent_keys(self._vocabularies)
        write = beam.Map(_write, self._vocabularies, beam.pvalue.AsIter(kept))
        return batches.pipeline | "Once" >> beam.Create([path]) | "Write" >> write


@beam.ptransform_fn
def frequent_keys(batches: beam.PCollection, vocabularies: Sequence[Vocabulary]) -> Any:
    """Batches of (distinct keys, counts) in, batches of the frequent ones out: `vocabulary`, its
    index, `count` and `key`."""
    counts = batches | beam.ParDo(_CountPerBundle()) | beam.GroupByKey()
    return counts | "KeepFrequent" >> beam.Map(_keep_frequent, vocabularies)


class _CountPerBundle(beam.DoFn):
    """Adds counts up in the worker, so that a key travels once a bundle, not once a batch."""

    def start_bundle(self) -> None:
        self._counts: collections.Counter[bytes] = collections.Counter()

    def process(self, batch: Sequence[Array]) -> Iterator[tuple[int, Counts]]:
        for key, count in zip(*(column.tolist() for column in batch), strict=True):
            self._counts[key] += count
        if len(self._counts) > _MAX_KEYS_HELD:
            yield from self._partitions()
            self._counts.clear()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for partition in self._partitions():
            yield GlobalWindows.windowed_value(partition)

    def _partitions(self) -> Iterator[tuple[int, Counts]]:
        partitions: dict[int, Counts] = collections.defaultdict(list)
        for key, count in self._counts.items():
            partitions[zlib.crc32(key) % _PARTITIONS].append((key, count))
        yield from partitions.items()


def _keep_frequent(
    partition: tuple[int, Iterable[Counts]], vocabularies: Sequence[Vocabulary]
) -> pa.RecordBatch:
    """The keys of one partition that are in a vocabulary."""
    by_prefix = {v.name.encode(): (i, v.min_count) for i, v in enumerate(vocabularies)}
    counts: collections.Counter[bytes] = collections.Counter()
    for part in partition[1]:
        for key, count in part:
            counts[key] += count
    kept = []
    for key, count in counts.items():
        index, min_count = by_prefix[key.partition(b"=")[0]]
        if count >= min_count and b"\n" not in key and b"\r" not in key:
            kept.append((index, count, key))
    columns = zip(*kept, strict=True) if kept else [()] * len(_KEPT)
    return pa.RecordBatch.from_arrays([*map(pa.array, columns, _KEPT.types)], schema=_KEPT)


class Keys:
    """Keys of a vocabulary in their order, few of which are Python's own at a time."""

    def __init__(self, keys: pa.Array, order: Array):
        self._keys, self._order = keys, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _KEYS_AT_ONCE):
            yield from self._keys.take(self._order[start : start + _KEYS_AT_ONCE]).to_pylist()


def _write(
    path: str, vocabularies: Sequence[Vocabulary], kept: Iterable[pa.RecordBatch]
) -> np.ndarray:  # as Beam checks it, without parameters
    _write_lines(path, vocabularies, in_order(kept, len(vocabularies)))
    pa.default_memory_pool().release_unused()  # TensorFlow's table of the keys comes next
    return np.array(path, dtype=object)


def _write_lines(path: str, vocabularies: Sequence[Vocabulary], keys: Sequence[Keys]) -> None:
    named = list(zip(vocabularies, keys, strict=True))
    header = {v.name: len(of_v) for v, of_v in named if v.is_counted}
    with open_output(path) as file:
        file.write(json.dumps(header).encode() + b"\n")
        for vocabulary, of_vocabulary in named:
            file.write(vocabulary.name.encode() + b"\n")
            file.writelines(key + b"\n" for key in of_vocabulary)


def in_order(kept: Iterable[pa.RecordBatch], vocabularies: int) -> list[Keys]:
    """The keys of `frequent_keys` by vocabulary, by falling frequency, ties by value."""
    table = pa.Table.from_batches(kept, _KEPT)
    by = [("vocabulary", "ascending"), ("count", "descending"), ("key", "ascending")]
    order = pc.sort_indices(table, sort_keys=by).to_numpy()
    sizes = np.bincount(table["vocabulary"].to_numpy(), minlength=vocabularies)
    keys = table["key"].combine_chunks()
    return [Keys(keys, of) for of in np.split(order, np.cumsum(sizes)[:-1])]
