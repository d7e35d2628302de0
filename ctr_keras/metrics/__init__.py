"""Exact metrics of click predictions and of feature interactions, in NumPy.

`ctr_keras.metrics.streaming` has metrics for `model.compile`; it alone imports Keras.
"""

from ctr_keras.metrics.binary import auc, log_loss, normalized_entropy, pr_auc, rela_impr
from ctr_keras.metrics.bootstrap import PairedDifference, bootstrap_intervals, paired_bootstrap
from ctr_keras.metrics.calibration import (
    calibration_buckets,
    calibration_ratio,
    expected_calibration_error,
)
from ctr_keras.metrics.correlation import rank_correlation, ranks
from ctr_keras.metrics.interactions import field_codes, mutual_information, statistics_auc
from ctr_keras.metrics.ranking import auc_by_group, group_counts, mrr, ndcg, recall
from ctr_keras.metrics.report import evaluate, report

__all__ = [
    "PairedDifference",
    "auc",
    "auc_by_group",
    "bootstrap_intervals",
    "calibration_buckets",
    "calibration_ratio",
    "evaluate",
    "expected_calibration_error",
    "field_codes",
    "group_counts",
    "log_loss",
    "mrr",
    "mutual_information",
    "ndcg",
    "normalized_entropy",
    "paired_bootstrap",
    "pr_auc",
    "rank_correlation",
    "ranks",
    "recall",
    "rela_impr",
    "report",
    "statistics_auc",
]
