"""Self-attention over fields, alone and next to a deep tower: AutoInt, AutoInt+, DESTINE."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import DisentangledAttention, InteractingLayer, LinearLogit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    deep_logit,
    dense_logit,
    embed,
    field_inputs,
    kernel_penalty,
    own_or,
    probability,
    summed,
    tower,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count
from ctr_keras.types import Initializer, Tensor

# The authors draw their tower and last layers from N(0, 2 / (fan_in + fan_out)), not truncated,
# biases too; those of the last layers from N(0, 1). The paper says nothing of it.
_OFFICIAL = functools.partial(
    keras.initializers.VarianceScaling, 1.0, "fan_avg", "untruncated_normal"
)
_OFFICIAL_LAST_BIAS = functools.partial(keras.initializers.RandomNormal, stddev=1.0)


@register(
    "multi-head self-attention over fields", "Song et al., CIKM 2019, Section 4", family="fields"
)
def AutoInt(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    head_dim: Count = 32,
    heads: Count = 2,
    *,
    variant: str = "paper",
    residual: str = "projection",
    dropout: Dropout = 0.0,
    attention_dropout: Dropout | None = None,
    embedding_dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = None,
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
        residual: str. What is added to the heads: `"projection"` of the input, `"identity"` or
            `"none"`, the paper's ablation (see `InteractingLayer`). Defaults to `"projection"`.
        dropout: float. Share of attention weights, and of a tower's units, to drop in training.
            Defaults to `0.0`.
        attention_dropout: float or None. That of attention weights alone. Defaults to `None`:
            `dropout`.
        embedding_dropout: float. Share of embedding elements to drop. Defaults to `0.0`.
        embedding_l2: float. As in `FM`. Defaults to `0.0`.
        net_l2: float. L2 penalty of the kernels of attention, tower and logits, as in `DeepFM`.
            Defaults to `0.0`.
        embeddings_initializer: as in `FM`. Defaults to `None`: 0.01 as the authors have it if
            `variant` is `"official"`, else 0.0001: drawn wider, users and items of few rows are
            learned by heart before attention has learned what fields have in common.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

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
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 4, Equations 2 to 10; Section 5.3.1
        without the residual.
    """
    inputs = field_inputs(features)
    spread = _spread(embeddings_initializer, variant)
    embedded = embed(features, inputs, dim, spread, l2=embedding_l2)
    embedded = keras.layers.Dropout(embedding_dropout, name="embedding_dropout")(embedded)
    kind = {"head_dim": head_dim, "heads": heads, "variant": variant, "residual": residual}
    attended = _attended(embedded, layers, own_or(attention_dropout, dropout), net_l2, **kind)
    logit = _logit(attended, "logit", variant, net_l2)
    return CTRModel(inputs, probability(logit), name="AutoInt")


@register("AutoInt next to a deep tower", "Song et al., CIKM 2019, Section 5.5", family="fields")
def AutoIntPlus(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    head_dim: Count = 32,
    heads: Count = 2,
    *,
    variant: str = "paper",
    residual: str = "projection",
    dropout: Dropout = 0.0,
    attention_dropout: Dropout | None = None,
    embedding_dropout: Dropout = 0.0,
    hidden: Hidden = (200, 80),
    hidden_dropout: Dropout | None = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = None,
) -> keras.Model:
    """AutoInt+: AutoInt's logit plus that of a deep tower on the same embeddings.

    Args:
        features, dim, layers, head_dim, heads, variant, residual: as in `AutoInt`.
        dropout, attention_dropout, embedding_dropout: as in `AutoInt`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(200, 80)`.
        hidden_dropout: float or None. Share of the tower's units to drop; `None` for `dropout`.
            Defaults to `0.1`.
        normalization, norm_order: as in `DeepFM`. The paper has none.
        embedding_l2, net_l2, embeddings_initializer: as in `AutoInt`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

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
    inputs = field_inputs(features)
    spread = _spread(embeddings_initializer, variant)
    embedded = embed(features, inputs, dim, spread, l2=embedding_l2)
    embedded = keras.layers.Dropout(embedding_dropout, name="embedding_dropout")(embedded)
    kind = {"head_dim": head_dim, "heads": heads, "variant": variant, "residual": residual}
    attended = _attended(embedded, layers, own_or(attention_dropout, dropout), net_l2, **kind)
    attention_logit = _logit(attended, "attention_logit", variant, net_l2)
    deep = tower(
        embedded,
        hidden,
        own_or(hidden_dropout, dropout),
        normalization,
        norm_order,
        kernel_regularizer=kernel_penalty(net_l2),
        **_drawn(variant, _OFFICIAL),
    )
    logit = summed([attention_logit, _logit(deep, "deep_logit", variant, net_l2)])
    return CTRModel(inputs, probability(logit), name="AutoIntPlus")


@register(
    "self-attention in pairwise and unary parts", "Xu et al., CIKM 2021, Section 3", family="fields"
)
def DESTINE(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: Count = 2,
    units: Count = 32,
    heads: Count = 2,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    attention_dropout: Dropout = 0.0,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """DESTINE: attention of pairs of fields, less what each field says alone, next to a tower.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of attention layers. Defaults to `2`.
        units: int. Width of a layer, which the heads divide. Defaults to `32`.
        heads: int. Number of attention heads (see `DisentangledAttention`). Defaults to `2`.
        hidden, dropout, normalization, norm_order, net_l2, embeddings_initializer: as in `DeepFM`.
        attention_dropout: float. Share of attention weights to drop in training. Defaults to `0.0`.
        embedding_l2, linear_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `linear`, `attention_logit` and `deep_logit` add up to `logit`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> DESTINE(features, units=8).get_layer("disentangled_1").output.shape
    (None, 1, 8)

    References:
        [DESTINE](https://arxiv.org/abs/2101.03654), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"heads": heads, "attention_dropout": attention_dropout, **penalty}
    attended = fields
    for index in range(layers):
        layer = DisentangledAttention(units, **kind, name=f"disentangled_{index}")
        attended = layer(attended)
    flat = keras.layers.Flatten()(attended)
    logits = [
        LinearLogit(features, use_bias=False, l2=linear_l2, name="linear")(inputs),
        dense_logit(flat, "attention_logit", use_bias=False, **penalty),
        deep_logit(fields, hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="DESTINE")


def _spread(given: Initializer, variant: str) -> Initializer:
    if given is not None:
        return given
    return 0.01 if variant == "official" else 1e-4


def _attended(fields: Tensor, layers: int, dropout: float, l2: float, **kind: Any) -> Tensor:
    """What interacting layers of a kind, one after the other, make of the fields, side by side."""
    if layers < 0:
        raise ValueError(f"layers must not be negative. Received: {layers}")
    for index in range(layers):
        fields = InteractingLayer(
            **kind,
            attention_dropout=dropout,
            kernel_regularizer=kernel_penalty(l2),
            name=f"interacting_{index}",
        )(fields)
    return keras.layers.Flatten()(fields)


def _logit(vectors: Tensor, name: str, variant: str, l2: float) -> Tensor:
    penalty = kernel_penalty(l2)
    return dense_logit(
        vectors, name, kernel_regularizer=penalty, **_drawn(variant, _OFFICIAL_LAST_BIAS)
    )


def _drawn(variant: str, bias: Callable[[], Initializer]) -> dict[str, Initializer]:
    if variant != "official":
        return {}
    return {"kernel_initializer": _OFFICIAL(), "bias_initializer": bias()}
