"""FactorizedInteraction against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import FactorizedInteraction
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

INPUTS = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def reference(weights, inputs):
    rows = []
    for row in inputs:
        dense = row @ weights["dense/kernel"] + weights["dense/bias"]
        output = np.concatenate([dense[:2], dense[:2] * dense[2:]])
        if "normalization/gamma" in weights:
            output = (output - output.mean()) / np.sqrt(output.var() + 1e-3)
            output = output * weights["normalization/gamma"] + weights["normalization/beta"]
        rows.append(np.maximum(output, 0))
    return np.array(rows)


@pytest.mark.parametrize("normalization", [None, "layer"])
def test_layer_contract(normalization):
    shapes = {"dense/kernel": (3, 4), "dense/bias": (4,)}
    if normalization:
        shapes |= {"normalization/gamma": (4,), "normalization/beta": (4,)}
    run_layer_test(
        FactorizedInteraction,
        {"units": 4, "normalization": normalization, "check_ids": True},
        INPUTS,
        weight_shapes=shapes,
        reference=reference,
        compare_xla=normalization is None,
        bad_shapes=[(None,), (None, None)],
    )


def test_odd_units_and_unknown_normalizations_are_refused():
    with pytest.raises(ValueError, match=r"must be even, .* Received: 3"):
        FactorizedInteraction(3)
    with pytest.raises(ValueError, match="normalization must be one of"):
        FactorizedInteraction(4, normalization="group").build((None, 3))
