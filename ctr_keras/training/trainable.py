"""All that can be trained, by name: the models, and LightGBM."""

import dataclasses
from typing import Any

from ctr_keras.models import MODELS, ModelEntry, model_arguments
from ctr_keras.models.trees import boosted
from ctr_keras.settings import spelled
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.trees_config import TREES, TreesConfig

_OF_A_RUN = ("data", "out", "model", "model_args")
_LIGHTGBM = ModelEntry(
    boosted,
    "gradient-boosted trees, grown by LightGBM",
    "Ke et al., NeurIPS 2017",
    "left out; with crossed=true trees split on them",
)


def trainable() -> dict[str, ModelEntry]:
    """What a run can train, by the name that stands for it in its settings.

    Example:

    >>> {"DeepFM", "LightGBM"} <= trainable().keys()
    True
    """
    return {**MODELS, TREES: _LIGHTGBM}


def own_settings(name: str) -> dict[str, Any]:
    """The arguments of a model, or the settings of LightGBM, with their defaults.

    Raises:
        ValueError: for an unknown name, with the closest or the available ones.

    Example:

    >>> own_settings("LR")["linear_l2"], own_settings("LightGBM")["num_leaves"]
    (0.0, 31)
    """
    if spelled("model", name, trainable()) == TREES:
        return _defaults(TreesConfig)
    return model_arguments(name)


def settings_of_training() -> dict[str, Any]:
    """The settings that runs of all models but LightGBM have, with their defaults.

    Example:

    >>> settings_of_training()["optimizer"], settings_of_training()["optimizer_args"]
    ('adam', {})
    """
    return _defaults(TrainConfig)


def _defaults(kind: Any) -> dict[str, Any]:
    return {
        field.name: {} if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
        if field.name not in _OF_A_RUN
    }
