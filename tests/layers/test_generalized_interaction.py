"""GeneralizedInteraction against loops over fields and vectors."""

import numpy as np
import pytest

from ctr_keras.layers import GeneralizedInteraction
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


VECTORS = np.random.default_rng(1).normal(size=(5, 2, DIM)).astype("float32")


def reference(weights, inputs):
    output = np.zeros((len(inputs[0]), 3, DIM))
    for n, (fields, vectors) in enumerate(zip(*inputs, strict=True)):
        for o in range(3):
            for s, vector in enumerate(vectors):
                mapped = weights["kernel"][o] @ (weights["elements"][o] * vector)
                for f, field in enumerate(fields):
                    output[n, o] += weights["pairs"][s, f, o] * field * mapped
    return output


def test_layer_contract():
    run_layer_test(
        GeneralizedInteraction,
        {"units": 3, "kernel_initializer": "glorot_uniform"},
        (INPUTS, VECTORS),
        weight_shapes={"kernel": (3, DIM, DIM), "pairs": (2, FIELDS, 3), "elements": (3, DIM)},
        reference=reference,
        bad_shapes=[((None, DIM), (None, 2, DIM)), ((None, FIELDS, DIM), (None, None, DIM))],
    )


def test_it_starts_as_the_product_of_sums():
    output = GeneralizedInteraction(2)(INPUTS, VECTORS)
    expected = INPUTS.sum(axis=1, keepdims=True) * VECTORS.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(output, np.tile(expected, (1, 2, 1)), 1e-5, 1e-5)


def test_less_than_one_vector_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        GeneralizedInteraction(0)
