"""Sparse optimizers in steps that TensorFlow compiles with XLA, and on a GPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import FM
from ctr_keras.optimizers import (
    GRDA,
    AlternatingOptimizer,
    RoutedOptimizer,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
)
from tests.parameters import first_of

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX compiles all with XLA"
)

ADAM = keras.optimizers.Adam
LAZY = {
    "adam": SparseAdam,
    "averaged, clipped adam": lambda: SparseAdam(use_ema=True, clipnorm=0.1),
    "adagrad": SparseAdagrad,
    "momentum": lambda: SparseSGD(0.1, momentum=0.9),
    "ftrl": SparseFtrl,
    "routed": lambda: RoutedOptimizer(GRDA(0.1), {"table$": SparseAdam()}),
    "alternating": lambda: AlternatingOptimizer(ADAM(), {"table$": SparseSGD(0.1)}),
}
ALL = {"exact adam": lambda: SparseAdam(exact=True), **LAZY}

FEATURES = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 50})
IDS = np.random.default_rng(0).integers(0, 51, (32, 1), "int32")
CLICKS = np.random.default_rng(1).integers(0, 2, (32, 1)).astype("float32")


def compiled(optimizer, as_class=None, **options):
    keras.utils.set_random_seed(0)
    model = FM(FEATURES, dim=2)
    if as_class:
        model = as_class(model.input, model.output)
    model.compile(optimizer, "binary_crossentropy", **options)
    return model


def trained(model):
    model.fit(IDS, CLICKS, batch_size=8, shuffle=False, verbose=0)
    return [weight.numpy() for weight in model.weights]


@pytest.mark.parametrize("name", first_of(ALL, 3))
def test_xla_trains_as_without_it(name):
    expected = trained(compiled(ALL[name](), run_eagerly=True))
    for ours, theirs in zip(
        trained(compiled(ALL[name](), jit_compile=True)), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "routed"])
def test_xla_trains_any_keras_model(name):
    expected = trained(compiled(LAZY[name](), run_eagerly=True))
    plain = trained(compiled(LAZY[name](), keras.Model, jit_compile=True))
    for ours, theirs in zip(plain, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_was_saved_as_compiled_with_xla_is_trained_on(tmp_path):
    """As all models are that Keras on JAX has trained."""
    model = compiled(SparseAdam(), jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.jit_compile
    for ours, theirs in zip(trained(loaded), trained(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def with_gpu(monkeypatch):
    """TensorFlow says that it has a GPU, while a step is traced; none may be run."""
    gpu = tf.config.LogicalDevice("/device:GPU:0", "GPU")
    for query in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, query, lambda *kind: [gpu])


@pytest.mark.parametrize(
    ("name", "jit_compile"), first_of([("exact adam", False), *((name, "auto") for name in ALL)], 4)
)
def test_every_operation_of_a_step_has_a_kernel_for_a_gpu(name, jit_compile, with_gpu):
    model = compiled(ALL[name](), jit_compile=jit_compile)
    assert model.jit_compile == (jit_compile == "auto")
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, jit_compile=model.jit_compile)
    traced = step.get_concrete_function(({"categorical": IDS}, CLICKS))
    wanted = {"XLA_GPU_JIT"} if model.jit_compile else {"GPU", "DEFAULT"}
    lacking = {op for op in operations(traced) if not wanted & devices_with_kernel(op)}
    assert not lacking
    assert "ResourceScatterUpdate" in operations(traced)


def operations(traced):
    """Those of a traced function and of all that it calls."""
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes} - {"Placeholder"}  # arguments


def devices_with_kernel(op):
    tf.function(lambda x: x, jit_compile=True)(1.0)  # XLA's kernels are listed once it was used
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op).kernel}
