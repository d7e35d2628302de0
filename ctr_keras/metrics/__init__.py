"""Exact metrics of click predictions and of feature interactions, in NumPy."""

from ctr_keras.metrics.binary import auc, calibration_ratio, evaluate, log_loss
from ctr_keras.metrics.interactions import field_codes, mutual_information, statistics_auc

__all__ = [
    "auc",
    "calibration_ratio",
    "evaluate",
    "field_codes",
    "log_loss",
    "mutual_information",
    "statistics_auc",
]
