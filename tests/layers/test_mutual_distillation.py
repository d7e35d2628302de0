"""MutualDistillation: a mean, and gradients of cross-entropies."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import MutualDistillation
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

LOGITS = [np.random.default_rng(seed).normal(size=(5, 1)).astype("float32") for seed in range(2)]


def test_layer_contract():
    run_layer_test(
        MutualDistillation,
        {},
        LOGITS,
        weight_shapes={"bias": (1,)},
        reference=lambda weights, inputs: sum(inputs) / 2 + weights["bias"],
        bad_shapes=[[(None, 2), (None, 1)], []],
    )


def test_each_logit_learns_from_the_score_and_the_loss_is_as_without():
    """The gradient of a cross-entropy by its logit is the score less what it is to be."""
    inputs = keras.Input((2,))
    scale = keras.layers.EinsumDense("bi,i->bi", (2,), kernel_initializer="ones")
    first, second = keras.ops.split(scale(inputs), 2, axis=-1)
    model = keras.Model(inputs, 0.0 * MutualDistillation()([first, second]))
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=False)
    logits = np.concatenate(LOGITS, axis=1)
    loss = np.ravel(model.train_on_batch(logits, np.zeros((5, 1))))[0]
    assert loss == 0
    chance = 1 / (1 + np.exp(-logits))
    mean = 1 / (1 + np.exp(-logits.mean(axis=1, keepdims=True)))
    expected = 1 - ((chance - mean) * logits).mean(axis=0)
    np.testing.assert_allclose(scale.kernel, expected, 1e-5)
