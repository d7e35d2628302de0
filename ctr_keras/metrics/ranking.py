"""Metrics of the order within groups of rows: the impressions of one user, session or query.

Only rows of one group compete for a click, so a model may rank well within groups and badly between
them, or the reverse.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.metrics.scored import Scored, Statistic, scored
from ctr_keras.types import Array

Values: TypeAlias = Callable[["_Runs", int], Array]  # of each group, NaN where it has none


def auc_by_group(
    labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """AUC within each group, averaged by impressions (GAUC).

    `sum_g w_g AUC_g / sum_g w_g`, where `w_g` is the number of rows of the group, or their weight.
    Groups of one class have no AUC and are left out.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of the same size; only its order within a group matters.
        groups: array of the same size, integers or strings. Rows whose group is NaN or None are
            in no group and left out.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `auc`, and if no group has both classes.

    Example:

    >>> auc_by_group([1, 0, 1, 0, 0], [0.2, 0.1, 0.8, 0.9, 0.7], groups=[1, 1, 2, 2, 2])
    0.7

    References:
        Zhou et al., [Deep interest network](https://arxiv.org/abs/1706.06978), Section 5.3.
    """
    rows = scored(labels, scores, weights, groups)
    return auc_by_group_of(rows)(rows.weights)


def ndcg(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    k: int = 10,
) -> float:
    """Normalized discounted cumulative gain of the first k rows, averaged over groups.

    `DCG_g = sum_(rank <= k) label / log2(rank + 1)`, over that of the best order. Rows of one score
    share the mean gain of their ranks. Groups without a click are left out.

    Args:
        labels, scores, groups: as in `auc_by_group`.
        weights: array of the same size or None. A group counts with the mean of its rows. Defaults
            to `None`: all groups count alike.
        k: int. Defaults to `10`.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `auc_by_group`, if no group has a click.

    Example:

    >>> round(ndcg([0, 1, 0, 1], [0.9, 0.5, 0.1, 0.3], groups=[1, 1, 1, 2]), 4)
    0.8155

    References:
        McSherry and Najork, Computing information retrieval performance measures efficiently in
        the presence of tied scores, 2008.
    """
    rows = scored(labels, scores, weights, groups)
    return ndcg_of(rows, k)(rows.weights)


def mrr(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    k: int = 10,
) -> float:
    """Mean reciprocal rank of each group's first click, 0 where it is not among the first k rows.

    The rank of a click among rows of one score is the expected one in a random order of them.
    Groups without a click are left out.

    Args:
        labels, scores, groups, weights, k: as in `ndcg`.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `ndcg`.

    Example:

    >>> mrr([0, 1, 0, 1], [0.9, 0.5, 0.1, 0.3], groups=[1, 1, 1, 2])
    0.75
    """
    rows = scored(labels, scores, weights, groups)
    return mrr_of(rows, k)(rows.weights)


def recall(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    k: int = 10,
) -> float:
    """Share of a group's clicks among its first k rows, averaged over groups.

    Where rows of one score reach across rank k, it is the expected share in a random order of them.
    Groups without a click are left out.

    Args:
        labels, scores, groups, weights, k: as in `ndcg`.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `ndcg`.

    Example:

    >>> recall([0, 1, 0, 1], [0.9, 0.5, 0.1, 0.3], groups=[1, 1, 1, 2], k=1)
    0.5
    """
    rows = scored(labels, scores, weights, groups)
    return recall_of(rows, k)(rows.weights)


def group_counts(labels: ArrayLike, groups: ArrayLike) -> dict[str, int]:
    """How many groups there are, and how many rows and groups the metrics by group leave out.

    Args:
        labels, groups: as in `auc_by_group`.

    Returns:
        `groups`, `groups_of_one_class`, `groups_without_click` and `rows_without_group`.

    Example:

    >>> group_counts([1, 0, 1, 0, 1], [1.0, 1.0, 2.0, 3.0, float("nan")])
    {'groups': 3, 'groups_of_one_class': 2, 'groups_without_click': 1, 'rows_without_group': 1}
    """
    rows = scored(labels, labels, groups=groups)
    clicks, others = _sums(rows, rows.labels), _sums(rows, 1 - rows.labels)
    return {
        "groups": len(clicks),
        "groups_of_one_class": int(((clicks == 0) | (others == 0)).sum()),
        "groups_without_click": int((clicks == 0).sum()),
        "rows_without_group": int((_codes(rows) < 0).sum()),
    }


# The same as functions of the weights. A group's value is computed once, so these may differ from
# the weights of the rows by one factor for each group, as those of a resampling of groups do.


def auc_by_group_of(rows: Scored) -> Statistic:
    """AUC by group as a function of the weights."""
    aucs = _aucs(_Runs(rows), rows)
    _require_value(aucs, "AUC by group needs a group with both classes")
    return lambda weights: _mean(aucs, _sums(rows, weights))


def ndcg_of(rows: Scored, k: int) -> Statistic:
    """NDCG at k as a function of the weights."""
    return _mean_over_groups("NDCG", _ndcgs, rows, k)


def mrr_of(rows: Scored, k: int) -> Statistic:
    """MRR at k as a function of the weights."""
    return _mean_over_groups("MRR", _reciprocal_ranks, rows, k)


def recall_of(rows: Scored, k: int) -> Statistic:
    """Recall at k as a function of the weights."""
    return _mean_over_groups("recall", _recalls, rows, k)


def _mean_over_groups(metric: str, values: Values, rows: Scored, k: int) -> Statistic:
    if k < 1:
        raise ValueError(f"{metric} at k needs a k of 1 or more, got {k}")
    of_groups = values(_Runs(rows), k)
    _require_value(of_groups, f"{metric} needs a group with a click")
    sizes = _sums(rows, np.ones(len(rows.labels)))
    return lambda weights: _mean(of_groups, _sums(rows, weights) / sizes)


def _mean(values: Array, weights: Array) -> float:
    """Over the groups that have a value."""
    weights = np.where(np.isnan(values), 0, weights)
    total = weights.sum()
    return float(weights @ np.nan_to_num(values) / total) if total else np.nan


def _require_value(values: Array, needs: str) -> None:
    if np.isnan(values).all():
        raise ValueError(f"{needs}, and there is none among {len(values)}")


def _codes(rows: Scored) -> Array:
    assert rows.groups is not None
    return rows.groups


def _sums(rows: Scored, values: Array) -> Array:
    """Sums of the rows' values by group."""
    codes = _codes(rows)
    sums: Array = np.bincount(codes + 1, values, minlength=1)[1:]  # the first are of no group
    return sums


class _Runs:
    """Runs of equal scores in each group, from the highest on: rows within one have no order.

    Attributes:
        group: the run's group.
        start: number of its group's rows above it.
        size: number of its rows.
        clicks: number of its clicks.
    """

    def __init__(self, rows: Scored) -> None:
        codes = _codes(rows)
        self._order = rows.order_in_groups
        codes, scores = codes[self._order], rows.scores[self._order]
        self._first_rows = _starts((codes[1:] != codes[:-1]) | (scores[1:] != scores[:-1]))
        self.group = codes[self._first_rows]
        self._first_runs = _starts(self.group[1:] != self.group[:-1])
        self.size = np.diff(self._first_rows, append=len(codes))
        self.start = self.above(self.size)
        self.clicks = self.of_rows(rows.labels)

    def of_rows(self, values: Array) -> Array:
        """Sums of the rows' values by run."""
        sums: Array = np.add.reduceat(values[self._order], self._first_rows)
        return sums

    def above(self, values: Array) -> Array:
        """Sums of the runs' values above each run of its group."""
        before = np.cumsum(values) - values
        sums: Array = before - before[self._first_runs][self.group]
        return sums

    def of_groups(self, values: Array) -> Array:
        """Sums of the runs' values by group."""
        sums: Array = np.add.reduceat(values, self._first_runs)
        return sums


def _starts(differs: Array) -> Array:
    """Where runs start, given whether each element but the first differs from the one before."""
    return np.append(0, np.flatnonzero(differs) + 1)


def _aucs(runs: _Runs, rows: Scored) -> Array:
    clicks, others = (runs.of_rows(of * rows.weights) for of in (rows.labels, 1 - rows.labels))
    all_clicks, all_others = runs.of_groups(clicks), runs.of_groups(others)
    below = all_others[runs.group] - runs.above(others) - others
    return _divided(runs.of_groups(clicks * (below + others / 2)), all_clicks * all_others)


def _ndcgs(runs: _Runs, k: int) -> Array:
    discounts = 1 / np.log2(np.arange(2, min(k, runs.size.sum()) + 2))
    best = np.append(0, np.cumsum(discounts))  # with 0, 1, ..., k clicks on top
    last = len(discounts)
    ranked = best[np.minimum(runs.start + runs.size, last)] - best[np.minimum(runs.start, last)]
    gains = runs.of_groups(runs.clicks / runs.size * ranked)
    clicks = runs.of_groups(runs.clicks).astype(np.int64)
    return _divided(gains, best[np.minimum(clicks, last)])


def _reciprocal_ranks(runs: _Runs, k: int) -> Array:
    clicked = np.flatnonzero(runs.clicks)
    groups, first = np.unique(runs.group[clicked], return_index=True)
    first = clicked[first]
    # The least of c places drawn from m is at (m + 1) / (c + 1) on average.
    rank = runs.start[first] + (runs.size[first] + 1) / (runs.clicks[first] + 1)
    values = np.full(runs.group[-1] + 1, np.nan)
    values[groups] = np.where(rank <= k, 1 / rank, 0)
    return values


def _recalls(runs: _Runs, k: int) -> Array:
    shown = np.minimum(runs.start + runs.size, k) - np.minimum(runs.start, k)
    return _divided(runs.of_groups(runs.clicks / runs.size * shown), runs.of_groups(runs.clicks))


def _divided(values: Array, by: Array) -> Array:
    """NaN where it is divided by 0."""
    quotients: Array = np.divide(values, by, out=np.full(len(values), np.nan), where=by > 0)
    return quotients
