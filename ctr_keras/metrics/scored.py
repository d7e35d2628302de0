"""Scored rows, checked once, and what all metrics of them share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.types import Array

# A metric of given rows as a function of their weights alone, `(rows,)` float64: what takes time,
# such as sorting, is done once, and resampling is weighting. NaN for weights that leave it without
# a value; rows that have none themselves are an error where the function is made.
Statistic: TypeAlias = Callable[[Array], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Rows with their scores.

    Attributes:
        labels: (rows,) float64 of 0 and 1.
        scores: (rows,) floats.
        weights: (rows,) float64.
        groups: (rows,) int64 codes from 0 on, -1 for a row of no group; or None.
    """

    labels: Array
    scores: Array
    weights: Array
    groups: Array | None = None

    @functools.cached_property
    def order(self) -> Array:
        """The numbers of the rows by rising score."""
        return np.argsort(self.scores)

    @functools.cached_property
    def order_in_groups(self) -> Array:
        """The numbers of the rows that have a group, group by group, by falling score."""
        assert self.groups is not None
        if not (self.groups >= 0).any():
            raise ValueError("no row has a group")
        falling = self.order[::-1]
        order = falling[np.argsort(self.groups[falling], kind="stable")]
        without_group = int(np.count_nonzero(self.groups < 0))
        return order[without_group:]

    def sorted(self) -> "Scored":
        """The rows by rising score, an order in which metrics read them fastest."""
        order = self.order
        groups = None if self.groups is None else self.groups[order]
        return Scored(self.labels[order], self.scores[order], self.weights[order], groups)

    @property
    def positives(self) -> float:
        """The weight of the clicks."""
        return float(np.sum(self.weights * self.labels))

    @property
    def negatives(self) -> float:
        """The weight of the other rows."""
        return float(np.sum(self.weights * (1 - self.labels)))

    def require_both_classes(self, metric: str) -> None:
        """Refuses rows of one class, naming the metric."""
        if not (self.positives and self.negatives):
            clicks = int(np.count_nonzero(self.labels * self.weights))
            rows = int(np.count_nonzero(self.weights))
            raise ValueError(f"{metric} needs both classes, got {clicks} clicks of {rows}")

    def require_click(self, metric: str) -> None:
        """Refuses rows without a click, naming the metric."""
        if not self.positives:
            raise ValueError(f"{metric} needs a click, and there is none")

    def require_probabilities(self, metric: str) -> None:
        """Refuses scores that are no probabilities, naming the metric."""
        if self.scores.min() < 0 or self.scores.max() > 1:
            wrong = self.scores[(self.scores < 0) | (self.scores > 1)][0]
            raise ValueError(f"{metric} needs probabilities from 0 to 1, got a score of {wrong:g}")


def scored(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Scored:
    """Checks rows of any shape and flattens them.

    Args:
        labels: array of 0 and 1.
        scores: array of the same size.
        weights: array of the same size, 0 or more, or None: all count alike.
        groups: array of the same size, integers or strings, or None. NaN and None mean that a row
            is in no group.

    Raises:
        ValueError: if sizes differ or are 0, a label is not 0 or 1, a score is NaN, or weights are
            negative, not finite or all 0.
    """
    labels, scores = np.ravel(labels), np.ravel(scores)
    if labels.size != scores.size or not labels.size:
        raise ValueError(
            "labels and scores must have the same length, at least 1, "
            f"got {labels.size} and {scores.size}"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.issubdtype(scores.dtype, np.floating) or scores.dtype == np.float16:
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN")
    return Scored(
        labels.astype(np.float64),
        scores,
        np.ones(labels.size) if weights is None else _weights(weights, labels.size),
        None if groups is None else _codes(groups, labels.size),
    )


def weighted_mean(values: Array, weights: Array) -> float:
    """The mean, summed by halves: a single long sum would lose digits."""
    return float(np.sum(weights * values) / np.sum(weights))


def _weights(weights: ArrayLike, rows: int) -> Array:
    weights = np.ravel(weights).astype(np.float64)
    if weights.size != rows:
        raise ValueError(f"there must be one weight a row, got {weights.size} for {rows} rows")
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("weights must be finite and not negative")
    if not weights.any():
        raise ValueError("all weights are 0")
    return weights


def _codes(groups: ArrayLike, rows: int) -> Array:
    groups = np.ravel(groups)
    if groups.size != rows:
        raise ValueError(f"there must be one group a row, got {groups.size} for {rows} rows")
    if groups.dtype == object:
        present = np.fromiter((g is not None and g == g for g in groups), bool, rows)
    else:
        present = groups == groups  # NaN is not
    codes = np.full(rows, -1, np.int64)
    codes[present] = np.unique(groups[present], return_inverse=True)[1]
    return codes
