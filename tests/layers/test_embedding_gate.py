"""EmbeddingGate against loops in NumPy and against what AIM's dimension search needs."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import BatchNormalization, EmbeddingGate
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
MOVING = ("normalization/moving_mean", "normalization/moving_variance")


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def embeddings(rows=6, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, FIELDS, DIM)).astype("float32")


def reference(weights, inputs, epsilon):
    """Gate times normalized value; without an epsilon there is no normalization."""
    outputs = np.zeros(inputs.shape)
    for row, field, d in np.ndindex(inputs.shape):
        value = inputs[row, field, d]
        if epsilon is not None:
            mean, variance = (weights[name][field * DIM + d] for name in MOVING)
            value = (value - mean) / np.sqrt(variance + epsilon)
        outputs[row, field, d] = weights["gates"][field, d] * value
    return outputs


@pytest.mark.parametrize("epsilon", [0.3, None])
def test_layer_contract(epsilon):
    arguments = {"normalized": False} if epsilon is None else {"epsilon": epsilon, "momentum": 0.8}
    shapes = {"gates": (FIELDS, DIM)}
    if epsilon is not None:
        shapes |= dict.fromkeys(MOVING, (FIELDS * DIM,)) | {"normalization/batches": ()}
    run_layer_test(
        EmbeddingGate,
        {"gate_initializer": keras.initializers.RandomUniform(-1, 1, seed=1), **arguments},
        embeddings(),
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(weights, inputs, epsilon),
        compare_xla=epsilon is not None,
        bad_shapes=[(None, DIM), (None, None, DIM), (None, FIELDS, None)],
    )


def test_any_weights():
    layer = EmbeddingGate(epsilon=0.2)
    layer.build((None, FIELDS, DIM))
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.3, 2.0, weight.shape) for weight in layer.weights])
    weights = {weight.path.partition("/")[2]: to_numpy(weight) for weight in layer.weights}
    expected = reference(weights, embeddings(), 0.2)
    np.testing.assert_allclose(layer(embeddings()), expected, 1e-5, 1e-5)


def test_gates_start_at_six_tenths():
    layer = EmbeddingGate()
    layer.build((None, FIELDS, DIM))
    gates = to_numpy(layer.gates)
    assert 0.599 <= gates.min() < gates.max() <= 0.601


@pytest.mark.parametrize("normalized", [True, False])
def test_a_zero_gate_makes_its_dimension_matter_no_more(normalized):
    layer = EmbeddingGate(normalized=normalized)
    inputs = embeddings()
    layer.build(inputs.shape)
    gates = to_numpy(layer.gates).copy()
    gates[2, 1] = 0
    layer.gates.assign(gates)
    for training in (False, True):
        output = to_numpy(layer(inputs, training=training))
        changed = inputs.copy()
        changed[:, 2, 1] = 7 * changed[::-1, 2, 1] + 3
        np.testing.assert_allclose(layer(changed, training=training), output, 1e-6, 1e-6)
        assert not output[:, 2, 1].any()
        assert (np.delete(output.reshape(6, -1), 2 * DIM + 1, axis=1) != 0).all()


@pytest.mark.parametrize("side", [[0, 0, 1, 2], [1, 3, 2, 3]])
def test_one_normalization_is_that_of_gathered_copies(side):
    # The authors normalize copies, of the left and of the right field of every pair.
    inputs = embeddings(rows=50)
    layer = EmbeddingGate(gate_initializer="ones")
    copies = BatchNormalization(center=False, scale=False)
    gathered = inputs[:, side].reshape(50, -1)
    for training in (True, False):
        output = to_numpy(layer(inputs, training=training))[:, side]
        expected = to_numpy(copies(gathered, training=training)).reshape(output.shape)
        np.testing.assert_allclose(output, expected, 1e-5, 1e-5)


def test_training_output_has_mean_zero_and_the_gate_as_its_spread():
    inputs = 5 * embeddings(rows=300) + 2
    layer = EmbeddingGate()
    output = to_numpy(layer(inputs, training=True))
    assert layer.normalization.trainable_variables == []
    np.testing.assert_allclose(output.mean(axis=0), np.zeros((FIELDS, DIM)), atol=1e-5)
    np.testing.assert_allclose(output.std(axis=0), layer.gates, 1e-3)


def test_masked_fields_are_zero_row_by_row():
    layer = EmbeddingGate()
    mask = np.array([[True, False, True, True], [True, True, True, False]])
    whole = to_numpy(layer(embeddings(rows=2)))
    output = to_numpy(layer(embeddings(rows=2), mask=mask))
    np.testing.assert_array_equal(output, whole * mask[:, :, None])
    assert whole.all()
