"""Dice against loops in NumPy, and where it becomes simpler activations."""

import numpy as np
import pytest

from ctr_keras.layers import Dice
from ctr_keras.testing import run_layer_test
from tests.layers.test_tanh_attention import to_numpy, vectors

pytestmark = pytest.mark.backend

DIM = 4


def reference(weights, inputs, epsilon=0.1):
    outputs = np.zeros_like(inputs)
    mean, variance = (weights[f"normalization/moving_{name}"] for name in ("mean", "variance"))
    for place in np.ndindex(*inputs.shape):
        channel, x = place[-1], inputs[place]
        norm = (x - mean[channel]) / np.sqrt(variance[channel] + epsilon)
        p = 1 / (1 + np.exp(-norm))
        outputs[place] = p * x + (1 - p) * weights["alpha"][channel] * x
    return outputs


def test_layer_contract():
    statistics = {f"normalization/moving_{name}": (DIM,) for name in ("mean", "variance")}
    run_layer_test(
        Dice,
        {"epsilon": 0.1, "alpha_initializer": "he_normal"},
        vectors(),
        weight_shapes={"alpha": (DIM,), "normalization/batches": (), **statistics},
        reference=reference,
        bad_shapes=[(None,), (None, None)],
        compare_xla=False,
    )


def test_alpha_of_one_changes_nothing():
    layer = Dice(alpha_initializer="ones")
    for training in (False, True):
        np.testing.assert_allclose(layer(vectors(), training=training), vectors(), 1e-6)


def test_the_step_stands_at_the_mean_of_the_batch():
    inputs = np.array([[9.0], [10.0], [11.0]], "float32")
    output = to_numpy(Dice()(inputs, training=True))
    deviation = np.sqrt(2 / 3)
    np.testing.assert_allclose(output[1], 5, 1e-5)
    np.testing.assert_allclose(output[2], 11 / (1 + np.exp(-1 / deviation)), 1e-4)


def test_padding_is_in_no_mean():
    inputs = vectors(rows=4)
    mask = np.arange(inputs.shape[1]) < 3
    mask = np.repeat(mask[None], 4, axis=0)
    expected = Dice()(inputs[:, :3], training=True)
    padded = np.where(mask[..., None], inputs, 100)
    np.testing.assert_allclose(Dice()(padded, mask=mask, training=True)[:, :3], expected, 1e-4)
