"""What runs of training and of searching share: folders, checkpoints, rounds, how weights learn,
progress."""

from ctr_keras.runs.checkpoints import Checkpoints, State
from ctr_keras.runs.folder import (
    Row,
    check_same_data,
    check_same_settings,
    has_begun,
    held,
    kept_for,
    write_settings,
    write_table,
    write_whole,
)
from ctr_keras.runs.loggers import check_callbacks, make_callbacks
from ctr_keras.runs.losses import LabelsLoss, PairwiseLoss, SampledLoss, log_loss_metric
from ctr_keras.runs.optimization import Optimization, decayed, jit_setting
from ctr_keras.runs.progress import make_progress
from ctr_keras.runs.rounds import STATISTICS_ROWS, Objective, Rounds

__all__ = [
    "STATISTICS_ROWS",
    "Checkpoints",
    "LabelsLoss",
    "Objective",
    "Optimization",
    "PairwiseLoss",
    "Rounds",
    "Row",
    "SampledLoss",
    "State",
    "check_callbacks",
    "check_same_data",
    "check_same_settings",
    "decayed",
    "has_begun",
    "held",
    "jit_setting",
    "kept_for",
    "log_loss_metric",
    "make_callbacks",
    "make_progress",
    "write_settings",
    "write_table",
    "write_whole",
]
