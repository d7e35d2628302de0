"""CalibratedSigmoid against NumPy."""

import re

import keras
import numpy as np
import pytest

from ctr_keras.layers import CalibratedSigmoid
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend


def logits(rows=6, columns=1):
    return np.random.default_rng(0).normal(0, 3, (rows, columns)).astype("float32")


@pytest.mark.parametrize(
    ("scale", "shift", "columns"), [(1.0, 0.0, 1), (0.4, -1.5, 1), ([0.4, 2.0], [-1.5, 0.3], 2)]
)
def test_layer_contract(scale, shift, columns):
    def reference(weights, inputs):
        return 1 / (1 + np.exp(-np.float32(scale) * inputs - np.float32(shift)))

    run_layer_test(
        CalibratedSigmoid,
        {"scale": scale, "shift": shift},
        logits(columns=columns),
        weight_shapes={},
        reference=reference,
    )


def test_without_arguments_it_is_a_sigmoid():
    np.testing.assert_array_equal(CalibratedSigmoid()(logits()), keras.ops.sigmoid(logits()))


def test_a_scale_of_numpys_is_kept_in_a_file():
    config = CalibratedSigmoid(np.float32(0.5), np.float64(0.1)).get_config()
    assert (config["scale"], config["shift"]) == (0.5, 0.1)
    assert all(type(config[name]) is float for name in ("scale", "shift"))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), [1.0, 0.0]])
def test_a_scale_that_would_turn_the_order_around_is_refused(scale):
    message = re.escape(f"scale must be above 0. Received: {scale}")
    with pytest.raises(ValueError, match=message):
        CalibratedSigmoid(scale)
