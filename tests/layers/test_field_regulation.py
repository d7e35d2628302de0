"""FieldRegulation against a loop over fields."""

import numpy as np
import pytest

from ctr_keras.layers import FieldRegulation
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def reference(weights, inputs):
    powers = np.exp(weights["gates"] / 2)
    shares = powers / powers.sum()
    return np.array(
        [[share * field for share, field in zip(shares, r, strict=True)] for r in inputs]
    )


def test_layer_contract():
    run_layer_test(
        FieldRegulation,
        {"temperature": 2.0},
        INPUTS,
        weight_shapes={"gates": (FIELDS,)},
        reference=reference,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"over 0\. Received: 0"):
        FieldRegulation(0)
