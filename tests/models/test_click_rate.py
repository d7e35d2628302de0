"""Models that start from the click rate of their log."""

import keras
import numpy as np
import pytest

from ctr_keras.models import start_at_click_rate
from tests.models.test_models import batch_for
from tests.models.variants import OF_ONE_LABEL, build, each_way
from tests.packed import called


def logits_of(model, inputs):
    """What goes into the layer `score`."""
    logit = keras.Model(model.input, model.get_layer("score").input)
    return called(logit, inputs)


@pytest.mark.parametrize("variant", each_way(OF_ONE_LABEL))
def test_all_logits_move_by_the_log_odds(variant):
    model = build(variant)
    inputs = batch_for(model)
    before = logits_of(model, inputs)
    start_at_click_rate(model, 0.2)
    # Two units, whose difference is the logit; part scalers, which multiply any bias.
    has_bias = variant not in ("MIAN-softmax2", "AIM")
    expected = before + np.log(0.25) * has_bias
    np.testing.assert_allclose(logits_of(model, inputs), expected, 1e-5, 1e-5)


@pytest.mark.backend
def test_a_model_that_ends_in_another_way_stays_as_it_is():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    start_at_click_rate(model, 0.2)
    np.testing.assert_array_equal(model.layers[-1].bias, [0.0])


@pytest.mark.backend
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_log_of_one_kind_of_rows_has_no_log_odds(rate):
    model = build("FM")
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    start_at_click_rate(model, rate)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
