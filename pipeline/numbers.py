"""Statistics of numbers: named where the transform graph uses them, and read from it afterwards."""

import math
import zlib
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.beam.experimental import PTransformAnalyzer

from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import learns_numbers, mean_and_deviation, quantiles
from ctr_keras.types import Array

_PREFIX = "learned_"
_SAMPLED = 2**18  # values, of which quantiles are taken


def learned(name: str, statistic: tf.Tensor) -> tf.Tensor:
    """A statistic of the training split, under a name in the graph."""
    return tf.identity(statistic, name=_PREFIX + name)


def exact_sums(values: tf.Tensor, name: str) -> tf.Tensor:
    """(columns,) sums of (rows, columns) float64 numbers over the training split.

    Those of the batches are added up exactly, and so come out the same in whatever order.
    """
    (sums,) = tft.experimental.ptransform_analyzer(
        inputs=[tf.reduce_sum(values, axis=0)],
        ptransform=_AddExactly(values.shape[1]),
        output_dtypes=[tf.float64],
        output_shapes=[[values.shape[1]]],
        name=name,
    )
    return sums


class _AddExactly(PTransformAnalyzer):
    """Tuples of one (columns,) array each in, their sum out."""

    def __init__(self, columns: int):
        super().__init__()
        self._columns = columns

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | beam.CombineGlobally(_Together()) | beam.Map(_add, self._columns)


class _Together(beam.CombineFn):
    """All arrays, one a batch."""

    def create_accumulator(self) -> list[Array]:
        return []

    def add_input(self, held: list[Array], batch: tuple[Array]) -> list[Array]:
        held.append(batch[0])
        return held

    def merge_accumulators(self, accumulators: Iterable[list[Array]]) -> list[Array]:
        return [array for held in accumulators for array in held]

    def extract_output(self, held: list[Array]) -> list[Array]:
        return held


def _add(arrays: list[Array], columns: int) -> np.ndarray:  # as Beam checks it, without parameters
    sums = [math.fsum(column) for column in zip(*arrays, strict=True)]
    return np.array(sums or [0.0] * columns)


def quantiles_of(values: tf.Tensor, buckets: int, name: str) -> tf.Tensor:
    """(buckets - 1,) the boundaries between equally filled buckets of (rows,) float32 numbers.

    Those of more than `_SAMPLED` values are of a sample of so many, and so of ranks that are within
    some 0.2% of the rows.
    """
    (boundaries,) = tft.experimental.ptransform_analyzer(
        inputs=[values],
        ptransform=_Quantiles(buckets),
        output_dtypes=[tf.float32],
        output_shapes=[[buckets - 1]],
        name=name,
    )
    return boundaries


class _Quantiles(PTransformAnalyzer):
    """Tuples of one (rows,) array each in, the boundaries out."""

    def __init__(self, buckets: int):
        super().__init__()
        self._buckets = buckets

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | beam.CombineGlobally(_Sample()) | beam.Map(_boundaries, self._buckets)


def _boundaries(values: np.ndarray, buckets: int) -> np.ndarray:
    return np.array(quantiles(values, buckets), np.float32)


class _Sample(beam.CombineFn):
    """The values with the smallest hashes, which are the same in whatever order they come.

    Accumulators are lists of hashes and values.
    """

    def create_accumulator(self) -> list[tuple[Array, Array]]:
        return []

    def add_input(
        self, held: list[tuple[Array, Array]], batch: tuple[Array]
    ) -> list[tuple[Array, Array]]:
        held.append((_place_hashes(batch[0]), batch[0]))
        is_much = sum(len(values) for _, values in held) > 2 * _SAMPLED
        return self.compact(held) if is_much else held

    def merge_accumulators(
        self, accumulators: Iterable[list[tuple[Array, Array]]]
    ) -> list[tuple[Array, Array]]:
        return self.compact([part for held in accumulators for part in held])

    def compact(self, held: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
        if not held:
            return []
        hashes, values = (np.concatenate(parts) for parts in zip(*held, strict=True))
        if len(values) > _SAMPLED:
            kept = np.argpartition(hashes, _SAMPLED)[:_SAMPLED]
            hashes, values = hashes[kept], values[kept]
        return [(hashes, values)]

    def extract_output(self, held: list[tuple[Array, Array]]) -> Array:
        return self.compact(held)[0][1] if held else np.zeros(0, np.float32)


def _place_hashes(values: Array) -> Array:
    """A 64-bit hash of each value's place, of which its batch and its number there tell."""
    batch = np.uint64(zlib.crc32(values.tobytes()) << 32)
    mixed = (batch + np.arange(len(values), dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def read_numbers(transform_fn_dir: str, features: FeatureSet) -> dict[str, list[float]]:
    """By feature, what a transform graph has learned of numbers (see
    `ctr_keras.features.statistics`)."""
    if not any(learns_numbers(feature) for feature in features.features):
        return {}
    constants = _read_constants(transform_fn_dir)
    numbers = {
        f.name: constants[f"quantiles_{f.name}"].tolist()
        for f in features.categorical
        if learns_numbers(f)
    }
    min_max, z_score = (
        [f.name for f in features.numeric if f.scale == scale] for scale in ("min_max", "z_score")
    )
    if min_max:
        extremes = np.stack([constants["low"], constants["high"]], axis=1)
        numbers |= zip(min_max, extremes.tolist(), strict=True)
    if z_score:
        moments = constants["moments"].reshape(3, -1).T.tolist()
        numbers |= {n: [*mean_and_deviation(*m)] for n, m in zip(z_score, moments, strict=True)}
    return numbers


def _read_constants(transform_fn_dir: str) -> dict[str, Array]:
    """What `learned` has named: a part of the graph that depends on no input."""
    graph = tf.saved_model.load(transform_fn_dir).transform_fn.graph
    identities = (op.name for op in graph.get_operations() if op.type == "Identity")
    names = [name for name in identities if name.startswith(_PREFIX)]

    def load() -> None:
        pairs = [(value, inner) for value, inner in graph.captures if value.dtype != tf.resource]
        captured = {inner.name: tf.identity(value) for value, inner in pairs}
        tf.graph_util.import_graph_def(graph.as_graph_def(), captured, name="")

    whole = tf.compat.v1.wrap_function(load, [])
    values = whole.prune([], [whole.graph.get_tensor_by_name(f"{name}:0") for name in names])()
    return {n.removeprefix(_PREFIX): v.numpy() for n, v in zip(names, values, strict=True)}
