"""Models that sparse optimizers have trained, saved in all ways of Keras and TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import FM
from ctr_keras.optimizers import (
    AlternatingOptimizer,
    RoutedOptimizer,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
)
from tests.optimizers.training import BY_ROWS, weights
from tests.packed import FEW_STEPS
from tests.parameters import first_of

pytestmark = pytest.mark.backend

ADAM = keras.optimizers.Adam
OPTIMIZERS = {
    "adam": SparseAdam,
    "exact adam": lambda: SparseAdam(exact=True),
    "decaying adam": lambda: SparseAdam(use_ema=True, table_decay=0.01),
    "adagrad": SparseAdagrad,
    "sgd": SparseSGD,
    "momentum": lambda: SparseSGD(0.1, momentum=0.9),
    "ftrl": SparseFtrl,
    "routed": lambda: RoutedOptimizer(ADAM(), {"table$": SparseAdam()}),
    "alternating": lambda: AlternatingOptimizer(SparseSGD(0.1), {"table$": SparseFtrl()}),
}
FEATURES = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 20})
DRAW = np.random.default_rng(0)
STEPS = [
    ({"categorical": DRAW.integers(0, 21, (8, 1), "int32")}, DRAW.integers(0, 2, (8, 1)))
    for _ in range(4)
]


def fitted(name, steps=STEPS[:2]):
    model = FM(FEATURES, dim=2)
    model.compile(OPTIMIZERS[name](), "binary_crossentropy", **FEW_STEPS)
    go_on(model, steps)
    return model


def go_on(model, steps=STEPS[2:]):
    model.fit((step for step in steps), steps_per_epoch=len(steps), verbose=0)
    return model


def assert_same_bits(model, other):
    for (path, value), expected in zip(
        weights(model).items(), weights(other).values(), strict=True
    ):
        np.testing.assert_array_equal(value, expected, err_msg=path)


@pytest.mark.parametrize("name", first_of(OPTIMIZERS, 4))
def test_the_optimizer_goes_on_from_a_keras_file(tmp_path, name):
    model = fitted(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_bits(go_on(loaded), go_on(model))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="on JAX a model is not TensorFlow's to save"
)
@pytest.mark.parametrize("name", first_of(OPTIMIZERS, 3))
def test_tensorflow_saves_a_trained_model_and_restores_its_optimizer(tmp_path, name):
    model = fitted(name)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "point")
    other = fitted(name, steps=STEPS[3:])
    restored = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    restored.assert_existing_objects_matched()
    assert_same_bits(go_on(other), go_on(model))


@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="Keras on PyTorch exports no model with a dict of inputs",
)
@pytest.mark.parametrize("name", first_of(["exact adam", "alternating", "routed", "sgd"], 2))
def test_a_trained_model_is_exported(tmp_path, name):
    model = fitted(name)
    packed, _ = STEPS[0]
    model.export(tmp_path, verbose=False)
    exported = tf.saved_model.load(tmp_path)
    np.testing.assert_allclose(
        exported.serve(packed), model.predict(packed, verbose=0), rtol=1e-5, atol=1e-6
    )


@BY_ROWS
def test_the_state_keeps_its_order_and_names():
    """So that what earlier versions have saved is loaded."""
    model = FM(FEATURES, dim=2)
    optimizer = SparseAdam(exact=True)
    optimizer.build(model.trainable_variables)
    assert [(variable.path, variable.shape) for variable in optimizer.variables] == [
        ("sparse_adam/iteration", ()),
        ("sparse_adam/learning_rate", ()),
        ("sparse_adam/linear_bias_momentum", (1,)),
        ("sparse_adam/linear_bias_velocity", (1,)),
        ("sparse_adam/embedding_table_slots", (FEATURES.id_count, 4)),
        ("sparse_adam/linear_weighting_table_slots", (FEATURES.id_count, 2)),
        ("sparse_adam/updated_0", (FEATURES.id_count,)),
        ("sparse_adam/updated_2", (FEATURES.id_count,)),
    ]
