"""Intervals and tests: those of the metrics' own bootstrap, and of SciPy."""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from ctr_keras.cli import main
from ctr_keras.compare.statistics import paired_t_test, resampled
from ctr_keras.metrics import auc, bootstrap_intervals, log_loss, paired_bootstrap
from ctr_keras.metrics.bootstrap import interval, paired_difference

DRAW = np.random.default_rng(0)
LABELS = (DRAW.random(400) < 0.3).astype("float32")


def scores(signal):
    return (0.2 + signal * LABELS + 0.3 * DRAW.random(400)).astype("float32")


A, B = [scores(0.2), scores(0.18)], [scores(0.1)]


def test_values_are_those_of_the_metrics_by_seed():
    values, _ = resampled(LABELS, {"a": A, "b": B}, ["auc", "log_loss"], 1, 0)
    np.testing.assert_allclose(values["a"]["auc"], [auc(LABELS, one) for one in A])
    np.testing.assert_allclose(values["b"]["log_loss"], [log_loss(LABELS, B[0])])


def test_rows_weigh_on_themselves_and_where_they_are_drawn():
    weights = DRAW.integers(0, 4, len(LABELS)).astype("float32")
    values, drawn = resampled(LABELS, {"b": B}, ["auc"], 200, 0, weights)
    assert values["b"]["auc"] == [auc(LABELS, B[0], weights)]
    expected = bootstrap_intervals(LABELS, B[0], ["auc"], weights=weights, replicates=2000)["auc"]
    np.testing.assert_allclose(interval(drawn["b"]["auc"]), expected, atol=0.02)


def test_with_one_seed_it_is_the_paired_bootstrap():
    values, drawn = resampled(LABELS, {"a": A[:1], "b": B}, ["auc"], 200, 3)
    difference = float(values["a"]["auc"][0] - values["b"]["auc"][0])
    found = paired_difference(difference, drawn["a"]["auc"] - drawn["b"]["auc"])
    expected = paired_bootstrap(LABELS, A[0], B[0], "auc", replicates=200, seed=3)
    np.testing.assert_allclose(found, expected)
    assert found.low > 0


def test_intervals_are_those_of_the_bootstrap_of_one_model():
    _, drawn = resampled(LABELS, {"b": B}, ["auc"], 2000, 0)
    expected = bootstrap_intervals(LABELS, B[0], ["auc"], replicates=2000)["auc"]
    np.testing.assert_allclose(interval(drawn["b"]["auc"]), expected, atol=0.004)


def test_a_replicate_of_several_seeds_is_their_mean():
    _, both = resampled(LABELS, {"a": A}, ["auc"], 20, 0)
    alone = [resampled(LABELS, {"a": [one]}, ["auc"], 20, 0)[1]["a"]["auc"] for one in A]
    np.testing.assert_allclose(both["a"]["auc"], np.mean(alone, axis=0))


def test_the_t_test_is_of_pairs_of_the_same_seed():
    first, second = {0: 0.71, 1: 0.72, 2: 0.74, 7: 0.9}, {2: 0.71, 1: 0.70, 0: 0.70, 8: 0.1}
    expected = stats.ttest_rel([0.71, 0.72, 0.74], [0.70, 0.70, 0.71]).pvalue
    assert paired_t_test(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("second", [{0: 0.5}, {5: 0.5, 6: 0.4}, {0: 0.71, 1: 0.72}])
def test_without_two_differences_there_is_no_t_test(second):
    assert paired_t_test({0: 0.71, 1: 0.72}, second) is None


def test_the_command_takes_no_replicates_that_are_too_few_for_an_interval():
    result = CliRunner().invoke(main, ["compare", ".", "--replicates", "99"])
    assert result.exit_code == 2
    assert "99 is not in the range x>=100" in result.output
