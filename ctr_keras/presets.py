"""The papers' settings of models and searches, by data set (`presets.yaml`)."""

import pathlib
from collections.abc import Mapping
from typing import TypeAlias

import yaml

from ctr_keras.settings import Source, did_you_mean
from ctr_keras.types import Settings

Presets: TypeAlias = Mapping[str, Mapping[str, Settings]]

_ALL = yaml.safe_load(pathlib.Path(__file__).with_name("presets.yaml").read_text("utf-8"))
PRESETS: Presets = _ALL["training"]
SEARCH_PRESETS: Presets = _ALL["search"]
_DEFAULT = "default"
# Where nothing is said, and as no paper does, networks whose tower has a penalty for what it learns
# by heart, and networks that embed numbers in buckets in their order.
PENALIZED = ("DeepFM", "IPNN", "DCNv2", "WideDeep", "xDeepFM", "FinalMLP")
IN_ORDER = (
    *("AutoInt", "AutoIntPlus", "DCN", "DCNv2", "DeepCrossing", "DeepFM", "FinalMLP", "FinalNet"),
    *("FNN", "GDCN", "IPNN", "MaskNet", "WideDeep", "xDeepFM"),
)


def find_preset(name: str, data: str) -> Settings:
    """The paper's settings of a model or a search for a data set.

    By networks that do otherwise by default, numbers in buckets are embedded each by itself, as
    papers do.

    Args:
        name: str. A model in `ctr_keras.models.MODELS`, or a search in `ctr_keras.search.SEARCHES`.
        data: str. A data set's name, with `-fm` for AutoFIS on FM rather than DeepFM; or
            `"default"`.

    Raises:
        ValueError: if there is none, naming those there are.

    Example:

    >>> find_preset("OptInter", "criteo")["cross_dim"]
    10
    >>> find_preset("autofis", "avazu")["c"]
    0.0005
    """
    presets = {**PRESETS, **SEARCH_PRESETS}.get(name, {})
    if not isinstance(data, str) or data not in presets:
        raise ValueError(f"{name} has no preset {data!r}{did_you_mean(data, presets)}")
    is_published = data != _DEFAULT
    numbers = {"numeric_embedding": "linear"} if is_published and name in IN_ORDER else {}
    return {**numbers, **presets[data]}


def default_preset(model: str, settings: Settings) -> str | None:
    """The name of the preset that is in force where no other is named, if a model has one.

    A model on a plan, whose interactions are normalized and weighed by gates, learns otherwise than
    without: it has no default of the other.

    Args:
        model: str. A name in `ctr_keras.models.MODELS`.
        settings: dict. Those that are given, arguments of the model among them or in `model_args`.

    Example:

    >>> default_preset("FM", {}), default_preset("DeepFM", {})
    ('default', None)
    >>> default_preset("FM", {"interactions": "plan.json"}) is None
    True
    """
    arguments = settings.get("model_args")
    given = {**settings, **arguments} if isinstance(arguments, Mapping) else settings
    has_own = _DEFAULT in PRESETS.get(model, {}) and not given.get("interactions")
    return _DEFAULT if has_own else None


def default_settings(model: str, settings: Settings) -> Settings:
    """What a model has by default that its builder and other models do not; nothing of most.

    Args:
        model: str. A name in `ctr_keras.models.MODELS`.
        settings: dict. As of `default_preset`.

    Example:

    >>> default_settings("LR", {}), default_settings("DeepFM", {})
    ({'learning_rate': 0.01}, {})
    """
    name = default_preset(model, settings)
    return find_preset(model, name) if name else {}


def with_preset(source: Source, model: str) -> Source:
    """The settings of a run over those of the preset that they name, or of the model's default.

    Args:
        source: Source.
        model: str. A name in `ctr_keras.models.MODELS`.

    Raises:
        ValueError: for a preset that the model has not.

    Example:

    >>> with_preset(Source({"epochs": 3}), "LR").values
    {'learning_rate': 0.01, 'epochs': 3}
    """
    default = default_preset(model, source.values)
    return source.with_preset(lambda name: find_preset(model, name), default)
