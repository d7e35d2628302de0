"""Models that are calibrated by rows that they have not learned from."""

import keras
import numpy as np
import pytest

from ctr_keras.models import Calibration, calibrate, calibration_of
from ctr_keras.models.calibration import calibrations_of, logits_of
from tests.models.test_models import batch_for
from tests.models.variants import OF_ONE_LABEL, build, some_on_jax
from tests.packed import called


def chance(logits):
    return 1 / (1 + np.exp(-logits))


def drawn_rows(rows, scale=2.0, shift=-0.8, seed=0):
    """Clicks, and logits that stand for the true ones times `scale` plus `shift`."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(-1, 1, rows)
    labels = draw.random(rows) < chance(truth)
    return labels.astype("float32"), (scale * truth + shift).astype("float32")


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_many_rows_are_calibrated(scale):
    labels, logits = drawn_rows(200_000, scale)
    found = calibration_of(labels, logits)
    assert found.scale == pytest.approx(1 / scale, rel=0.03)
    assert found.shift == pytest.approx(0.8 / scale, abs=0.03)
    scores = chance(found.scale * logits + found.shift)
    assert scores.mean() == pytest.approx(labels.mean(), rel=1e-3)


@pytest.mark.parametrize("rows", [5, 300, 5_000])
def test_the_calibration_has_the_largest_posterior(rows):
    labels, logits = drawn_rows(rows)
    z = logits.astype("float64")
    certain = chance(z) * (1 - chance(z))
    middle = np.average(z, weights=certain)
    variance = np.average((z - middle) ** 2, weights=certain)

    def objective(scale, shift):  # the shift of the calibration, not that around the middle
        u = scale * z + shift
        moved = shift - (1 - scale) * middle
        prior = moved**2 + variance * (scale - 1) ** 2
        return np.sum(labels * u - np.logaddexp(0, u)) - 25 * prior / 2

    found = calibration_of(labels, logits)
    best = objective(*found)
    for scale, shift in np.random.default_rng(1).normal(found, 0.2, (500, 2)):
        assert objective(scale, shift) <= best


def test_few_clicks_move_little():
    found = calibration_of(*drawn_rows(5))
    np.testing.assert_allclose(found, (1.0, 0.0), atol=0.3)
    labels, logits = drawn_rows(50_000)
    assert abs(calibration_of(labels, logits).scale - 1) > 0.45


def test_rows_without_weight_do_not_count():
    labels, logits = drawn_rows(500)
    counts = np.random.default_rng(1).random(500) < 0.5
    found = calibration_of(labels[:, None], logits[:, None], counts[:, None])
    assert found == pytest.approx(calibration_of(labels[counts], logits[counts]))


@pytest.mark.parametrize("unit", [1e-4, 1.0, 50.0])
def test_the_unit_of_weights_does_not_matter(unit):
    labels, logits = drawn_rows(500)
    weights = np.random.default_rng(1).integers(1, 4, 500)
    expected = calibration_of(labels, logits, weights)
    assert calibration_of(labels, logits, unit * weights) == pytest.approx(expected)
    alike = calibration_of(labels, logits, np.full(500, unit))
    assert alike == pytest.approx(calibration_of(labels, logits))


def test_a_few_heavy_rows_move_as_little_as_so_many():
    labels, logits = drawn_rows(10_000)
    weights = np.where(np.arange(10_000) < 20, 1e6, 1.0)
    found = calibration_of(labels, logits, weights)
    assert found == pytest.approx(calibration_of(labels[:20], logits[:20]), rel=0.05)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("logit", [-1e4, -40.0, 0.0, 40.0, 1e4])
def test_rows_of_one_kind_and_logits_at_the_ends_have_a_finite_calibration(label, logit):
    found = calibration_of(np.full(3, label), np.full(3, logit))
    assert np.isfinite(found).all()
    assert found.scale > 0


def test_logits_the_wrong_way_around_keep_their_order():
    labels, logits = drawn_rows(10_000)
    assert calibration_of(labels, -logits).scale == 0.05


@pytest.mark.parametrize("variant", some_on_jax(OF_ONE_LABEL))
def test_a_calibrated_model_has_the_same_weights_and_moves_its_logit(variant, tmp_path):
    model = build(variant)
    inputs = batch_for(model)
    logits = called(logits_of(model), inputs)
    np.testing.assert_allclose(chance(logits), called(model, inputs), 1e-5, 1e-6)
    calibrated = calibrate(model, Calibration(0.5, -0.3))
    np.testing.assert_allclose(called(calibrated, inputs), chance(0.5 * logits - 0.3), 1e-5, 1e-6)
    assert type(calibrated) is type(model)
    assert [id(weight) for weight in calibrated.weights] == [id(w) for w in model.weights]
    again = calibrate(calibrated, Calibration(2.0))  # stands in for the first
    np.testing.assert_allclose(called(again, inputs), chance(2.0 * logits), 1e-5, 1e-6)


def test_rows_that_do_not_count_change_nothing():
    assert calibration_of(np.zeros(0), np.zeros(0)) == Calibration()
    assert calibration_of([0, 1], [2.0, 1.0], [0, 0]) == Calibration()


@pytest.mark.parametrize("name", ["MMoE", "ESMM"])
def test_labels_are_calibrated_each_by_itself_and_steps_of_a_funnel_by_those_that_came_so_far(name):
    model = build(name)
    click, logit = drawn_rows(3_000)
    other, other_logit = drawn_rows(3_000, scale=0.5, seed=1)
    came = click == 1 if name == "ESMM" else np.full(len(click), True)
    labels, logits = np.stack([click, other], 1), np.stack([logit, other_logit], 1)
    weights = np.random.default_rng(2).integers(1, 4, len(click))
    found = calibrations_of(model, labels, logits, weights)
    assert found[0] == pytest.approx(calibration_of(click, logit, weights))
    of_others = calibration_of(other[came], other_logit[came], weights[came])
    assert found[1] == pytest.approx(of_others)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "calibrations"),
    [
        ("DeepFM", [Calibration(0.5, -0.3)]),
        ("MMoE", [Calibration(0.5, -0.3), Calibration(2.0, 0.1)]),
        ("ESMM", [Calibration(0.5, -0.3), Calibration(2.0, 0.1)]),
    ],
)
def test_a_calibrated_model_is_saved(name, calibrations, tmp_path):
    model = build(name)
    inputs = batch_for(model)
    calibrated = calibrate(model, *calibrations)
    scale, shift = np.transpose(calibrations)
    chances = chance(scale * called(logits_of(model), inputs) + shift)
    expected = chances.cumprod(axis=1) if name == "ESMM" else chances
    np.testing.assert_allclose(called(calibrated, inputs), expected, 1e-5, 1e-6)
    calibrated.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(called(loaded, inputs), called(calibrated, inputs))
    assert loaded.count_params() == model.count_params()


@pytest.mark.backend
def test_a_model_that_ends_in_another_way_is_not_calibrated():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs), name="own")
    assert logits_of(model) is None
    with pytest.raises(ValueError, match="own does not end in a layer that is the sigmoid of a l"):
        calibrate(model, Calibration())
