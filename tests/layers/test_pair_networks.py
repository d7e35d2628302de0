"""PairNetworks against a loop over rows and pairs."""

import itertools

import numpy as np
import pytest

from ctr_keras.layers import PairNetworks
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM, UNITS = 3, 2, (6, 6)  # so that both kernels are of one shape
PAIRS = [*itertools.combinations(range(FIELDS), 2)]
INPUTS = np.random.default_rng(0).normal(size=(4, FIELDS, DIM)).astype("float32")


def reference(weights, inputs):
    output = np.zeros((len(inputs), len(PAIRS), UNITS[-1]))
    for (n, row), (p, (i, j)) in itertools.product(enumerate(inputs), enumerate(PAIRS)):
        vector = np.concatenate([row[i], row[j], row[i] * row[j]])
        for index in range(len(UNITS)):
            vector = vector @ weights[f"kernel_{index}"][p] + weights[f"bias_{index}"][p]
            vector = (vector - vector.mean()) / np.sqrt(vector.var() + 1e-3)
            gamma, beta = (weights[f"normalization_{index}/{name}"] for name in ("gamma", "beta"))
            vector = np.maximum(vector * gamma + beta, 0)
        output[n, p] = vector
    return output


def test_layer_contract():
    shapes = {}
    for index, units in enumerate(UNITS):
        shapes |= {f"kernel_{index}": (3, 6, units), f"bias_{index}": (3, units)}
        shapes |= {f"normalization_{index}/{name}": (units,) for name in ("gamma", "beta")}
    run_layer_test(
        PairNetworks,
        {"units": UNITS},
        INPUTS,
        weight_shapes=shapes,
        reference=reference,
        bad_shapes=[(None, DIM), (None, None, DIM), (None, 1, DIM)],
    )


def test_bad_units_are_refused():
    with pytest.raises(ValueError, match=r"all positive\. Received: \(4, 0\)"):
        PairNetworks((4, 0))
