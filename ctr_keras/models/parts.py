"""What models are put together from: inputs, embeddings, towers, logits, the score."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import MLP, FieldEmbedding, GatedEmbedding, feature_inputs
from ctr_keras.models.arguments import Hidden
from ctr_keras.types import Initializer, Inputs, Regularizer, Settings, Tensor

PART_SCALER = "part_scaler"  # so the layers are called, each with its number


def field_inputs(features: FeatureSet) -> dict[str, Tensor]:
    """The packed inputs that hold fields which are read: no sequences.

    Example:

    >>> from ctr_keras.features import Categorical, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("a"), Sequence("s", vocabulary_of="a"), label=Label("y")
    ... )
    >>> list(field_inputs(features))
    ['categorical']
    """
    read = set(features.fields)
    held = features.packed_features
    return {k: v for k, v in feature_inputs(features).items() if read.intersection(held[k])}


def embed(
    features: FeatureSet,
    inputs: Inputs,
    dim: int,
    initializer: Initializer = None,
    name: str = "embedding",
    dropout: float = 0.0,
    gates: Settings | None = None,
    **options: Any,
) -> Tensor:
    """The fields' embeddings, `(batch, fields, dim)`, from a `FieldEmbedding` of this name.

    `dropout` is the share of their elements to drop in training; with `gates`, arguments of a
    `GatedEmbedding`, it is one of these; the options are the layer's.
    """
    kind = FieldEmbedding if gates is None else GatedEmbedding
    options |= gates or {}
    layer = kind(features, dim, embeddings_initializer=initializer, name=name, **options)
    fields = layer(inputs)
    return keras.layers.Dropout(dropout, name=f"dropped_{name}")(fields) if dropout else fields


def tower(
    inputs: Tensor,
    hidden: Hidden,
    dropout: float = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    name: str = "deep",
    **weights: Any,
) -> Tensor:
    """A deep tower on vectors, or on all fields' side by side: `(batch, hidden[-1])`.

    It is a layer of this name. `weights` are the initializers and regularizers of `MLP`.
    """
    if len(inputs.shape) > 2:
        inputs = keras.layers.Flatten()(inputs)
    layer = MLP(
        hidden,
        dropout=dropout,
        normalization=normalization,
        order=norm_order,
        name=name,
        **weights,
    )
    return layer(inputs)


def dense_logit(inputs: Tensor, name: str = "logit", units: int = 1, **weights: Any) -> Tensor:
    """A logit of vectors, `(batch, units)` in float32 whatever the policy."""
    return keras.layers.Dense(units, dtype="float32", name=name, **weights)(inputs)


def deep_logit(
    inputs: Tensor,
    hidden: Hidden,
    dropout: float,
    normalization: str | None,
    norm_order: str,
    l2: float,
    name: str = "deep_logit",
    tower_name: str = "deep",
) -> Tensor:
    """The logit of a deep tower on vectors, or on all fields' side by side, from a layer `name`."""
    penalty = {"kernel_regularizer": kernel_penalty(l2)}
    deep = tower(inputs, hidden, dropout, normalization, norm_order, tower_name, **penalty)
    return dense_logit(deep, name, **penalty)


def kernel_penalty(l2: float) -> Regularizer:
    """A kernel's penalty `l2 * sum of w^2`, none for 0.

    Example:

    >>> kernel_penalty(0.0), float(kernel_penalty(0.1).l2)
    (None, 0.1)
    """
    return keras.regularizers.L2(l2) if l2 else None


def own_or(own: float | None, general: float) -> float:
    """A part's own rate or penalty, or that of the whole model where it has none.

    Example:

    >>> own_or(None, 0.2), own_or(0.0, 0.2)
    (0.2, 0.0)
    """
    return general if own is None else own


def summed(logits: Sequence[Tensor]) -> Tensor:
    """The sum of a model's logits `(batch, 1)` in float32, from a layer `logit`."""
    if len(logits) == 1:
        return keras.layers.Activation("linear", dtype="float32", name="logit")(logits[0])
    return keras.layers.Add(dtype="float32", name="logit")(list(logits))


def scaled(logits: Sequence[Tensor]) -> list[Tensor]:
    """Each times one learned factor, drawn as AIM's authors draw a variable of shape (1,)."""
    bound = 6**0.5

    def factor(place: int) -> keras.layers.Layer:
        spread = keras.initializers.RandomUniform(-bound, bound)
        name = f"{PART_SCALER}_{place}"
        return keras.layers.Dense(1, use_bias=False, kernel_initializer=spread, name=name)

    return [factor(place)(logit) for place, logit in enumerate(logits)]


def joined(parts: Sequence[Tensor], name: str | None = None) -> Tensor:
    """Vectors side by side, `(batch, sum of widths)`."""
    if len(parts) == 1:
        return parts[0]
    return keras.layers.Concatenate(name=name)(list(parts))


def probability(logit: Tensor) -> Tensor:
    """The click probability of a logit `(batch, 1)` in float32, from a layer `score`."""
    return keras.layers.Activation("sigmoid", dtype="float32", name="score")(logit)
