"""The built-in data sets, and those that a YAML file declares.

Their names cost nothing: Beam, and what a data set needs, is imported when one is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.datasets.base import Dataset

__all__ = ["DATASETS", "find_dataset"]


def _built_in(module: str, function: str) -> Callable[[], Dataset]:
    return lambda: getattr(importlib.import_module(f"{__name__}.{module}"), function)()


DATASETS: dict[str, Callable[[], Dataset]] = {
    "movielens-1m": _built_in("movielens", "movielens_1m"),
    "movielens-1m-history": _built_in("movielens", "movielens_1m_history"),
    "criteo": _built_in("criteo", "criteo"),
    "criteo-buckets": _built_in("criteo", "criteo_buckets"),
    "criteo-min-max": _built_in("criteo", "criteo_min_max"),
    "criteo-crossed": _built_in("criteo", "criteo_crossed"),
    "criteo-terabyte": _built_in("criteo", "criteo_terabyte"),
    "avazu": _built_in("avazu", "avazu"),
    "avazu-min-count": _built_in("avazu", "avazu_min_count"),
    "avazu-crossed": _built_in("avazu", "avazu_crossed"),
    "synthetic": _built_in("synthetic", "synthetic"),
}


def is_declared(name: str) -> bool:
    """Whether a data set's name is that of a YAML file."""
    return name.endswith((".yaml", ".yml"))


def find_dataset(name: str) -> Dataset:
    """A built-in data set by name, or one declared in a YAML file.

    Args:
        name: str. A name in `DATASETS`, or the path of a file ending in `.yaml` or `.yml`.

    Returns:
        The `pipeline.datasets.base.Dataset`.

    Raises:
        ValueError: for an unknown name or a wrong declaration, naming it.

    Example:

    >>> find_dataset("criteo").features.label.name
    'label'
    """
    if is_declared(name):
        from pipeline.datasets.declared import load_dataset

        return load_dataset(name)
    if name not in DATASETS:
        raise ValueError(
            f"unknown data set {name!r}; built in: {', '.join(DATASETS)}; your own is a YAML file"
        )
    return DATASETS[name]()
