"""AutoInt and AutoInt+: self-attention over fields, alone and beside a deep tower."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import MLP, FieldEmbedding, InteractingLayer
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import field_inputs, probability, summed

# N(0, 2 / (fan_in + fan_out)), not truncated, as the authors draw their last layers and the tower.
_OFFICIAL_DENSE = keras.initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")


def AutoInt(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: int = 16,
    layers: int = 3,
    head_dim: int = 32,
    heads: int = 2,
    *,
    variant: str = "paper",
    attention_dropout: float = 0.0,
    embedding_dropout: float = 0.0,
) -> keras.Model:
    """AutoInt: interacting layers on the fields' embeddings, and a linear logit on their outputs.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of interacting layers; 0 is logistic regression on the embeddings.
            Defaults to `3`.
        head_dim: int. Width of an attention head. Defaults to `32`.
        heads: int. Number of attention heads. Defaults to `2`.
        variant: str. `"paper"` for the equations, `"official"` for the authors' code (see
            `InteractingLayer`), its initializers included. Defaults to `"paper"`.
        attention_dropout: float. Share of attention weights to drop. Defaults to `0.0`.
        embedding_dropout: float. Share of embedding elements to drop. Defaults to `0.0`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `logit` and `score` hold the end, `interacting_0`, ... the attention.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> AutoInt(features).output_shape
    (None, 1)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 4, Equations 2 to 10.
    """
    inputs, embedded = _embed(features, dim, embedding_dropout)
    fields = _interact(embedded, layers, head_dim, heads, variant, attention_dropout)
    logit = _linear(variant, "logit")(keras.layers.Flatten()(fields))
    return CTRModel(inputs, probability(logit), name="AutoInt")


def AutoIntPlus(  # noqa: N802
    features: FeatureSet,
    dim: int = 16,
    layers: int = 3,
    head_dim: int = 32,
    heads: int = 2,
    *,
    variant: str = "paper",
    attention_dropout: float = 0.0,
    embedding_dropout: float = 0.0,
    hidden: Sequence[int] = (400, 400),
    hidden_dropout: float = 0.0,
) -> keras.Model:
    """AutoInt+: AutoInt's logit plus that of a deep tower on the same embeddings.

    Args:
        features, dim, layers, head_dim, heads, variant, attention_dropout, embedding_dropout: as in
            `AutoInt`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400)`.
        hidden_dropout: float. Share of the tower's units to drop. Defaults to `0.0`.

    Returns:
        A model as `AutoInt`; its layers `attention_logit` and `deep_logit` add up to `logit`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> AutoIntPlus(features, hidden=[8]).get_layer("deep_logit").count_params()
    9

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 5.5.
    """
    inputs, embedded = _embed(features, dim, embedding_dropout)
    fields = _interact(embedded, layers, head_dim, heads, variant, attention_dropout)
    attention_logit = _linear(variant, "attention_logit")(keras.layers.Flatten()(fields))
    tower = _tower(hidden, hidden_dropout, variant)(keras.layers.Flatten()(embedded))
    deep_logit = _linear(variant, "deep_logit")(tower)
    logit = summed([attention_logit, deep_logit])
    return CTRModel(inputs, probability(logit), name="AutoIntPlus")


def _embed(features: FeatureSet, dim: int, dropout: float) -> tuple[dict[str, Any], Any]:
    inputs = field_inputs(features)
    embedded = FieldEmbedding(features, dim, name="embedding")(inputs)
    return inputs, keras.layers.Dropout(dropout, name="embedding_dropout")(embedded)


def _interact(
    fields: Any, layers: int, head_dim: int, heads: int, variant: str, attention_dropout: float
) -> Any:
    if layers < 0:
        raise ValueError(f"layers must not be negative. Received: {layers}")
    for index in range(layers):
        fields = InteractingLayer(
            head_dim,
            heads,
            variant=variant,
            attention_dropout=attention_dropout,
            name=f"interacting_{index}",
        )(fields)
    return fields


def _tower(hidden: Sequence[int], dropout: float, variant: str) -> MLP:
    """The authors draw the biases as widely as the kernels; the paper says nothing of it."""
    drawn = {
        "kernel_initializer": _OFFICIAL_DENSE.clone(),
        "bias_initializer": _OFFICIAL_DENSE.clone(),
    }
    return MLP(hidden, dropout=dropout, name="deep", **(drawn if variant == "official" else {}))


def _linear(variant: str, name: str) -> keras.layers.Layer:
    """The last layer, in float32 whatever the policy. The authors draw its bias, too."""
    is_official = variant == "official"
    return keras.layers.Dense(
        1,
        kernel_initializer=_OFFICIAL_DENSE.clone() if is_official else "glorot_uniform",
        bias_initializer=keras.initializers.RandomNormal(stddev=1.0) if is_official else "zeros",
        dtype="float32",
        name=name,
    )
