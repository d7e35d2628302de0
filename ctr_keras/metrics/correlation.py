"""How far two orders agree."""

import numpy as np

from ctr_keras.types import Array


def ranks(values: Array) -> Array:
    """Ranks from 0, equal values at the mean of theirs.

    Args:
        values: `(values,)` array of numbers.

    Returns:
        `(values,)` float array.

    Example:

    >>> ranks(np.array([0.3, 0.1, 0.3])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Array = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return found


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's rank correlation; NaN where all values of one are equal.

    Args:
        first: array `(values,)`.
        second: array `(values,)`.

    Example:

    >>> rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 15]))
    0.5
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])
