"""Keras 3 layers and models for click-through-rate prediction."""

import importlib
import os
import pkgutil
from typing import TYPE_CHECKING, Any

from ctr_keras.version import __version__

if TYPE_CHECKING:
    import keras

__all__ = ["__version__", "load_model"]

# The rooms whose layers, optimizers, losses and metrics Keras knows once they are imported.
_REGISTERING = ("models", "optimizers", "runs", "metrics.streaming", "trees")


def __getattr__(name: str) -> Any:
    """The rooms, `ctr_keras.layers` and so on, are imported when they are first asked for."""
    if name in __dir__():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    rooms = [module.name for module in pkgutil.iter_modules(__path__)]
    return [*__all__, *(room for room in rooms if not room.startswith("_"))]


def load_model(path: str | os.PathLike[str], **options: Any) -> "keras.Model":
    """Loads a `.keras` file whose layers, optimizer, losses and metrics are of this library, in
    whatever process.

    `keras.saving.load_model` does so where the rooms that these are of have been imported.

    Args:
        path: str. The file, such as `model.keras` in the folder of a run.
        **options: as in `keras.saving.load_model`, such as `compile=False`.

    Example:

    >>> import tempfile
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import LR
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     LR(features).save(f"{folder}/model.keras")
    ...     load_model(f"{folder}/model.keras").name
    'LR'
    """
    import keras

    for room in _REGISTERING:
        importlib.import_module(f"{__name__}.{room}")
    return keras.saving.load_model(path, **options)
