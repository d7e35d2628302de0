"""FeatureGate against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import FeatureGate
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

draw = np.random.default_rng(0)
INPUTS, CONTEXT = (draw.normal(size=(5, width)).astype("float32") for width in (4, 3))


def reference(weights, inputs):
    rows = []
    for row, context in zip(*inputs, strict=True):
        hidden = np.maximum(context @ weights["hidden/kernel"] + weights["hidden/bias"], 0)
        gates = 1 / (1 + np.exp(-(hidden @ weights["gates/kernel"] + weights["gates/bias"])))
        rows.append(2 * gates * row)
    return np.array(rows)


def test_layer_contract():
    run_layer_test(
        FeatureGate,
        {"units": 2},
        (INPUTS, CONTEXT),
        weight_shapes={
            "hidden/kernel": (3, 2),
            "hidden/bias": (2,),
            "gates/kernel": (2, 4),
            "gates/bias": (4,),
        },
        reference=reference,
        bad_shapes=[((None, None), (None, 3)), ((None, 4), (None, None))],
    )
