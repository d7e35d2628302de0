"""All that can be trained, by name: the models, and LightGBM."""

import dataclasses
from typing import Any

from ctr_keras import layers
from ctr_keras.descriptions import setting_lines
from ctr_keras.models import MODELS, ModelEntry, model_arguments
from ctr_keras.models.trees import boosted
from ctr_keras.runs import Optimization
from ctr_keras.settings import spelled
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.trees_config import TREES, TreesConfig
from ctr_keras.trees import BoostingSettings
from ctr_keras.types import Settings

_OF_A_RUN = ("data", "out", "model", "model_args")
_LIGHTGBM = ModelEntry(
    boosted,
    "gradient-boosted trees, grown by LightGBM",
    "Ke et al., NeurIPS 2017",
    "trees",
    crossed="left out; with crossed=true trees split on them",
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


def settings_by_group(name: str | None = None) -> dict[str, list[tuple[str, str]]]:
    """Settings with their defaults, and what each means, as they are shown to people.

    Args:
        name: str or None. A model, whose own arguments come first. Defaults to `None`: the settings
            of training alone.

    Example:

    >>> settings_by_group("LR")["Arguments of LR"][0]
    ('linear_l2=0.0', 'L2 penalty of the weights of the values that a batch reads, and of ...')
    """
    groups = {}
    if name is not None:
        name = spelled("model", name, trainable())
        of = TreesConfig if name == TREES else MODELS[name].build
        title = f"Settings of {name}" if name == TREES else f"Arguments of {name}"
        groups[title] = _lines(own_settings(name), of)
    if name != TREES:
        learning = {field.name for field in dataclasses.fields(Optimization)}
        settings = settings_of_training()
        own = {key: value for key, value in settings.items() if key not in learning}
        shared = {key: value for key, value in settings.items() if key in learning}
        groups["Settings of a run"] = _lines(own, TrainConfig)
        groups["How its weights learn"] = _lines(shared, Optimization)
    return groups


def _lines(settings: Settings, of: Any) -> list[tuple[str, str]]:
    known = {name: entry.build for name, entry in MODELS.items()}
    known |= {name: getattr(layers, name) for name in layers.__all__}
    known |= {kind.__name__: kind for kind in (TrainConfig, BoostingSettings)}
    return setting_lines(settings, of, known)


def _defaults(kind: Any) -> dict[str, Any]:
    return {
        field.name: {} if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
        if field.name not in _OF_A_RUN
    }
