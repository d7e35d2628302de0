"""WukongLayer against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import WukongLayer
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def normalized(weights, name, vectors):
    mean, variance = (f(vectors, axis=-1, keepdims=True) for f in (np.mean, np.var))
    scaled = (vectors - mean) / np.sqrt(variance + 1e-3)
    return scaled * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def reference(weights, inputs, units):
    rows = []
    for row in inputs:
        products = (row @ row.T @ weights["combined/kernel"]).reshape(-1)
        made = normalized(weights, "of_products", products)
        for index in range(2):
            name = f"network/dense_{index}"
            made = np.maximum(made @ weights[f"{name}/kernel"] + weights[f"{name}/bias"], 0)
        linear = weights["linear/kernel"].T @ row
        kept = row
        if "residual/kernel" in weights:
            kept = weights["residual/kernel"].T @ row
        output = np.concatenate([made.reshape(units, DIM), linear]) + kept
        rows.append(normalized(weights, "of_vectors", output))
    return np.array(rows)


@pytest.mark.parametrize("units", [2, 3])
def test_layer_contract(units):
    shapes = {
        "combined/kernel": (FIELDS, 2),
        "linear/kernel": (FIELDS, units),
        "of_products/gamma": (FIELDS * 2,),
        "of_products/beta": (FIELDS * 2,),
        "network/dense_0/kernel": (FIELDS * 2, 5),
        "network/dense_0/bias": (5,),
        "network/dense_1/kernel": (5, units * DIM),
        "network/dense_1/bias": (units * DIM,),
        "of_vectors/gamma": (DIM,),
        "of_vectors/beta": (DIM,),
    }
    if units == 3:  # of the two blocks together six, not four as the fields
        shapes |= {"residual/kernel": (FIELDS, 6)}
    run_layer_test(
        WukongLayer,
        {"units": units, "rank": 2, "hidden": [5]},
        INPUTS,
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(weights, inputs, units),
        compare_xla=units == 3,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_less_than_one_vector_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0, 8"):
        WukongLayer(0)
