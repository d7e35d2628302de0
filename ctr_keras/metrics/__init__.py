"""Exact metrics of click predictions, in NumPy."""

from ctr_keras.metrics.binary import auc, calibration_ratio, evaluate, log_loss

__all__ = ["auc", "calibration_ratio", "evaluate", "log_loss"]
