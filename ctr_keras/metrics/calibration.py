"""Whether predicted probabilities are those of the clicks."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.metrics.scored import Scored, Statistic, scored, weighted_mean
from ctr_keras.types import Array

Strategy: TypeAlias = Literal["quantile", "uniform"]


def calibration_ratio(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Predicted clicks over real clicks: 1 is right, more is too many.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.

    Raises:
        ValueError: as `log_loss`, and if there is no click.

    Example:

    >>> calibration_ratio([1, 0], [0.75, 0.5])
    1.25
    """
    rows = scored(labels, scores, weights)
    return calibration_ratio_of(rows)(rows.weights)


def expected_calibration_error(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    buckets: int = 10,
    strategy: Strategy = "quantile",
) -> float:
    """Mean distance of predicted and real share of clicks by bucket, weighted by rows.

    `sum_b |sum_(i in b) w_i (score_i - label_i)| / sum_i w_i`. Chance alone keeps it above 0, the
    more so the fewer rows a bucket has.

    Args:
        labels, scores, weights: as in `calibration_ratio`.
        buckets: int. Number of buckets, at most. Defaults to `10`.
        strategy: str. As in `calibration_buckets`. Defaults to `"quantile"`.

    Raises:
        ValueError: as `log_loss`.

    Example:

    >>> round(expected_calibration_error([1, 0, 1, 0], [0.9, 0.8, 0.2, 0.1], buckets=2), 4)
    0.35

    References:
        Guo et al., [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599),
        Section 2.
    """
    rows = scored(labels, scores, weights)
    return expected_calibration_error_of(rows, buckets, strategy)(rows.weights)


def calibration_buckets(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    buckets: int = 10,
    strategy: Strategy = "quantile",
) -> list[dict[str, float]]:
    """Predicted and real share of clicks in buckets of rising scores: a reliability diagram.

    Args:
        labels, scores, weights: as in `calibration_ratio`.
        buckets: int. Number of buckets, at most: empty ones are left out. Defaults to `10`.
        strategy: str. `"quantile"`: buckets of equal weight, but rows of one score stay together.
            `"uniform"`: buckets of equal width between 0 and 1. Clicks are rare, so that most
            scores lie in the first of these. Defaults to `"quantile"`.

    Returns:
        For each bucket a dict of `low` and `high` (its least and greatest score), `rows`,
        `score_mean` and `label_mean`, both weighted.

    Raises:
        ValueError: as `log_loss`.

    Example:

    >>> for bucket in calibration_buckets([1, 0, 1, 0], [0.75, 0.5, 0.25, 0.25], buckets=2):
    ...     print(bucket)
    {'low': 0.25, 'high': 0.25, 'rows': 2, 'score_mean': 0.25, 'label_mean': 0.5}
    {'low': 0.5, 'high': 0.75, 'rows': 2, 'score_mean': 0.625, 'label_mean': 0.5}
    """
    rows = scored(labels, scores, weights)
    bucket = _bucket_numbers(rows, buckets, strategy)
    described = []
    for number in np.unique(bucket):
        members = np.flatnonzero((bucket == number) & (rows.weights > 0))
        if not members.size:
            continue
        scores, weights = rows.scores[members], rows.weights[members]
        described.append(
            {
                "low": float(scores.min()),
                "high": float(scores.max()),
                "rows": members.size,
                "score_mean": weighted_mean(scores, weights),
                "label_mean": weighted_mean(rows.labels[members], weights),
            }
        )
    return described


# The same as functions of the weights.


def calibration_ratio_of(rows: Scored) -> Statistic:
    """The calibration ratio as a function of the weights."""
    rows.require_probabilities("a calibration ratio")
    rows.require_click("a calibration ratio")
    scores = rows.scores.astype(np.float64)

    def statistic(weights: Array) -> float:
        clicks = np.sum(weights * rows.labels)
        return float(np.sum(weights * scores) / clicks) if clicks else np.nan

    return statistic


def expected_calibration_error_of(
    rows: Scored, buckets: int = 10, strategy: Strategy = "quantile"
) -> Statistic:
    """The expected calibration error as a function of the weights; the buckets stay."""
    bucket = _bucket_numbers(rows, buckets, strategy)
    excess = rows.scores - rows.labels
    return lambda weights: float(
        np.abs(np.bincount(bucket, weights * excess)).sum() / weights.sum()
    )


def _bucket_numbers(rows: Scored, buckets: int, strategy: Strategy) -> Array:
    """The bucket of each row."""
    rows.require_probabilities("calibration")
    if buckets < 1:
        raise ValueError(f"calibration needs a bucket at least, got {buckets}")
    if strategy == "uniform":
        place = rows.scores.astype(np.float64)
    elif strategy == "quantile":
        place = _ranks(rows)
    else:
        raise ValueError(f"unknown strategy {strategy!r}; available: quantile, uniform")
    return np.minimum((place * buckets).astype(np.int64), buckets - 1)


def _ranks(rows: Scored) -> Array:
    """The share of the weight below each row's score, half of that at its score included."""
    scores = rows.scores[rows.order]
    starts = np.append(0, np.flatnonzero(scores[1:] != scores[:-1]) + 1)
    weights = np.add.reduceat(rows.weights[rows.order], starts)
    middle = np.cumsum(weights) - weights / 2
    ranks = np.empty(len(scores))
    ranks[rows.order] = np.repeat(middle / weights.sum(), np.diff(starts, append=len(scores)))
    return ranks
