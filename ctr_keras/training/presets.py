"""The papers' hyper-parameters, by model and data set: settings and model arguments alike.

A preset is the paper's table, completed from the authors' code where the paper is silent. The data
sets are the papers': AutoFIS and AIM take Criteo to be its terabyte log, AutoInt and OptInter the
Kaggle one. What a preset does not name keeps its default.
"""

from collections.abc import Mapping
from typing import Any

from ctr_keras.settings import did_you_mean

Preset = Mapping[str, Any]


def _autoint(**more: Any) -> Preset:
    """AutoInt, Section 5.1.4; the authors' code made the published numbers."""
    common = {"variant": "official", "dim": 16, "layers": 3, "head_dim": 32, "heads": 2}
    return {"batch_size": 1024, "learning_rate": 1e-3, **common, **more}


def _autofis(dim: int, *, deep: bool, **more: Any) -> Preset:
    """AutoFIS, Table 9 of its appendix: one pass, batches of 2,000."""
    tower = {"hidden": (700,) * 5, "normalization": "batch", "norm_order": "unscaled"}
    settings = {"batch_size": 2000, "learning_rate": 1e-3, "epochs": 1, "dim": dim}
    return {**settings, **(tower if deep else {}), **more}


def _optinter_baseline(dim: int, hidden: tuple[int, ...], **more: Any) -> Preset:
    """OptInter, Table IV: the baselines' rows."""
    tower = {"hidden": hidden, "normalization": "layer", "norm_order": "before"}
    return {"batch_size": 2000, "learning_rate": 5e-4, "dim": dim, **tower, **more}


def _optinter(dim: int, cross_dim: int, hidden: tuple[int, ...], **more: Any) -> Preset:
    """OptInter, Table IV: its own rows."""
    widths = {"dim": dim, "cross_dim": cross_dim, "hidden": hidden, "cross_l2": 3e-8}
    return {"batch_size": 2000, "learning_rate": 1e-4, **widths, **more}


_MOVIELENS = {"attention_dropout": 0.4, "embedding_dropout": 0.1, "epochs": 50}
_AUTOINT = {
    "criteo": _autoint(epochs=3),
    "avazu": _autoint(epochs=1),
    "kdd12": _autoint(epochs=1),
    "movielens-1m": _autoint(**_MOVIELENS),
}
_OPTINTER = {
    "criteo": _optinter(20, 10, (700,) * 5),
    "avazu": _optinter(40, 4, (500,) * 5),
    # Table IV says cross_dim 2; the parameters of Table V fit 4.
    "ipinyou": _optinter(20, 4, (300,) * 3, learning_rate=1e-5),
}
_BASELINE = {
    "criteo": _optinter_baseline(20, (700,) * 5),
    "avazu": _optinter_baseline(40, (500,) * 5),
    "ipinyou": _optinter_baseline(20, (300,) * 3, learning_rate=1e-5, epsilon=1e-4),
}
# Section 4.3; all three data sets have the same.
_MIAN = {
    "batch_size": 128,
    "learning_rate": 1e-3,
    "heads": 8,
    "hidden": (32, 8),
    "dropout": 0.2,
    "l2": 1e-3,
}

PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "FM": {"criteo": _autofis(20, deep=False), "avazu": _autofis(40, deep=False)},
    "DeepFM": {
        "criteo": _autofis(20, deep=True),
        "avazu": _autofis(40, deep=True),
        "optinter-criteo": _BASELINE["criteo"],
        "optinter-avazu": _BASELINE["avazu"],
        "ipinyou": _BASELINE["ipinyou"],
    },
    "IPNN": {
        "criteo": _autofis(20, deep=True),
        "avazu": _autofis(40, deep=True),
        "optinter-criteo": _BASELINE["criteo"],
        "optinter-avazu": _BASELINE["avazu"],
        "ipinyou": _BASELINE["ipinyou"],
    },
    "FNN": _BASELINE,
    "AutoInt": _AUTOINT,
    "AutoIntPlus": {name: {**preset, "hidden": (400, 400)} for name, preset in _AUTOINT.items()},
    "AIM": {"criteo": _autofis(20, deep=True), "avazu": _autofis(40, deep=True)},
    "OptInter": _OPTINTER,
    "OptInterM": _OPTINTER,
    "OptInterF": _OPTINTER,
    "MIAN": {"books": _MIAN, "electronics": _MIAN, "commercial": _MIAN},
}


def find_preset(model: str, name: str) -> Preset:
    """The paper's settings of a model for a data set.

    Args:
        model: str. A name in `ctr_keras.models.MODELS`.
        name: str. A data set's name.

    Raises:
        ValueError: if there is none, naming those there are.

    Example:

    >>> find_preset("OptInter", "criteo")["cross_dim"]
    10
    """
    known = PRESETS.get(model, {})
    if name not in known:
        raise ValueError(f"{model} has no preset {name!r}{did_you_mean(name, known)}")
    return known[name]
