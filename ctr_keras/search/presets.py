"""The papers' settings of their searches, by method and data set.

A preset is the paper's table, completed from the authors' code and lists where the paper is silent.
What a preset does not name keeps its default.
"""

from collections.abc import Mapping
from typing import Any

from ctr_keras.settings import did_you_mean

Preset = Mapping[str, Any]

_TOWER = {"hidden": (700,) * 5, "normalization": "batch", "norm_order": "unscaled"}


def _autofis(base: str, dim: int, c: float, mu: float, **more: Any) -> Preset:
    """AutoFIS, Table 9 of its appendix; decays and the gates' rate from the authors' code."""
    tower = {} if base == "FM" else _TOWER
    return {"base": base, "dim": dim, "c": c, "mu": mu, **tower, **more}


def _aim(dim: int, **more: Any) -> Preset:
    """AIM; the pass has five parts, after each of which all rates fall to three quarters."""
    decays = {"learning_rate_decay": 0.75, "gate_learning_rate_decay": 0.75}
    return {"dim": dim, "gate_learning_rate": 0.1, "dims_c": 0.005, **decays, **more}


SEARCH_PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "autofis": {
        "avazu": _autofis("DeepFM", 40, 5e-4, 0.8, learning_rate_decay=0.7),
        "avazu-fm": _autofis("FM", 40, 5e-3, 0.6, gate_learning_rate_decay=0.6),
        "criteo": _autofis("DeepFM", 20, 5e-4, 0.8),
        "criteo-fm": _autofis("FM", 20, 5e-4, 0.8),
    },
    # The authors' list of parameters, which completes Table 3.
    "aim": {
        "avazu": _aim(40, c=0.05, mu=0.6, dims_mu=0.55, dims_learning_rate=1.0),
        "criteo": _aim(20, c=0.005, mu=0.9, dims_mu=0.51, dims_learning_rate=0.1),
    },
    # Table IV; the paper's temperature falls by 5e-5 a step.
    "optinter": {
        "criteo": {
            "dim": 20,
            "cross_dim": 10,
            "cross_l2": 3e-8,
            "hidden": (700,) * 5,
            "temperature_rate": 5e-5,
        },
        "avazu": {
            "dim": 40,
            "cross_dim": 4,
            "cross_l2": 3e-8,
            "hidden": (500,) * 5,
            "temperature_rate": 5e-5,
        },
        "ipinyou": {
            "dim": 20,
            "cross_dim": 4,
            "cross_l2": 3e-8,
            "hidden": (300,) * 3,
            "learning_rate": 1e-5,
            "gate_learning_rate": 1e-3,
            "temperature_rate": 5e-5,
        },
    },
}


def find_search_preset(method: str, name: str) -> Preset:
    """The paper's settings of a search for a data set.

    Args:
        method: str. `"autofis"`, `"aim"` or `"optinter"`.
        name: str. A data set's name; with `-fm` for AutoFIS on FM rather than DeepFM.

    Raises:
        ValueError: if there is none, naming those there are.

    Example:

    >>> find_search_preset("autofis", "avazu")["c"]
    0.0005
    """
    known = SEARCH_PRESETS.get(method, {})
    if name not in known:
        raise ValueError(f"{method} has no preset {name!r}{did_you_mean(name, known)}")
    return known[name]
