"""Settings of training and arguments of models, tuned by trials."""

from ctr_keras.tuning.config import TuneConfig
from ctr_keras.tuning.run import tune
from ctr_keras.tuning.spaces import Choice, Range, model_space, read_space

__all__ = ["Choice", "Range", "TuneConfig", "model_space", "read_space", "tune"]
