"""AutoInt and AutoInt+: self-attention over fields, alone and next to a deep tower."""

import functools
from collections.abc import Callable

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import InteractingLayer
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import dense_logit, embed, field_inputs, probability, summed, tower
from ctr_keras.models.registry import register
from ctr_keras.types import Hidden, Initializer, Tensor

# The authors draw their tower and last layers from N(0, 2 / (fan_in + fan_out)), not truncated,
# biases too; those of the last layers from N(0, 1). The paper says nothing of it.
_OFFICIAL = functools.partial(
    keras.initializers.VarianceScaling, 1.0, "fan_avg", "untruncated_normal"
)
_OFFICIAL_LAST_BIAS = functools.partial(keras.initializers.RandomNormal, stddev=1.0)


@register("multi-head self-attention over fields", "Song et al., CIKM 2019, Section 4")
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
        check_ids: bool. As in `FM`. Defaults to `False`.

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
    logit = _logit(keras.layers.Flatten()(fields), "logit", variant)
    return CTRModel(inputs, probability(logit), name="AutoInt")


@register("AutoInt next to a deep tower", "Song et al., CIKM 2019, Section 5.5")
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
    hidden: Hidden = (400, 400),
    hidden_dropout: float = 0.0,
) -> keras.Model:
    """AutoInt+: AutoInt's logit plus that of a deep tower on the same embeddings.

    Args:
        features, dim, layers, head_dim, heads, variant, attention_dropout, embedding_dropout: as in
            `AutoInt`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400)`.
        hidden_dropout: float. Share of the tower's units to drop. Defaults to `0.0`.
        check_ids: bool. As in `FM`. Defaults to `False`.

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
    attention_logit = _logit(keras.layers.Flatten()(fields), "attention_logit", variant)
    deep = tower(embedded, hidden, hidden_dropout, **_drawn(variant, _OFFICIAL))
    logit = summed([attention_logit, _logit(deep, "deep_logit", variant)])
    return CTRModel(inputs, probability(logit), name="AutoIntPlus")


def _embed(features: FeatureSet, dim: int, dropout: float) -> tuple[dict[str, Tensor], Tensor]:
    inputs = field_inputs(features)
    embedded = embed(features, inputs, dim)
    return inputs, keras.layers.Dropout(dropout, name="embedding_dropout")(embedded)


def _interact(
    fields: Tensor, layers: int, head_dim: int, heads: int, variant: str, attention_dropout: float
) -> Tensor:
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


def _logit(vectors: Tensor, name: str, variant: str) -> Tensor:
    return dense_logit(vectors, name, **_drawn(variant, _OFFICIAL_LAST_BIAS))


def _drawn(variant: str, bias: Callable[[], Initializer]) -> dict[str, Initializer]:
    if variant != "official":
        return {}
    return {"kernel_initializer": _OFFICIAL(), "bias_initializer": bias()}
