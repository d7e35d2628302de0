"""Metrics for `model.compile`, on every backend: `metrics=[...]` or `weighted_metrics=[...]`.

Sums are exact; what needs all scores in order is taken from a fine histogram, and says how far off
it may be. Metrics by group need all rows of a group together, which no batch has: `ExactValidation`
computes them after each epoch.
"""

from ctr_keras.metrics.streaming.calibration import CalibrationRatio, ExpectedCalibrationError
from ctr_keras.metrics.streaming.curves import AUC, PRAUC, RelaImpr
from ctr_keras.metrics.streaming.entropy import LogLoss, NormalizedEntropy
from ctr_keras.metrics.streaming.validation import ExactValidation

__all__ = [
    "AUC",
    "PRAUC",
    "CalibrationRatio",
    "ExactValidation",
    "ExpectedCalibrationError",
    "LogLoss",
    "NormalizedEntropy",
    "RelaImpr",
]
