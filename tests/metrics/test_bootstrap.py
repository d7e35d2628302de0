"""The bootstrap: weights instead of drawn rows, and intervals as wide as theory says."""

import numpy as np
import pytest

from ctr_keras import metrics
from ctr_keras.metrics.bootstrap import interval, resampled_weights, why_no_interval
from ctr_keras.metrics.named import OF_ROWS, of_groups
from ctr_keras.metrics.scored import scored

NAMES = [*OF_ROWS, *of_groups(3)]


def some_rows(rows=300, groups=40, seed=0):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, rows)
    scores = (draw.random(rows) * 0.7 + labels * 0.3).round(1)
    return labels, scores, draw.integers(0, groups, rows)


def measured(name, labels, scores, groups):
    name, _, k = name.partition("_at_")
    arguments = (groups,) if name in ("auc_by_group", "ndcg", "mrr", "recall") else ()
    return getattr(metrics, name)(labels, scores, *arguments, **({"k": int(k)} if k else {}))


@pytest.mark.parametrize("name", NAMES)
def test_a_replicate_is_what_its_rows_measure(name):
    labels, scores, groups = some_rows()
    (weights,) = resampled_weights(scored(labels, scores, groups=groups), 1, seed=3)
    times = weights.astype(int)
    assert times.max() > 1
    for group in np.unique(groups):  # drawn as a whole
        assert len(set(times[groups == group])) == 1
    # A group that was drawn twice is two groups.
    copies = np.concatenate([np.arange(count) for count in times])
    drawn = np.repeat(np.arange(len(labels)), times)
    expected = measured(name, labels[drawn], scores[drawn], groups[drawn] * 10 + copies)
    low, high = metrics.bootstrap_intervals(
        labels, scores, [name], groups=groups, replicates=2, level=1.0, seed=3
    )[name]
    if name == "expected_calibration_error":  # its buckets stay those of all rows
        assert low < high
    else:
        assert any(bound == pytest.approx(expected, abs=1e-12) for bound in (low, high))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    draw = np.random.default_rng(0)
    labels, scores = (draw.random(2000) < 0.5).astype(int), np.full(2000, 0.5)
    # Predicted over real clicks with a constant score: 1 / the mean of the labels, doubled.
    low, high = metrics.bootstrap_intervals(labels, scores, ["calibration_ratio"], replicates=1000)[
        "calibration_ratio"
    ]
    deviation = labels.std() / np.sqrt(2000)
    bounds = [0.5 / (labels.mean() + sign * 1.96 * deviation) for sign in (1, -1)]
    assert [low, high] == pytest.approx(bounds, abs=4e-3)


def test_rows_that_repeat_within_groups_widen_the_interval():
    labels, scores, _ = some_rows(200, seed=1)
    repeated = (np.repeat(labels, 9), np.repeat(scores, 9))
    alone = metrics.bootstrap_intervals(*repeated, ["auc"], replicates=200)["auc"]
    grouped = metrics.bootstrap_intervals(
        *repeated, ["auc"], groups=np.repeat(np.arange(200), 9), replicates=200
    )["auc"]
    # Nine equal rows say no more than one: three times as wide.
    assert np.ptp(grouped) / np.ptp(alone) == pytest.approx(3, rel=0.2)


def test_a_seed_decides_and_rows_of_no_group_are_drawn_alone():
    labels, scores, groups = some_rows()
    without = np.where(groups < 20, np.nan, groups)
    one, same = (metrics.bootstrap_intervals(labels, scores, groups=without) for _ in range(2))
    other = metrics.bootstrap_intervals(labels, scores, groups=without, seed=1)
    assert one == same != other
    (weights,) = resampled_weights(scored(labels, scores, groups=without), 1, seed=0)
    assert len(set(weights[groups < 20])) > 1
    assert all(len(set(weights[groups == group])) == 1 for group in range(20, 40))


def test_weights_of_rows_stay():
    labels, scores, _ = some_rows()
    weights = np.where(labels == 1, 0.0, 1.0)
    weights[:2] = labels[:2] = 1  # all other clicks have no weight
    low, high = metrics.bootstrap_intervals(labels, scores, ["auc"], weights=weights)["auc"]
    assert 0 <= low < high <= 1
    interval = metrics.bootstrap_intervals(labels, scores, ["log_loss"], weights=1 - labels)
    negatives = metrics.log_loss(labels[labels == 0], scores[labels == 0])
    assert interval["log_loss"][0] < negatives < interval["log_loss"][1]


