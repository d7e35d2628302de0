"""Metrics against their definitions, pair by pair and row by row."""

import numpy as np
import pytest

from ctr_keras import metrics


def auc_of_pairs(labels, scores):
    pairs = [(p, n) for p in scores[labels == 1] for n in scores[labels == 0]]
    return np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs])


@pytest.mark.parametrize("decimals", [0, 1, 8])  # from nearly all ties to none
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_auc_is_the_share_of_pairs_ranked_right(decimals, dtype):
    draw = np.random.default_rng(decimals)
    labels = draw.integers(0, 2, 200)
    scores = (draw.random(200) * 0.7 + labels * 0.3).round(decimals).astype(dtype)
    assert metrics.auc(labels, scores) == pytest.approx(auc_of_pairs(labels, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 1], [0.1, 0.2], 1.0),
        ([1, 0], [0.1, 0.2], 0.0),
        ([1, 0, 0], [0.5, 0.5, 0.5], 0.5),
        ([[1], [0], [1]], [[0.3], [0.2], [0.1]], 0.5),
        ([True, False], [-7.0, -9.0], 1.0),
    ],
)
def test_auc_by_hand(labels, scores, expected):
    assert metrics.auc(labels, scores) == expected


def test_auc_depends_on_order_alone_however_small_the_steps():
    # 200 thresholds between 0 and 1 would see one tie.
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 5000)
    scores = draw.random(5000) + labels
    squeezed = 0.5 + scores * 1e-9
    assert metrics.auc(labels, squeezed) == metrics.auc(labels, scores)


def test_auc_of_many_rows_does_not_overflow():
    labels = np.zeros(300_000, "int8")
    labels[::2] = 1
    scores = np.arange(300_000, dtype="float32")
    # Each negative lies right above a positive.
    assert metrics.auc(labels, scores) == pytest.approx(0.5 - 0.5 / 150_000)
    assert metrics.auc(labels, -scores) == pytest.approx(0.5 + 0.5 / 150_000)


def test_log_loss_by_hand():
    labels, scores = np.array([1, 0, 1]), np.array([0.9, 0.2, 0.5], "float32")
    expected = -(np.log(0.9) + np.log(0.8) + np.log(0.5)) / 3
    assert metrics.log_loss(labels, scores) == pytest.approx(expected, rel=1e-6)


def test_log_loss_clips_certainty():
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-np.log(1e-7))
    assert metrics.log_loss([0], [np.float32(1)]) == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_calibration_ratio_is_predicted_over_real_clicks():
    assert metrics.calibration_ratio([1, 0, 0, 1], [0.9, 0.1, 0.1, 0.9]) == pytest.approx(1.0)
    assert metrics.calibration_ratio([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(2.0)
    assert metrics.calibration_ratio([1, 0], [0.75, 0.5]) == 1.25


def test_evaluate_has_all_of_them():
    labels, scores = [1, 0, 1], [0.7, 0.2, 0.1]
    assert metrics.evaluate(labels, scores) == {
        "auc": metrics.auc(labels, scores),
        "log_loss": metrics.log_loss(labels, scores),
        "calibration_ratio": metrics.calibration_ratio(labels, scores),
        "normalized_entropy": metrics.normalized_entropy(labels, scores),
        "pr_auc": metrics.pr_auc(labels, scores),
        "expected_calibration_error": metrics.expected_calibration_error(labels, scores),
        "label_mean": pytest.approx(2 / 3),
        "rows": 3,
    }


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "at least 1, got 0 and 0"),
        ([1, 0], [0.5], "same length, at least 1, got 2 and 1"),
        ([1], [0.5, 0.5], "same length, at least 1, got 1 and 2"),
        ([1, 2], [0.5, 0.5], "labels must be 0 or 1"),
        ([1, 0], [0.5, np.nan], "1 scores are NaN"),
        ([1, 1], [0.5, 0.4], "both classes, got 2 clicks of 2"),
        ([0, 0], [0.5, 0.4], "both classes, got 0 clicks of 2"),
    ],
)
def test_what_has_no_auc_is_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.auc(labels, scores)


def test_what_has_no_calibration_is_refused():
    with pytest.raises(ValueError, match="needs a click"):
        metrics.calibration_ratio([0, 0], [0.5, 0.5])
