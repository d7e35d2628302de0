"""LogarithmicTransform against products of powers."""

import numpy as np
import pytest

from ctr_keras.layers import LogarithmicTransform
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def normalized(weights, name, vector):
    mean, variance = weights[f"{name}/moving_mean"], weights[f"{name}/moving_variance"]
    scaled = (vector - mean) / np.sqrt(variance + 1e-3)
    return scaled * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def reference(weights, inputs):
    output = np.zeros((len(inputs), DIM, 2))
    for n, row in enumerate(inputs):
        for d in range(DIM):
            logarithms = np.log(np.maximum(np.abs(row[:, d]), 1e-5))
            bases = np.exp(normalized(weights, "of_logarithms", logarithms))
            products = [np.prod(bases**powers) for powers in weights["kernel"].T]
            output[n, d] = normalized(weights, "of_products", np.array(products))
    return output


def test_layer_contract():
    shapes = {"kernel": (FIELDS, 2)}
    for name, width in (("of_logarithms", FIELDS), ("of_products", 2)):
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        shapes |= {f"{name}/{part}": (width,) for part in parts}
        shapes[f"{name}/batches"] = ()
    run_layer_test(
        LogarithmicTransform,
        {"units": 2},
        INPUTS,
        weight_shapes=shapes,
        reference=reference,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_what_is_close_to_zero_is_taken_for_a_hundred_thousandth():
    layer = LogarithmicTransform(2)
    zeros = np.zeros((1, FIELDS, DIM), "float32")
    np.testing.assert_allclose(layer(zeros), layer(zeros + 1e-6), 1e-6)
    assert np.isfinite(layer(zeros)).all()


def test_less_than_one_neuron_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        LogarithmicTransform(0)