def test_a_replicate_without_a_click_has_no_say():
    assert interval(np.array([np.nan, 0.5, np.nan, 0.7]), level=1) == (0.5, 0.7)


@pytest.mark.parametrize(
    ("labels", "groups"), [([1, 0, 1, 0], [5, 5, 5, 5]), ([1, 0, 0, 0], [1, 1, 2, 3])]
)
def test_replicates_that_do_not_differ_are_no_interval(labels, groups):
    scores = [0.9, 0.1, 0.2, 0.3]
    found = metrics.bootstrap_intervals(labels, scores, ["auc_by_group"], groups=groups)
    assert found == {"auc_by_group": None}
    many = np.arange(25 * 2) // 2
    same = metrics.bootstrap_intervals([1, 0] * 25, [0.9, 0.1] * 25, ["auc_by_group"], groups=many)
    assert same == {"auc_by_group": None}


@pytest.mark.parametrize("units", [19, 20])
def test_few_rows_or_groups_are_no_interval(units):
    labels, scores, _ = some_rows(units)
    assert (metrics.bootstrap_intervals(labels, scores, ["auc"])["auc"] is None) == (units < 20)
    labels, scores, weights = (np.repeat(of, 3) for of in (labels, scores, np.ones(units)))
    found = metrics.bootstrap_intervals(
        labels, scores, ["auc"], groups=np.arange(3 * units) // 3, weights=weights
    )
    assert (found["auc"] is None) == (units < 20)
    weights[:3] = 0  # a group without weight is none
    alone = np.where(np.arange(3 * units) < 6, np.nan, np.arange(3 * units) // 3)  # of no group
    counted = scored(labels, scores, weights, alone)
    assert why_no_interval(counted) == (
        f"the bootstrap needs 20 groups, got {units + 1}"
        if units + 1 < 20
        else "it is the same whichever groups the bootstrap draws"
    )


def test_paired_replicates_share_their_rows():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 2000)
    a = labels * 0.5 + draw.random(2000)
    b = a + draw.normal(0, 0.1, 2000) - 0.03 * labels
    found = metrics.paired_bootstrap(labels, a, b, replicates=200)
    assert found.difference == metrics.auc(labels, a) - metrics.auc(labels, b)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value == pytest.approx(2 / 201)
    (low, high), _ = (
        metrics.bootstrap_intervals(labels, scores, ["auc"], replicates=200)["auc"]
        for scores in (a, b)
    )
    assert found.high - found.low < (high - low) / 2
    turned = metrics.paired_bootstrap(labels, b, a, replicates=200)
    assert (turned.difference, turned.low, turned.high) == pytest.approx(
        (-found.difference, -found.high, -found.low)
    )
    assert turned.p_value == found.p_value


def test_a_model_does_not_differ_from_itself():
    labels, scores, groups = some_rows()
    for name in NAMES:
        found = metrics.paired_bootstrap(labels, scores, scores, name, groups=groups, replicates=20)
        assert found == (0, 0, 0, 1), name


def test_p_values_of_models_that_are_alike_are_uniform():
    draw = np.random.default_rng(0)
    p_values = []
    for _ in range(60):
        labels = draw.integers(0, 2, 300)
        a, b = (labels + draw.normal(0, 1, 300) for _ in range(2))
        p_values.append(metrics.paired_bootstrap(labels, a, b, replicates=100).p_value)
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) < 0.1) < 0.25


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("accuracy", "unknown metric 'accuracy'; available: auc, .*, auc_by_group, ndcg_at_K"),
        ("ndcg", "unknown metric 'ndcg'"),
        ("ndcg_at_", "unknown metric 'ndcg_at_'"),
        ("ndcg_at_0", "NDCG at k needs a k of 1 or more, got 0|ndcg_at_0 needs groups"),
        ("auc_by_group", "auc_by_group needs groups"),
    ],
)
def test_metrics_that_cannot_be_had_are_refused(metric, message):
    labels, scores, _ = some_rows()
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_intervals(labels, scores, [metric])
    with pytest.raises(ValueError, match=message):
        metrics.paired_bootstrap(labels, scores, scores, metric)


def test_one_class_and_no_replicates_are_refused():
    with pytest.raises(ValueError, match="AUC needs both classes"):
        metrics.bootstrap_intervals([1, 1], [0.5, 0.4], ["auc"])
    with pytest.raises(ValueError, match="a replicate at least, got 0"):
        metrics.bootstrap_intervals([1, 0], [0.5, 0.4], replicates=0)
