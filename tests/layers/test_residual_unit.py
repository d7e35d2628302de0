"""ResidualUnit against a loop over rows."""

import numpy as np
import pytest

from ctr_keras.layers import MLP, ResidualUnit
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

INPUTS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def reference(weights, inputs):
    rows = []
    for row in inputs:
        kept = row @ weights["residual/kernel"] if "residual/kernel" in weights else row
        dense = row @ weights["inner/dense_0/kernel"] + weights["inner/dense_0/bias"]
        rows.append(np.maximum(dense + kept, 0))
    return np.array(rows)


@pytest.mark.parametrize("units", [4, 3])
def test_layer_contract(units):
    shapes = {"inner/dense_0/kernel": (4, units), "inner/dense_0/bias": (units,)}
    run_layer_test(
        ResidualUnit,
        {"units": units, "check_ids": True},
        INPUTS,
        weight_shapes=shapes | ({} if units == 4 else {"residual/kernel": (4, units)}),
        reference=reference,
        compare_xla=units == 3,
        bad_shapes=[(None,), (None, None)],
    )


def test_without_the_residual_it_is_a_dense_layer():
    unit, plain = ResidualUnit(3), MLP([3])
    expected = plain(INPUTS)
    unit.build(INPUTS.shape)
    unit.set_weights([*plain.get_weights(), np.zeros((4, 3))])
    np.testing.assert_allclose(unit(INPUTS), expected, 1e-6)


def test_the_normalization_is_of_what_the_dense_layer_gives():
    unit = ResidualUnit(4, normalization="layer", kernel_initializer="zeros")
    np.testing.assert_allclose(unit(INPUTS), np.maximum(INPUTS, 0), 1e-6)
