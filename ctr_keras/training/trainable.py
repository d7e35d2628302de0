"""All that can be trained, by name: the models, and LightGBM."""

import dataclasses
from typing import Any

from ctr_keras.models import MODELS, ModelEntry, model_arguments
from ctr_keras.models.trees import boosted
from ctr_keras.settings import find
from ctr_keras.training.trees_config import TREES, TreesConfig

_OF_A_RUN = ("data", "out", "model")
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
    find("model", name, trainable())
    if name != TREES:
        return model_arguments(name)
    fields = dataclasses.fields(TreesConfig)
    return {field.name: field.default for field in fields if field.name not in _OF_A_RUN}
