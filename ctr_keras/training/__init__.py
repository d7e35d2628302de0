"""Training runs: configured, resumable, evaluated exactly."""

from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import evaluate_run, load_run, predict_split
from ctr_keras.training.run import train

__all__ = ["TrainConfig", "evaluate_run", "load_run", "predict_split", "train"]
