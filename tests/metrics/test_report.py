"""All metrics at once, also where some have no value."""

import numpy as np
import pytest

from ctr_keras import metrics


def some_rows():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 200)
    return labels, (draw.random(200) + labels) / 2, draw.random(200), draw.integers(0, 30, 200)


def test_a_report_is_what_each_metric_says():
    labels, scores, weights, groups = some_rows()
    found = metrics.report(labels, scores, weights, groups, k=3)
    assert found.pop("undefined") == {}
    assert found == metrics.evaluate(labels, scores, weights) | metrics.group_counts(
        labels, groups
    ) | {
        "auc_by_group": metrics.auc_by_group(labels, scores, groups, weights),
        **{
            f"{name}_at_3": getattr(metrics, name)(labels, scores, groups, weights, k=3)
            for name in ("ndcg", "mrr", "recall")
        },
    }


def test_intervals_are_those_of_the_bootstrap():
    labels, scores, weights, groups = some_rows()
    found = metrics.report(labels, scores, weights, groups, replicates=20, seed=5)["intervals"]
    assert found == metrics.bootstrap_intervals(
        labels, scores, [*found], weights=weights, groups=groups, replicates=20, seed=5
    )
    assert {"auc", "log_loss", "auc_by_group", "recall_at_10"} < {*found}
    assert "intervals" not in metrics.report(labels, scores)


def test_what_has_no_interval_says_why():
    labels, scores, weights, groups = some_rows()
    found = metrics.report(labels, scores, weights, groups % 5, replicates=20)
    assert {*found["intervals"].values()} == {None}
    reason = "the bootstrap needs 20 groups, got 5"
    assert found["no_interval"] == dict.fromkeys(found["intervals"], reason)
    constant = metrics.report(labels, np.full(200, 0.5), replicates=20)
    reason = "it is the same whichever rows the bootstrap draws"
    assert constant["no_interval"] == {"auc": reason, "log_loss": reason}
    assert constant["intervals"]["pr_auc"] is not None


@pytest.mark.parametrize("replicates", [0, 10])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_out_what_needs_two_and_says_why(label, replicates):
    groups = [1, 1, np.nan]
    found = metrics.report([label] * 3, [0.2, 0.3, 0.4], None, groups, replicates=replicates)
    assert found["auc"] is found["auc_by_group"] is None
    assert found["undefined"]["auc"] == f"AUC needs both classes, got {3 * label} clicks of 3"
    assert (found["ndcg_at_10"] is None) == (label == 0)
    assert found["log_loss"] > 0
    assert {name for name, value in found.items() if value is None} == {*found["undefined"]}
    if replicates:
        assert not {*found["intervals"]} & {*found["undefined"]}


def test_rows_without_any_group_leave_out_the_metrics_by_group():
    found = metrics.report([0, 1], [0.2, 0.3], groups=[None, None], replicates=5)
    assert found["auc"] == 1.0
    assert found["auc_by_group"] is None
    assert found["undefined"]["mrr_at_10"] == "no row has a group"
    assert found["rows_without_group"] == 2


def test_rows_that_are_wrong_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0 and 0"):
        metrics.report([], [])
    with pytest.raises(ValueError, match="1 scores are NaN"):
        metrics.report([0, 1], [0.5, np.nan])
