"""Calibration by bucket against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from ctr_keras import metrics


def some_rows(rows=400):
    draw = np.random.default_rng(0)
    scores = draw.random(rows) ** 2
    return (draw.random(rows) < scores * 0.8).astype(int), scores


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_buckets_are_those_of_scikit_learn(strategy):
    labels, scores = some_rows()
    real, predicted = calibration_curve(labels, scores, n_bins=8, strategy=strategy)
    found = metrics.calibration_buckets(labels, scores, buckets=8, strategy=strategy)
    np.testing.assert_allclose([bucket["label_mean"] for bucket in found], real)
    np.testing.assert_allclose([bucket["score_mean"] for bucket in found], predicted)
    assert sum(bucket["rows"] for bucket in found) == 400


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_the_error_is_the_mean_distance_in_the_buckets(strategy):
    labels, scores = some_rows()
    weights = np.random.default_rng(1).random(400)
    found = metrics.calibration_buckets(labels, scores, weights, buckets=8, strategy=strategy)
    of_buckets = [
        weights[(scores >= bucket["low"]) & (scores <= bucket["high"])].sum() for bucket in found
    ]
    distances = [abs(bucket["score_mean"] - bucket["label_mean"]) for bucket in found]
    expected = np.average(distances, weights=of_buckets)
    actual = metrics.expected_calibration_error(
        labels, scores, weights, buckets=8, strategy=strategy
    )
    assert actual == pytest.approx(expected, abs=1e-12)


def test_buckets_have_equal_weight_and_rows_of_one_score_stay_together():
    scores = np.repeat([0.1, 0.2, 0.3], [60, 20, 20])
    found = metrics.calibration_buckets(np.tile([0, 1], 50), scores, buckets=2)
    assert [(bucket["low"], bucket["high"], bucket["rows"]) for bucket in found] == [
        (0.1, 0.1, 60),
        (0.2, 0.3, 40),
    ]
    # With the first rows lighter, the middle of the weight moves up.
    weights = np.repeat([0.1, 1, 1], [60, 20, 20])
    found = metrics.calibration_buckets(np.tile([0, 1], 50), scores, weights, buckets=2)
    assert [bucket["rows"] for bucket in found] == [80, 20]


def test_the_ends_of_the_range_have_buckets():
    found = metrics.calibration_buckets([0, 1, 1], [0.0, 0.99, 1.0], strategy="uniform")
    assert [bucket["rows"] for bucket in found] == [1, 2]


def test_rows_without_weight_are_in_no_bucket():
    found = metrics.calibration_buckets([0, 1], [0.1, 0.9], [1, 0], buckets=2)
    assert [bucket["rows"] for bucket in found] == [1]


def test_one_class_has_a_calibration_error():
    assert metrics.expected_calibration_error([0, 0], [0.25, 0.25]) == 0.25


@pytest.mark.parametrize("metric", ["calibration_buckets", "expected_calibration_error"])
def test_wrong_buckets_are_refused(metric):
    with pytest.raises(ValueError, match="a bucket at least, got 0"):
        getattr(metrics, metric)([0, 1], [0.5, 0.5], buckets=0)
    with pytest.raises(ValueError, match="unknown strategy 'equal'; available: quantile, uniform"):
        getattr(metrics, metric)([0, 1], [0.5, 0.5], strategy="equal")
