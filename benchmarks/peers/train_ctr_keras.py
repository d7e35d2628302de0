"""This library's training step, on TensorFlow or JAX."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from benchmarks.peers.work import (
    ATTENTION_LAYERS,
    FIELDS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    LEARNING_RATE,
    Work,
)
from benchmarks.peers.worker import Run, serve
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import build_model
from ctr_keras.optimizers import SparseAdam
from ctr_keras.runs import jit_setting

ARGUMENTS: dict[str, dict[str, Any]] = {
    "FM": {},
    "DeepFM": {"hidden": HIDDEN, "dropout": 0.0, "normalization": None},
    "AutoInt": {"layers": ATTENTION_LAYERS, "head_dim": HEAD_DIM, "heads": HEADS},
}


def compile_ours(model: keras.Model, optimizer: str) -> None:
    """Compiles as `ctr_keras.training` does, without averages of weights, which no peer makes.

    Args:
        model: keras.Model.
        optimizer: str. How embeddings are updated, a name in `OPTIMIZERS`.
    """
    optimizers = {"sparse": SparseAdam, "dense": keras.optimizers.Adam}
    model.compile(
        optimizers[optimizer](LEARNING_RATE),
        loss="binary_crossentropy",
        jit_compile=jit_setting("auto"),
    )


def features_of(work: Work) -> FeatureSet:
    """Every field has `work.vocabulary` ids, one of which is for values out of vocabulary."""
    return FeatureSet(
        *map(Categorical, FIELDS),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(FIELDS, work.vocabulary - 1),
    )


def load(work: Work, law: str) -> Iterator[Any]:
    """Batches of the packed input, on the backend's device."""
    ids, clicks = work.draw(law)
    ranges = features_of(work).id_ranges
    ids += np.array([ranges[name].start for name in FIELDS], "int32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices(({"categorical": ids}, clicks))
        return iter(data.repeat().prefetch(2))
    on_device = keras.ops.convert_to_tensor
    return itertools.cycle(
        [
            ({"categorical": on_device(rows)}, on_device(labels))
            for rows, labels in zip(ids, clicks, strict=True)
        ]
    )


def build(work: Work) -> tuple[Run, int]:
    """A model, and the function that its `fit` calls for every batch; on JAX `fit` itself."""
    model = model_of(work)
    compile_ours(model, work.optimizer)
    return run_of(model), model.count_params()


def model_of(work: Work, **arguments: Any) -> keras.Model:
    """The model of the work, with more arguments of its builder."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(work.policy)
    arguments = {"dim": work.dim, **ARGUMENTS[work.model], **arguments}
    return build_model(work.model, features_of(work), **arguments)


def run_of(model: keras.Model) -> Run:
    """What makes steps of a compiled model."""
    return (_steps if keras.backend.backend() == "tensorflow" else _fit)(model)


def _steps(model: keras.Model) -> Run:
    model.make_train_function()

    def run(batches: Iterator[Any], steps: int) -> None:
        for _ in range(steps):
            logs = model.train_function(batches)
        keras.ops.convert_to_numpy(logs["loss"])

    return run


def _fit(model: keras.Model) -> Run:
    """On JAX the function that `fit` calls needs the state that `fit` hands over."""

    def run(batches: Iterator[Any], steps: int) -> None:
        generator = (batch for batch in batches)  # `fit` takes no other kind of iterator
        model.fit(generator, steps_per_epoch=steps, shuffle=False, verbose=0)

    return run


if __name__ == "__main__":
    serve(load, build)
