"""Models: functional builders from a feature set to a `keras.Model`."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.models.autoint import AutoInt, AutoIntPlus

__all__ = ["MODELS", "AutoInt", "AutoIntPlus", "ModelEntry", "build_model", "model_arguments"]


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A model that the command line knows by name.

    Attributes:
        build: the builder.
        summary: one line.
        reference: where it is from.
    """

    build: Callable[..., keras.Model]
    summary: str
    reference: str


MODELS: dict[str, ModelEntry] = {
    "AutoInt": ModelEntry(
        AutoInt, "multi-head self-attention over fields", "Song et al., CIKM 2019, Section 4"
    ),
    "AutoIntPlus": ModelEntry(
        AutoIntPlus, "AutoInt beside a deep tower", "Song et al., CIKM 2019, Section 5.5"
    ),
}


def build_model(name: str, features: FeatureSet, **arguments: Any) -> keras.Model:
    """Builds a model by name.

    Args:
        name: str. A name in `MODELS`.
        features: FeatureSet.
        **arguments: the builder's.

    Raises:
        ValueError: for an unknown model or argument, naming it and what there is.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> build_model("AutoInt", features, layers=1).name
    'AutoInt'
    """
    known = model_arguments(name)
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"{name} has no argument {argument!r}; it takes {', '.join(known)}")
    return MODELS[name].build(features, **arguments)


def model_arguments(name: str) -> dict[str, Any]:
    """The arguments of a model's builder beside the features, with their defaults.

    Args:
        name: str. A name in `MODELS`.

    Raises:
        ValueError: for an unknown model, naming those there are.

    Example:

    >>> model_arguments("AutoInt")["heads"]
    2
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    parameters = inspect.signature(MODELS[name].build).parameters
    return {key: value.default for key, value in parameters.items() if key != "features"}
