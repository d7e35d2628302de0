"""AUC, log loss and calibration of click probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.types import Array

_EPSILON = 1e-7  # predictions are clipped to [_EPSILON, 1 - _EPSILON] for the log loss


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, exact: the share of (click, no click) pairs ranked right.

    Ties count half. Computed by sorting, not by thresholds.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of the same size; only its order matters.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if sizes differ or are 0, a label is not 0 or 1, a score is NaN, or there is
            one class only.

    Example:

    >>> auc([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.4])
    0.875

    References:
        Fawcett, An introduction to ROC analysis, 2006, Section 7.
    """
    labels, scores = _checked(labels, scores)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        raise ValueError(f"AUC needs both classes, got {positives} clicks of {labels.size}")
    order = np.argsort(scores, kind="stable")
    sorted_scores = scores[order]
    # Rank of the last row of each run of equal scores, and so the mean rank in it.
    last = np.append(np.flatnonzero(sorted_scores[1:] != sorted_scores[:-1]), labels.size - 1)
    first = np.append(0, last[:-1] + 1)
    clicks = np.add.reduceat(labels[order].astype(np.int64), first)
    rank_sum = float(clicks @ ((first + last) / 2 + 1))
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, of probabilities clipped to [1e-7, 1 - 1e-7].

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.

    Raises:
        ValueError: as `auc`, but for one class.

    Example:

    >>> round(log_loss([1, 0], [0.8, 0.2]), 4)
    0.2231
    """
    labels, scores = _checked(labels, scores)
    scores = np.clip(scores.astype(np.float64), _EPSILON, 1 - _EPSILON)
    return float(-np.where(labels == 1, np.log(scores), np.log1p(-scores)).mean())


def calibration_ratio(labels: ArrayLike, scores: ArrayLike) -> float:
    """Predicted clicks over real clicks: 1 is right, more is too many.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.

    Raises:
        ValueError: as `log_loss`, and if there is no click.

    Example:

    >>> calibration_ratio([1, 0], [0.75, 0.5])
    1.25
    """
    labels, scores = _checked(labels, scores)
    if not labels.any():
        raise ValueError("a calibration ratio needs a click, and there is none")
    return float(scores.sum(dtype=np.float64) / labels.sum(dtype=np.float64))


def evaluate(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """All metrics of this module.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.

    Returns:
        `auc`, `log_loss`, `calibration_ratio`, `label_mean` and `rows`.

    Example:

    >>> evaluate([1, 0], [0.75, 0.25])["auc"]
    1.0
    """
    return {
        "auc": auc(labels, scores),
        "log_loss": log_loss(labels, scores),
        "calibration_ratio": calibration_ratio(labels, scores),
        "label_mean": float(np.asarray(labels).mean()),
        "rows": int(np.size(labels)),
    }


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    labels, scores = np.ravel(labels), np.ravel(scores)
    if labels.size != scores.size or not labels.size:
        raise ValueError(
            "labels and scores must have the same length, at least 1, "
            f"got {labels.size} and {scores.size}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN")
    return labels, scores
