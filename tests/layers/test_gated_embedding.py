"""GatedEmbedding: FieldEmbedding with a gate for every row."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.layers import FieldEmbedding, GatedEmbedding
from ctr_keras.testing import run_layer_test
from tests.layers.test_kept_values import FEATURES, INPUTS

pytestmark = pytest.mark.backend


def sigmoid(weights):
    return 1 / (1 + np.exp(-weights))


def reference(weights, inputs):
    table = weights["table"] * sigmoid(weights["gates"]) / sigmoid(0.5)
    table[0] = 0
    lists = [
        sum(weight * table[index] for index, weight in zip(*row, strict=True))
        / (sum(weight for index, weight in zip(*row, strict=True) if index) or 1.0)
        for row in zip(inputs["m"], inputs["m_weights"], strict=True)
    ]
    numbers = inputs["numeric"][:, :, None] * weights["numeric_vectors"]
    return np.concatenate([table[inputs["categorical"]], numbers, np.stack(lists)[:, None]], axis=1)


def test_layer_contract():
    run_layer_test(
        GatedEmbedding,
        {"features": FEATURES, "dim": 2},
        INPUTS,
        weight_shapes={
            "table": (FEATURES.id_count, 2),
            "numeric_vectors": (1, 2),
            "gates": (FEATURES.id_count, 1),
            "step": (),
        },
        reference=reference,
    )


def test_gates_start_as_1_and_become_steps():
    layer = GatedEmbedding(
        FEATURES, 2, final_temperature=1e4, steps=2, embeddings_initializer="ones"
    )
    plain = FieldEmbedding(FEATURES, 2, embeddings_initializer="ones")
    np.testing.assert_allclose(layer(INPUTS), plain(INPUTS), rtol=1e-6)
    weights = np.full(layer.gates.shape, 0.01)
    weights[2] = -0.01
    layer.gates.assign(weights)
    for factor in (1.0, 100.0, 1e4, 1e4):  # after no step, one, two and three
        first, second = np.array(layer(INPUTS))[:2, 0, 0] * sigmoid(0.5)
        np.testing.assert_allclose(first, sigmoid(-0.01 * factor), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(second, sigmoid(0.01 * factor), rtol=1e-3)
        layer(INPUTS, training=True)


def test_the_penalty_presses_all_gates_and_is_in_no_reported_loss():
    layer = GatedEmbedding(FEATURES, 2, penalty=0.1)
    layer(INPUTS, training=True)
    (penalty,) = layer.losses
    assert float(penalty) == 0
    inputs = {
        name: keras.Input(values.shape[1:], dtype=values.dtype, name=name)
        for name, values in INPUTS.items()
    }
    model = keras.Model(inputs, ops.sum(layer(inputs), axis=(1, 2)))
    before = np.array(layer.gates)
    layer.table.assign(np.zeros(layer.table.shape))  # clicks say nothing of the gates
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(INPUTS, np.zeros((4, 1)), epochs=1, verbose=0)
    assert (np.array(layer.gates) < before).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="final_temperature must be at least 1"):
        GatedEmbedding(FEATURES, 2, final_temperature=0.5)
    numbers = FEATURES.reading(["n"])
    with pytest.raises(ValueError, match="numbers have no gates"):
        GatedEmbedding(numbers, 2)({"numeric": INPUTS["numeric"]})
