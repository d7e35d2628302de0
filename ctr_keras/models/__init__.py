"""Models: functional builders from a feature set to a `keras.Model`."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.models.attention import AutoInt, AutoIntPlus
from ctr_keras.models.factorization import FM, IPNN, DeepFM
from ctr_keras.models.memorized import FNN, OptInter, OptInterF, OptInterM
from ctr_keras.models.product import AIM
from ctr_keras.models.sequence import MIAN

__all__ = [
    "AIM",
    "FM",
    "FNN",
    "IPNN",
    "MIAN",
    "MODELS",
    "AutoInt",
    "AutoIntPlus",
    "DeepFM",
    "ModelEntry",
    "OptInter",
    "OptInterF",
    "OptInterM",
    "build_model",
    "model_arguments",
]


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
    "FM": ModelEntry(
        FM,
        "factorization machine; AutoFM with a plan",
        "Rendle, ICDM 2010; AutoFIS: Liu et al., KDD 2020, Section 3",
    ),
    "DeepFM": ModelEntry(
        DeepFM,
        "factorization machine beside a deep tower; AutoDeepFM with a plan",
        "Guo et al., IJCAI 2017; AutoFIS: Liu et al., KDD 2020, Section 3",
    ),
    "IPNN": ModelEntry(
        IPNN,
        "deep tower on embeddings and inner products; AutoIPNN with a plan",
        "Qu et al., ICDM 2016; AutoFIS: Liu et al., KDD 2020, Section 4.4",
    ),
    "FNN": ModelEntry(
        FNN,
        "deep tower on embeddings; OptInter's naive extreme",
        "Zhang et al., ECIR 2016; OptInter: Lyu et al., ICDE 2022, Section II-B",
    ),
    "AutoInt": ModelEntry(
        AutoInt, "multi-head self-attention over fields", "Song et al., CIKM 2019, Section 4"
    ),
    "AutoIntPlus": ModelEntry(
        AutoIntPlus, "AutoInt beside a deep tower", "Song et al., CIKM 2019, Section 5.5"
    ),
    "AIM": ModelEntry(
        AIM,
        "gated interactions by four functions beside a tower on their products",
        "Zhu et al., TKDE 2021, Section 4",
    ),
    "OptInter": ModelEntry(
        OptInter,
        "each pair memorized, factorized or left out; without a plan a mixture",
        "Lyu et al., ICDE 2022, Section II",
    ),
    "OptInterM": ModelEntry(
        OptInterM, "OptInter, all pairs memorized", "Lyu et al., ICDE 2022, Section III-A"
    ),
    "OptInterF": ModelEntry(
        OptInterF, "OptInter, all pairs factorized", "Lyu et al., ICDE 2022, Section III-A"
    ),
    "MIAN": ModelEntry(
        MIAN,
        "item with behaviours, user and context, then all with all",
        "Zhang et al., WSDM 2021, Section 3",
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
