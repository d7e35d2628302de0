"""Metrics by their names."""

from collections.abc import Callable

from ctr_keras.metrics import binary, calibration, ranking
from ctr_keras.metrics.scored import Scored, Statistic

OF_ROWS: dict[str, Callable[[Scored], Statistic]] = {
    "auc": binary.auc_of,
    "log_loss": binary.log_loss_of,
    "calibration_ratio": calibration.calibration_ratio_of,
    "normalized_entropy": binary.normalized_entropy_of,
    "pr_auc": binary.pr_auc_of,
    "expected_calibration_error": calibration.expected_calibration_error_of,
}
AT_K: dict[str, Callable[[Scored, int], Statistic]] = {
    "ndcg": ranking.ndcg_of,
    "mrr": ranking.mrr_of,
    "recall": ranking.recall_of,
}


def of_groups(k: int) -> list[str]:
    """Names of the metrics by group."""
    return ["auc_by_group", *(f"{name}_at_{k}" for name in AT_K)]


def statistic_of(metric: str, rows: Scored) -> Statistic:
    """A metric as a function of the weights.

    Raises:
        ValueError: for an unknown name, and for rows for which the metric has no value.
    """
    if metric in OF_ROWS:
        return OF_ROWS[metric](rows)
    name, _, k = metric.partition("_at_")
    if metric != "auc_by_group" and not (name in AT_K and k.isdecimal()):
        known = [*OF_ROWS, "auc_by_group", *(f"{name}_at_K" for name in AT_K)]
        raise ValueError(f"unknown metric {metric!r}; available: {', '.join(known)}")
    if rows.groups is None:
        raise ValueError(f"{metric} needs groups")
    return AT_K[name](rows, int(k)) if k else ranking.auc_by_group_of(rows)
