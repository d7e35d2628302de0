"""Metrics by group against scikit-learn group by group, and by trying all orders of ties."""

import itertools

import numpy as np
import pytest
import sklearn.metrics

from ctr_keras import metrics


def some_rows(decimals, rows=400):
    draw = np.random.default_rng(decimals)
    labels = (draw.random(rows) < 0.3).astype(int)
    scores = (draw.random(rows) * 0.7 + labels * 0.3).round(decimals)
    return labels, scores, draw.integers(0, 60, rows), draw.random(rows) + 0.1


def by_group(labels, scores, groups):
    for group in np.unique(groups):
        yield labels[groups == group], scores[groups == group]


@pytest.mark.parametrize("decimals", [1, 8])
def test_auc_by_group_is_that_of_each_averaged_by_weight(decimals):
    labels, scores, groups, weights = some_rows(decimals)
    aucs, of_groups = [], []
    for group in np.unique(groups):
        rows = groups == group
        if 0 < labels[rows].sum() < rows.sum():
            auc = sklearn.metrics.roc_auc_score
            aucs.append(auc(labels[rows], scores[rows], sample_weight=weights[rows]))
            of_groups.append(weights[rows].sum())
    assert 20 < len(aucs) < 60
    actual = metrics.auc_by_group(labels, scores, groups, weights)
    assert actual == pytest.approx(np.average(aucs, weights=of_groups), abs=1e-9)


def test_one_group_has_the_auc_of_all_rows():
    labels, scores, _, weights = some_rows(1)
    actual = metrics.auc_by_group(labels, scores, np.ones(len(labels)), weights)
    assert actual == pytest.approx(metrics.auc(labels, scores, weights), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_ndcg_is_that_of_scikit_learn(decimals, k):
    labels, scores, groups, _ = some_rows(decimals)
    expected = [
        sklearn.metrics.ndcg_score([of_group], [order], k=k) if len(of_group) > 1 else 1.0
        for of_group, order in by_group(labels, scores, groups)
        if of_group.any()
    ]
    assert metrics.ndcg(labels, scores, groups, k=k) == pytest.approx(np.mean(expected), abs=1e-12)


def orders(scores):
    """All orders by falling score, where rows of one score may stand in any."""
    runs = [np.flatnonzero(scores == score) for score in np.unique(scores)[::-1]]
    for parts in itertools.product(*(itertools.permutations(run) for run in runs)):
        yield list(itertools.chain(*parts))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_recall_is_the_expected_one_over_orders_of_ties(k):
    labels = np.array([1, 0, 0, 1, 0, 0, 1, 1, 0])
    scores = np.array([0.5, 0.5, 0.9, 0.5, 0.1, 0.7, 0.7, 0.7, 0.2])
    groups = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    expected = [
        np.mean([of_group[order[:k]].sum() / of_group.sum() for order in orders(of_scores)])
        for of_group, of_scores in by_group(labels, scores, groups)
    ]
    assert metrics.recall(labels, scores, groups, k=k) == pytest.approx(np.mean(expected))


def test_the_rank_of_a_click_is_the_expected_one_over_orders_of_ties():
    labels = np.array([1, 0, 0, 1, 0])
    scores = np.array([0.5, 0.5, 0.9, 0.5, 0.1])
    ranks = [1 + int(np.flatnonzero(labels[order])[0]) for order in orders(scores)]
    expected = 1 / np.mean(ranks)
    assert metrics.mrr(labels, scores, [7] * 5) == pytest.approx(expected)
    assert metrics.mrr(labels, scores, [7] * 5, k=2) == 0
    assert metrics.mrr(labels, scores, [7] * 5, k=3) == pytest.approx(expected)


def test_mrr_without_ties_by_hand():
    labels = [0, 0, 1, 1, 0, 1, 0, 0]
    scores = [0.9, 0.8, 0.7, 0.6, 0.9, 0.8, 0.1, 0.2]
    groups = [0, 0, 0, 0, 1, 1, 2, 2]  # ranks 3 and 2, and no click
    assert metrics.mrr(labels, scores, groups) == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert metrics.mrr(labels, scores, groups, k=2) == pytest.approx((0 + 1 / 2) / 2)


@pytest.mark.parametrize("name", ["ndcg", "mrr", "recall"])
def test_a_group_counts_with_the_mean_weight_of_its_rows(name):
    labels, scores, groups = [0, 1, 1, 0, 0], [0.9, 0.5, 0.3, 0.2, 0.1], [0, 0, 1, 1, 1]
    metric = getattr(metrics, name)
    first = metric(labels[:2], scores[:2], groups[:2], k=1)
    second = metric(labels[2:], scores[2:], groups[2:], k=1)
    weighted = metric(labels, scores, groups, [3, 5, 1, 0, 2], k=1)
    assert weighted == pytest.approx((4 * first + 1 * second) / 5)


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "b", "a", "a", None],
        [2.0, 2.0, 1.0, 1.0, np.nan],
        np.array(["b", "b", "a", "a", float("nan")], object),
    ],
)
def test_rows_of_no_group_are_left_out_and_counted(groups):
    labels, scores = [1, 0, 1, 1, 0], [0.5, 0.9, 0.1, 0.2, 0.95]
    assert metrics.auc_by_group(labels, scores, groups) == 0
    assert metrics.ndcg(labels, scores, groups, k=1) == 0.5
    assert metrics.group_counts(labels, groups) == {
        "groups": 2,
        "groups_of_one_class": 1,
        "groups_without_click": 0,
        "rows_without_group": 1,
    }


def test_names_of_groups_and_the_order_of_rows_do_not_matter():
    labels, scores, groups, weights = some_rows(1)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"user {-group}" for group in groups])
    for name in ("auc_by_group", "ndcg", "mrr", "recall"):
        metric = getattr(metrics, name)
        assert metric(
            labels[shuffled], scores[shuffled], names[shuffled], weights[shuffled]
        ) == pytest.approx(metric(labels, scores, groups, weights), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "labels", "message"),
    [
        ("auc_by_group", [1, 0], "AUC by group needs a group with both classes, .* none among 2"),
        ("ndcg", [0, 0], "NDCG needs a group with a click, and there is none among 2"),
        ("mrr", [0, 0], "MRR needs a group with a click, and there is none among 2"),
        ("recall", [0, 0], "recall needs a group with a click, and there is none among 2"),
    ],
)
def test_what_has_no_value_is_refused(metric, labels, message):
    metric = getattr(metrics, metric)
    with pytest.raises(ValueError, match=message):
        metric(labels, [0.5, 0.4], [1, 2])
    with pytest.raises(ValueError, match="no row has a group"):
        metric(labels, [0.5, 0.4], [np.nan, np.nan])
    with pytest.raises(ValueError, match="one group a row, got 1 for 2 rows"):
        metric(labels, [0.5, 0.4], [1])


@pytest.mark.parametrize("metric", [metrics.ndcg, metrics.mrr, metrics.recall])
def test_k_is_1_or_more(metric):
    with pytest.raises(ValueError, match="at k needs a k of 1 or more, got 0"):
        metric([1], [0.5], [1], k=0)
