"""SqueezeExcitation against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import SqueezeExcitation
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def reference(weights, inputs):
    rows = []
    for row in inputs:
        squeezed = np.maximum(row.mean(axis=1) @ weights["squeezed/kernel"], 0)
        excited = np.maximum(squeezed @ weights["excited/kernel"], 0)
        rows.append([share * field for share, field in zip(excited, row, strict=True)])
    return np.array(rows)


def test_layer_contract():
    run_layer_test(
        SqueezeExcitation,
        {"reduction": 2},
        INPUTS,
        weight_shapes={"squeezed/kernel": (FIELDS, 2), "excited/kernel": (2, FIELDS)},
        reference=reference,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_a_reduction_below_one_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        SqueezeExcitation(0)
