"""Statistics of numbers: named where the transform graph uses them, and read from it afterwards."""

import numpy as np
import tensorflow as tf

from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import learns_numbers, mean_and_deviation
from ctr_keras.types import Array

_PREFIX = "learned_"


def learned(name: str, statistic: tf.Tensor) -> tf.Tensor:
    """A statistic of the training split, under a name in the graph."""
    return tf.identity(statistic, name=_PREFIX + name)


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
