"""How far values are from those of training."""

import numpy as np

from ctr_keras.types import Array


def distance(train: Array, other: Array, is_number: bool) -> float:
    """How far shares of values are from those in training, between 0 and 1.

    As TensorFlow Data Validation has it: of categories the largest difference between two shares
    (L-infinity), of numbers the Jensen-Shannon divergence (logarithms of base 2), here over
    buckets that hold as many training rows each.

    Example:

    >>> float(distance(np.array([0.5, 0.5]), np.array([0.75, 0.25]), is_number=False))
    0.25
    """
    if not is_number:
        return float(np.abs(train - other).max(initial=0.0))
    middle = (train + other) / 2
    divergence = entropy(middle) - (entropy(train) + entropy(other)) / 2
    return max(float(divergence / np.log(2)), 0.0)


def entropy(shares: Array) -> float:
    """In nats."""
    shares = np.sort(shares[shares > 0])  # the same sum in whatever order they come
    return float(-(shares * np.log(shares)).sum())
