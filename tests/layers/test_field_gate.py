"""FieldGate against a loop over fields."""

import numpy as np
import pytest

from ctr_keras.layers import FieldGate
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")


def reference(weights, inputs):
    rows = np.array(inputs)
    for field, (keep, drop) in enumerate(weights["logits"]):
        rows[:, field] *= np.exp(keep) / (np.exp(keep) + np.exp(drop))
    return rows


def test_layer_contract():
    run_layer_test(
        FieldGate,
        {"gumbel_noise": False},
        FIELDS,
        weight_shapes={"logits": (3, 2), "step": ()},
        reference=reference,
        bad_shapes=[(None, 3), (None, None, 2)],
    )


@pytest.mark.own_draws  # that are moderate at first
def test_noise_decides_more_and_more_as_steps_go_by():
    layer = FieldGate(temperature_rate=0.5, seed=1)
    layer(FIELDS)
    warm = np.array(layer(FIELDS, training=True)) / FIELDS
    assert warm.min() > 0.05
    assert warm.max() < 0.95
    layer(FIELDS, training=True)
    cold = np.array(layer(FIELDS, training=True)) / FIELDS
    assert int(layer.step) == 3
    np.testing.assert_allclose(np.minimum(cold, 1 - cold), 0, atol=1e-3)
    np.testing.assert_allclose(np.array(layer(FIELDS)), FIELDS / 2)


def test_a_temperature_that_ends_at_0_is_refused():
    with pytest.raises(ValueError, match="final_temperature must be over 0"):
        FieldGate(final_temperature=0.0)
