"""Models that start from the click rate of their log, and are calibrated by other rows."""

import keras
import numpy as np
import pytest

from ctr_keras.models import start_at_click_rate
from ctr_keras.models.click_rate import calibrating_shift, shift_scores, shifted
from tests.models.test_models import batch_for
from tests.models.variants import VARIANTS, build

pytestmark = pytest.mark.backend


def logits_of(model, inputs):
    """What goes into the layer `score`."""
    logit = keras.Model(model.input, model.get_layer("score").input)
    return keras.ops.convert_to_numpy(logit(inputs))


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_logits_move_by_the_log_odds(variant):
    model = build(variant)
    inputs = batch_for(model)
    before = logits_of(model, inputs)
    start_at_click_rate(model, 0.2)
    # Two units, whose difference is the logit; part scalers, which multiply any bias.
    has_bias = variant not in ("MIAN-softmax2", "AIM")
    expected = before + np.log(0.25) * has_bias
    np.testing.assert_allclose(logits_of(model, inputs), expected, 1e-5, 1e-5)


def test_a_model_that_ends_in_another_way_stays_as_it_is():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    start_at_click_rate(model, 0.2)
    np.testing.assert_array_equal(model.layers[-1].bias, [0.0])


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_log_of_one_kind_of_rows_has_no_log_odds(rate):
    model = build("FM")
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    start_at_click_rate(model, rate)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def drawn_rows(rows, seed=0):
    """Clicks whose log-odds are 0.4 above what the scores say."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(-1, 1, rows)
    labels = draw.random(rows) < 1 / (1 + np.exp(-logits - 0.4))
    return labels.astype("float32"), (1 / (1 + np.exp(-logits))).astype("float32")


def test_many_rows_are_calibrated():
    labels, scores = drawn_rows(200_000)
    shift = calibrating_shift(labels, scores)
    assert shift == pytest.approx(0.4, abs=0.02)
    after = shift_scores(scores, shift)
    assert after.mean() == pytest.approx(labels.mean(), rel=1e-3)
    assert after.dtype == scores.dtype


@pytest.mark.parametrize("rows", [5, 300, 20_000])
def test_the_shift_has_the_largest_posterior(rows):
    labels, scores = drawn_rows(rows)
    logits = np.log(scores / (1 - scores)).astype("float64")

    def objective(shift):
        moved = logits + shift
        return np.sum(labels * moved - np.logaddexp(0, moved)) - 100 * shift**2 / 2

    grid = np.linspace(-1, 1, 20_001)
    best = grid[np.argmax([objective(shift) for shift in grid])]
    assert calibrating_shift(labels, scores) == pytest.approx(best, abs=2e-4)


def test_few_clicks_move_little():
    labels, scores = drawn_rows(20)
    assert abs(calibrating_shift(labels, scores)) < 0.05


def test_rows_without_weight_do_not_count():
    labels, scores = drawn_rows(500)
    counts = np.random.default_rng(1).random(500) < 0.5
    expected = calibrating_shift(labels[counts], scores[counts])
    found = calibrating_shift(labels[:, None], scores[:, None], counts[:, None])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 50.0])
def test_the_unit_of_weights_does_not_matter(unit):
    labels, scores = drawn_rows(500)
    weights = np.random.default_rng(1).integers(1, 4, 500)
    found = calibrating_shift(labels, scores, unit * weights)
    assert found == pytest.approx(calibrating_shift(labels, scores, weights))
    assert calibrating_shift(labels, scores, np.full(500, unit)) == pytest.approx(
        calibrating_shift(labels, scores)
    )


def test_a_few_heavy_rows_move_as_little_as_so_many():
    labels, scores = drawn_rows(10_000)
    weights = np.where(np.arange(10_000) < 20, 1e6, 1.0)
    expected = calibrating_shift(labels[:20], scores[:20])
    assert calibrating_shift(labels, scores, weights) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("labels", "score"), [([1, 1, 1], 1.0), ([0, 0, 0], 1.0), ([1], 0.0)])
def test_rows_of_one_kind_and_scores_at_the_ends_have_a_finite_shift(labels, score):
    assert np.isfinite(calibrating_shift(np.array(labels), np.full(len(labels), score)))


def test_a_shifted_model_says_so_and_is_as_before_afterwards():
    model = build("DeepFM")
    inputs = batch_for(model)
    scores, before = model(inputs), model.get_weights()
    with shifted(model, 0.7):
        expected = shift_scores(keras.ops.convert_to_numpy(scores), 0.7)
        np.testing.assert_allclose(model(inputs), expected, 1e-5)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
