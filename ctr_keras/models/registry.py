"""The models by name: each builder registers itself, in its own file."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.settings import did_you_mean, find

Builder = Callable[..., keras.Model]
_Builder = TypeVar("_Builder", bound=Builder)


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A model that the command line knows by name.

    Attributes:
        build: the builder.
        summary: one line.
        reference: where it is from.
    """

    build: Builder
    summary: str
    reference: str


MODELS: dict[str, ModelEntry] = {}


def register(summary: str, reference: str) -> Callable[[_Builder], _Builder]:
    """Decorates a builder: its model is in `MODELS` by the builder's name.

    Args:
        summary: str. One line.
        reference: str. The paper, and its section that describes the model.
    """

    def decorate(builder: _Builder) -> _Builder:
        MODELS[builder.__name__] = ModelEntry(builder, summary, reference)
        return builder

    return decorate


def build_model(name: str, features: FeatureSet, **arguments: Any) -> keras.Model:
    """Builds a model by name.

    Args:
        name: str. A name in `MODELS`.
        features: FeatureSet.
        **arguments: the builder's.

    Raises:
        ValueError: for an unknown model or argument, naming it and what is available.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> build_model("AutoInt", features, layers=1).name
    'AutoInt'
    """
    known = model_arguments(name)
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"{name} has no argument {argument!r}{did_you_mean(argument, known)}")
    return MODELS[name].build(features, **arguments)


def model_arguments(name: str) -> dict[str, Any]:
    """The arguments of a model's builder in addition to the features, with their defaults.

    Args:
        name: str. A name in `MODELS`.

    Raises:
        ValueError: for an unknown model, naming the closest or the available ones.

    Example:

    >>> model_arguments("AutoInt")["heads"]
    2
    """
    parameters = inspect.signature(find("model", name, MODELS).build).parameters
    return {key: value.default for key, value in parameters.items() if key != "features"}
