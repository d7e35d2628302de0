"""Training runs: configured, resumable, evaluated exactly."""

from ctr_keras.outlines import TREES
from ctr_keras.presets import PRESETS, find_preset
from ctr_keras.runs import Optimization
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import evaluate_run, load_run, predict_split
from ctr_keras.training.run import train
from ctr_keras.training.stopped import how_it_stands
from ctr_keras.training.tables import evaluation_table
from ctr_keras.training.trees_config import TreesConfig, read_config

__all__ = [
    "PRESETS",
    "TREES",
    "Optimization",
    "TrainConfig",
    "TreesConfig",
    "evaluate_run",
    "evaluation_table",
    "find_preset",
    "how_it_stands",
    "load_run",
    "predict_split",
    "read_config",
    "train",
]
