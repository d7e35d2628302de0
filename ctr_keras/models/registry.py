"""The models by name: each builder registers itself, in its own file."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, cast

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers import embedding_numbers
from ctr_keras.layers.base import plain_numbers
from ctr_keras.settings import SettingError, checked, did_you_mean, find
from ctr_keras.types import Settings

Builder = Callable[..., keras.Model]
_Builder = TypeVar("_Builder", bound=Builder)
Family = Literal[
    "linear",
    "factorization",
    "deep",
    "products",
    "crosses",
    "fields",
    "powers",
    "memorized",
    "sequences",
    "trees",
    "labels",
]
Need = Literal["two fields", "crossed features", "groups", "sequences", "several labels"]
# What a feature set has that a model may need; of groups models say themselves what is missing.
_HAS: dict[Need, Callable[[FeatureSet], bool]] = {
    "two fields": lambda features: len(features.fields) > 1,
    "crossed features": lambda features: bool(features.crossed),
    "sequences": lambda features: bool(features.sequences),
    "several labels": lambda features: len(features.tasks) > 1,
}


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A model that the command line knows by name.

    Attributes:
        build: the builder.
        summary: one line.
        reference: where it is from.
        family: the models that it is listed with.
        needs: what a feature set must have for it.
        crossed: what it does with crossed features.
    """

    build: Builder
    summary: str
    reference: str
    family: Family
    needs: tuple[Need, ...] = ()
    crossed: str = "left out; with crossed=true embedded as fields"


MODELS: dict[str, ModelEntry] = {}


HOW_TO_CROSS = "declare Crossed features, or all pairs by `ctr-keras prepare --cross-min-count 5`"


def _extra(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_WITHOUT_EMBEDDINGS = ("linear", "trees")  # families that have none of numbers
# Arguments that builders have beside their own.
_EXTRA = (
    _extra("check_ids", False, bool),
    _extra("numeric_embedding", "linear", Literal["linear", "periodic", "autodis", "ordered"]),
    _extra("crossed", False, bool),
)


def register(
    summary: str,
    reference: str,
    *,
    family: Family,
    needs: tuple[Need, ...] = (),
    crossed: str | None = None,
) -> Callable[[_Builder], _Builder]:
    """Decorates a builder: its model is in `MODELS` by the builder's name.

    It takes numbers of NumPy, and three arguments more: `check_ids`, which goes to all layers of
    the model that have it; `numeric_embedding`, with which `FieldEmbedding` embeds numbers; and
    `crossed`, without which the builder is given no crossed features. A feature set that lacks what
    the model needs is refused.

    Args:
        summary: str. One line.
        reference: str. The paper, and its section that describes the model.
        family: str. The models that it is listed with.
        needs: tuple of str. What a feature set must have. Defaults to `()`.
        crossed: str or None. What the model does with crossed features where it has a way of its
            own: it is then given them, and has no argument `crossed`. Defaults to `None`.
    """

    def decorate(builder: _Builder) -> _Builder:
        @functools.wraps(builder)
        def build(
            features: FeatureSet,
            *positional: Any,
            check_ids: bool = False,
            numeric_embedding: str = "linear",
            **named: Any,
        ) -> keras.Model:
            positional, named = plain_numbers((positional, named))
            if crossed is None and not named.pop("crossed", False):
                features = features.without_crossed()
            _check_has(builder.__name__, needs, features)
            check_labels(builder.__name__, features)
            if numeric_embedding == "linear":  # or as the builder says that this one is called by
                model = builder(features, *positional, **named)
            else:
                with embedding_numbers(numeric_embedding):
                    model = builder(features, *positional, **named)
                _check_embeds_numbers(model, numeric_embedding)
            for layer in flat_layers(model) if check_ids else ():
                if hasattr(layer, "check_ids"):
                    layer.check_ids = True
            return model

        left_out = ["numeric_embedding"] if family in _WITHOUT_EMBEDDINGS else []
        left_out += [] if crossed is None else ["crossed"]
        extra = [parameter for parameter in _EXTRA if parameter.name not in left_out]
        build.__signature__ = _with(inspect.signature(builder), extra)  # type: ignore[attr-defined]
        treatment = {} if crossed is None else {"crossed": crossed}
        entry = ModelEntry(build, summary, reference, family, needs, **treatment)
        MODELS[builder.__name__] = entry
        return cast(_Builder, build)

    return decorate


def _check_has(model: str, needs: Iterable[Need], features: FeatureSet) -> None:
    """Checks that a feature set has what a model needs."""
    for need in needs:
        if need in _HAS and not _HAS[need](features):
            has = "no more than one" if need in ("two fields", "several labels") else "none"
            how = f": {HOW_TO_CROSS}" if need == "crossed features" else ""
            raise ValueError(f"{model} needs {need}, and the feature set has {has}{how}")


def check_labels(model: str, features: FeatureSet) -> None:
    """Checks that a model predicts as many labels as a feature set has.

    Raises:
        ValueError: naming the labels, and the models that predict them all.
    """
    several = [name for name, entry in MODELS.items() if entry.family == "labels"]
    if len(features.tasks) > 1 and model not in several:
        raise ValueError(
            f"{model} predicts one label, and the feature set has "
            f"{', '.join(features.label_names)}: choose one, as in labels=[{features.label.name}], "
            f"or take a model of several, {', '.join(several)}"
        )


def _check_embeds_numbers(model: keras.Model, numeric_embedding: str) -> None:
    """Checks that a model embeds numbers that it is said how to embed."""
    if not any(getattr(layer, "number_layers", ()) for layer in flat_layers(model)):
        numbers = "numbers in buckets" if numeric_embedding == "ordered" else "numbers"
        raise ValueError(
            f"{model.name} embeds no {numbers} here: numeric_embedding={numeric_embedding} is for "
            "these"
        )


def _with(signature: inspect.Signature, extra: Iterable[inspect.Parameter]) -> inspect.Signature:
    parameters = {**signature.parameters, **{parameter.name: parameter for parameter in extra}}
    return signature.replace(parameters=[*parameters.values()])


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
    builder = find("model", name, MODELS).build
    for argument in arguments:
        _check_known(name, argument)
    return builder(features, **arguments)


def check_arguments(name: str, arguments: Settings) -> None:
    """Checks that arguments are those of a model's builder, of the types that it says.

    Args:
        name: str. A name in `MODELS`.
        arguments: dict.

    Raises:
        SettingError: for the first that is unknown or wrong.

    Example:

    >>> check_arguments("AutoInt", {"heads": "two"})
    Traceback (most recent call last):
    ctr_keras.settings.SettingError: heads must be an integer, got 'two'
    """
    for argument, value in plain_numbers(arguments).items():
        _check_known(name, argument)
        checked(argument, value, _parameters(name)[argument].annotation)


def _check_known(name: str, argument: str) -> None:
    known = model_arguments(name)
    if argument not in known:
        message = f"{name} has no argument {argument!r}{did_you_mean(argument, known)}"
        raise SettingError(message, argument)


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
    return {key: value.default for key, value in _parameters(name).items() if key != "features"}


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(find("model", name, MODELS).build).parameters
