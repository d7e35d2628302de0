"""How far a metric may be from what other rows of the same kind would give: the bootstrap.

A replicate draws as many rows as there are, with replacement, and so weights each row by how often
it was drawn. Rows of one user are not independent: where there are groups, whole groups are drawn,
and rows of no group one by one.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.metrics.named import statistic_of
from ctr_keras.metrics.scored import Scored, scored
from ctr_keras.types import Array

Interval: TypeAlias = tuple[float, float]

_FEWEST_UNITS = 20  # of fewer, intervals are far too narrow
_ROUNDING = 1e-12  # what replicates that are equal may differ by


class PairedDifference(NamedTuple):
    """By how much a metric of one model is above that of another on the same rows.

    Attributes:
        difference: the metric of `a` minus that of `b`.
        low, high: the interval of the difference.
        p_value: two-sided: how often resampling would turn the sign, twice.
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_intervals(
    labels: ArrayLike,
    scores: ArrayLike,
    metrics: Sequence[str] = ("auc", "log_loss"),
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """Intervals of metrics by resampling rows, or groups of them.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.
        metrics: list of str. `"auc"`, `"pr_auc"`, `"log_loss"`, `"normalized_entropy"`,
            `"calibration_ratio"`, `"expected_calibration_error"`, and with groups
            `"auc_by_group"`, and `"ndcg_at_K"`, `"mrr_at_K"` and `"recall_at_K"` with any number
            for K. Defaults to `("auc", "log_loss")`.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.
        groups: array of the same size or None, as in `auc_by_group`. Defaults to `None`: rows are
            independent.
        replicates: int. Defaults to `1000`.
        level: float. The share of replicates in an interval. Defaults to `0.95`.
        seed: int. Defaults to `0`.

    Returns:
        Low and high of each metric: quantiles of the replicates in which it has a value (one of
        few rows may have one class only). None where these tell nothing: they do not differ, or
        less than 20 rows or groups are drawn.

    Raises:
        ValueError: for an unknown metric, and as the metrics.

    Example:

    >>> draw = np.random.default_rng(0)
    >>> labels = draw.integers(0, 2, 1000)
    >>> intervals = bootstrap_intervals(labels, (labels + 3 * draw.random(1000)) / 4, ["auc"])
    >>> [round(bound, 2) for bound in intervals["auc"]]
    [0.72, 0.78]

    References:
        Efron and Tibshirani, An introduction to the bootstrap, 1993, Chapter 13.
    """
    rows = scored(labels, scores, weights, groups)
    return intervals(rows, metrics, replicates, level=level, seed=seed)


def paired_bootstrap(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    metric: str = "auc",
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """The difference of two models' metric on the same rows, and how sure it is.

    Both are resampled together, so what rows have in common cancels out: the interval is much
    narrower than those of the two alone would suggest.

    Args:
        labels: array of 0 and 1, any shape.
        scores_a, scores_b: arrays of the same size, the scores of two models.
        metric: str. As in `bootstrap_intervals`. Defaults to `"auc"`.
        weights, groups, replicates, level, seed: as in `bootstrap_intervals`.

    Returns:
        `PairedDifference`.

    Raises:
        ValueError: as `bootstrap_intervals`, and if no replicate has a value.

    Example:

    >>> draw = np.random.default_rng(0)
    >>> labels = draw.integers(0, 2, 1000)
    >>> better, worse = (labels * part + draw.random(1000) for part in (0.6, 0.4))
    >>> result = paired_bootstrap(labels, better, worse)
    >>> result.low > 0, result.p_value < 0.01
    (True, True)
    """
    pair = [scored(labels, scores, weights, groups) for scores in (scores_a, scores_b)]
    a, b = (statistic_of(metric, rows) for rows in pair)
    difference = a(pair[0].weights) - b(pair[1].weights)
    drawn = resampled_weights(pair[0], replicates, seed)
    differences = np.array([a(w) - b(w) for w in drawn])
    if np.isnan(differences).all():
        raise ValueError(f"{metric} has no value in any of {replicates} replicates")
    return paired_difference(difference, differences, level)


def paired_difference(
    difference: float, differences: Array, level: float = 0.95
) -> PairedDifference:
    """What replicates of a difference, `(replicates,)`, say of it; NaN has no say."""
    differences = differences[~np.isnan(differences)]
    turned = min((differences <= 0).sum(), (differences >= 0).sum())
    # One more of each, as the rows themselves are a draw, too: never 0.
    p_value = min(2 * (turned + 1) / (len(differences) + 1), 1.0)
    return PairedDifference(difference, *interval(differences, level), float(p_value))


def intervals(
    rows: Scored, metrics: Iterable[str], replicates: int, *, level: float = 0.95, seed: int = 0
) -> dict[str, Interval | None]:
    """The same for rows that are checked."""
    rows = rows.sorted()
    statistics = {metric: statistic_of(metric, rows) for metric in metrics}
    drawn = resampled_weights(rows, replicates, seed)
    values = np.array([[statistic(w) for statistic in statistics.values()] for w in drawn])
    is_many = _unit_count(rows) >= _FEWEST_UNITS
    found: dict[str, Interval | None] = {}
    for metric, column in zip(statistics, values.T, strict=True):
        defined = column[~np.isnan(column)]
        is_spread = len(defined) and np.ptp(defined) > _ROUNDING
        found[metric] = interval(defined, level) if is_many and is_spread else None
    return found


def why_no_interval(rows: Scored) -> str:
    """What is to be said of metrics of the rows for which `intervals` has none."""
    count, units = _unit_count(rows), "rows" if rows.groups is None else "groups"
    if count < _FEWEST_UNITS:
        return f"the bootstrap needs {_FEWEST_UNITS} {units}, got {count}"
    return f"it is the same whichever {units} the bootstrap draws"


def _unit_count(rows: Scored) -> int:
    """How many units are drawn that have a weight."""
    has_weight = rows.weights > 0
    if rows.groups is None:
        return int(has_weight.sum())
    return len(np.unique(_units(rows.groups)[has_weight]))


def resampled_weights(rows: Scored, replicates: int, seed: int) -> Iterator[Array]:
    """The weights of the rows in each replicate: their own times how often they were drawn."""
    if replicates < 1:
        raise ValueError(f"a bootstrap needs a replicate at least, got {replicates}")
    draw = np.random.default_rng(seed)
    units = None if rows.groups is None else _units(rows.groups)
    count = len(rows.labels) if units is None else int(units.max()) + 1
    for _ in range(replicates):
        times = np.bincount(draw.integers(count, size=count, dtype=np.int32), minlength=count)
        yield rows.weights * (times if units is None else times[units])


def _units(groups: Array) -> Array:
    """What is drawn: groups, and rows of no group one by one."""
    units = groups.copy()
    alone = np.flatnonzero(groups < 0)
    units[alone] = groups.max() + 1 + np.arange(len(alone))
    return units


def interval(values: Array, level: float = 0.95) -> Interval:
    """The middle part of some replicates; NaN, as of one without a click, has no say."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
