"""Metrics of click probabilities row by row: AUC, PR-AUC, log loss and what is made of them."""

import functools

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.metrics.scored import Scored, Statistic, scored, weighted_mean
from ctr_keras.types import Array

_EPSILON = 1e-7  # predictions are clipped to [_EPSILON, 1 - _EPSILON] for the log loss


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve, exact: the share of (click, no click) pairs ranked right.

    Ties count half, and a pair the product of its weights. Computed by sorting, not by thresholds.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of the same size; only its order matters.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if sizes differ or are 0, a label is not 0 or 1, a score is NaN, a weight is
            negative, or there is one class only.

    Example:

    >>> auc([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.4])
    0.875
    >>> auc([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.4], weights=[1, 0, 1, 1])
    0.75

    References:
        Fawcett, An introduction to ROC analysis, 2006, Section 7.
    """
    rows = scored(labels, scores, weights)
    return auc_of(rows)(rows.weights)


def pr_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve, as average precision.

    `sum_i (recall_i - recall_(i - 1)) precision_i` over the distinct scores from the highest on:
    the curve is a step function, as a line between its points would promise too much. A random
    order has the share of clicks.

    Args:
        labels, scores, weights: as in `auc`.

    Raises:
        ValueError: as `auc`, but one class of clicks only has the value 1.

    Example:

    >>> round(pr_auc([1, 0, 1, 0], [0.9, 0.5, 0.4, 0.1]), 4)
    0.8333

    References:
        Davis and Goadrich, The relationship between precision-recall and ROC curves, 2006.
    """
    rows = scored(labels, scores, weights)
    return pr_auc_of(rows)(rows.weights)


def log_loss(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean binary cross-entropy in nats, of probabilities clipped to [1e-7, 1 - 1e-7].

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.

    Raises:
        ValueError: as `auc`, but for one class, and for a score that is not in [0, 1].

    Example:

    >>> round(log_loss([1, 0], [0.8, 0.2]), 4)
    0.2231
    """
    rows = scored(labels, scores, weights)
    return log_loss_of(rows)(rows.weights)


def normalized_entropy(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Log loss over that of predicting the share of clicks for every row: below 1 is of use.

    It makes logs with different shares of clicks comparable.

    Args:
        labels, scores, weights: as in `log_loss`.

    Raises:
        ValueError: as `log_loss`, and if there is one class only.

    Example:

    >>> round(normalized_entropy([1, 0], [0.8, 0.2]), 4)
    0.3219

    References:
        He et al., Practical lessons from predicting clicks on ads at Facebook, 2014, Section 3.
    """
    rows = scored(labels, scores, weights)
    return normalized_entropy_of(rows)(rows.weights)


def rela_impr(auc: float, baseline_auc: float) -> float:
    """Relative improvement of an AUC over a baseline's: `(AUC - 0.5) / (AUC_b - 0.5) - 1`.

    0.5 is what chance has.

    Args:
        auc: float.
        baseline_auc: float, above 0.5.

    Raises:
        ValueError: if the baseline is not better than chance.

    Example:

    >>> round(rela_impr(0.75, 0.7), 4)
    0.25

    References:
        Yan et al., Coupled group lasso for web-scale CTR prediction, 2014, Section 5.
    """
    if not baseline_auc > 0.5:
        raise ValueError(f"RelaImpr needs a baseline AUC above 0.5, got {baseline_auc:g}")
    return (auc - 0.5) / (baseline_auc - 0.5) - 1


# The same as functions of the weights.


class _Curve:
    """Weights of clicks and of other rows at or below each distinct score, from 0 on: what the
    points of ROC and precision-recall curves are made of. Rows of one score have no order.
    """

    def __init__(self, rows: Scored) -> None:
        self._order = rows.order
        self._labels = rows.labels[self._order]
        scores = rows.scores[self._order]
        self._ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))

    def points(self, weights: Array) -> tuple[Array, Array]:
        weights = weights[self._order]
        clicks = weights * self._labels
        return self._cumulated(clicks), self._cumulated(weights - clicks)

    def _cumulated(self, values: Array) -> Array:
        return np.append(0.0, np.cumsum(values)[self._ends])


def auc_of(rows: Scored) -> Statistic:
    """AUC as a function of the weights."""
    rows.require_both_classes("AUC")
    curve = _Curve(rows)

    def statistic(weights: Array) -> float:
        clicks, others = curve.points(weights)
        pairs = clicks[-1] * others[-1]
        # Each click at a score with all other rows below it and half of those at it.
        right = np.sum(np.diff(clicks) * (others[1:] + others[:-1]) / 2)
        return float(right / pairs) if pairs else np.nan

    return statistic


def pr_auc_of(rows: Scored) -> Statistic:
    """Average precision as a function of the weights."""
    rows.require_click("PR-AUC")
    curve = _Curve(rows)

    def statistic(weights: Array) -> float:
        below = curve.points(weights)
        # From each score but the last upwards.
        clicks, others = (of[-1] - of[:-1] for of in below)
        shown = clicks + others
        precision = np.divide(clicks, shown, out=np.zeros_like(clicks), where=shown > 0)
        found = np.diff(below[0])
        return float(np.sum(found * precision) / clicks[0]) if clicks[0] else np.nan

    return statistic


def log_loss_of(rows: Scored) -> Statistic:
    """Log loss as a function of the weights."""
    rows.require_probabilities("log loss")
    scores = np.clip(rows.scores.astype(np.float64), _EPSILON, 1 - _EPSILON)
    losses = -np.where(rows.labels == 1, np.log(scores), np.log1p(-scores))
    return functools.partial(weighted_mean, losses)


def normalized_entropy_of(rows: Scored) -> Statistic:
    """Normalized entropy as a function of the weights."""
    rows.require_both_classes("normalized entropy")
    log_loss_by_weights = log_loss_of(rows)

    def statistic(weights: Array) -> float:
        rate = weighted_mean(rows.labels, weights)
        if rate in (0, 1):
            return np.nan
        entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        return float(log_loss_by_weights(weights) / entropy)

    return statistic
