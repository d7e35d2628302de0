"""All metrics of scored rows at once."""

from typing import Any

from numpy.typing import ArrayLike

from ctr_keras.metrics.bootstrap import intervals, why_no_interval
from ctr_keras.metrics.named import OF_ROWS, of_groups, statistic_of
from ctr_keras.metrics.ranking import group_counts_of
from ctr_keras.metrics.scored import Scored, Statistic, scored, weighted_mean


def evaluate(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, float]:
    """All metrics that need no groups.

    Args:
        labels: array of 0 and 1, any shape.
        scores: array of probabilities of the same size.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.

    Returns:
        `auc`, `log_loss`, `calibration_ratio`, `normalized_entropy`, `pr_auc`,
        `expected_calibration_error`, `label_mean` and `rows`.

    Raises:
        ValueError: as `auc` and `log_loss`.

    Example:

    >>> evaluate([1, 0], [0.75, 0.25])["auc"]
    1.0
    """
    rows = scored(labels, scores, weights)
    values = {name: statistic_of(name, rows)(rows.weights) for name in OF_ROWS}
    return values | _counts(rows)


def report(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    *,
    k: int = 10,
    replicates: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """All metrics, also of rows for which some have no value, with intervals.

    Args:
        labels, scores, weights: as in `evaluate`.
        groups: array of the same size or None, as in `auc_by_group`. Defaults to `None`: no
            metrics by group.
        k: int. Rows of a group that NDCG, MRR and recall look at. Defaults to `10`.
        replicates: int. Of the bootstrap, by group where there are groups. Defaults to `0`: no
            intervals.
        seed: int. Of the bootstrap. Defaults to `0`.

    Returns:
        What `evaluate` returns, but None for a metric without a value. In addition, with groups
        `auc_by_group`, `ndcg_at_K`, `mrr_at_K`, `recall_at_K` and what `group_counts` returns;
        `undefined`, the reason for each None; with a bootstrap `intervals`, of 95%, and
        `no_interval`, the reason for each that is None.

    Raises:
        ValueError: for rows that are not in order, as labels that are not 0 or 1.

    Example:

    >>> result = report([1, 1], [0.75, 0.25])
    >>> result["auc"], result["undefined"]["auc"]
    (None, 'AUC needs both classes, got 2 clicks of 2')
    """
    rows = scored(labels, scores, weights, groups)
    names = [*OF_ROWS, *(of_groups(k) if groups is not None else ())]
    statistics: dict[str, Statistic] = {}
    undefined: dict[str, str] = {}
    for name in names:
        try:
            statistics[name] = statistic_of(name, rows)
        except ValueError as error:
            undefined[name] = str(error)
    values = {n: statistics[n](rows.weights) if n in statistics else None for n in names}
    counts = _counts(rows) | (group_counts_of(rows) if groups is not None else {})
    result: dict[str, Any] = values | counts | {"undefined": undefined}
    if replicates:
        found = intervals(rows, statistics, replicates, seed=seed)
        without = [name for name, interval in found.items() if interval is None]
        result["intervals"] = found
        result["no_interval"] = dict.fromkeys(without, why_no_interval(rows))
    return result


def _counts(rows: Scored) -> dict[str, float]:
    return {
        "label_mean": weighted_mean(rows.labels, rows.weights),
        "rows": len(rows.labels),
    }
