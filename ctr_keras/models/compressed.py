"""The compressed interaction network, alone (CIN) and in xDeepFM."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import CompressedInteraction, LinearLogit
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    deep_logit,
    dense_logit,
    embed,
    field_inputs,
    kernel_penalty,
    probability,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "compressed interaction network alone", "Lian et al., KDD 2018, Section 3.1", family="crosses"
)
def CIN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    maps: Hidden = (100, 100),
    *,
    split_half: bool = True,
    activation: str = "linear",
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Compressed interaction network: a logit of feature maps, an order more each layer.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        maps: list of int. Number of maps of each layer. Defaults to `(100, 100)`.
        split_half: bool. See `CompressedInteraction`. Defaults to `True`.
        activation: str. Of the maps. Defaults to `"linear"`.
        dropout, embedding_l2, embeddings_initializer: as in `FM`.
        net_l2: float. L2 penalty of the kernels of maps and logit, as in `DeepFM`. Defaults to
            `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `compressed` is the network.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> CIN(features, maps=[8, 6]).get_layer("compressed").output.shape  # half of 8, and 6
    (None, 10)

    References:
        [xDeepFM](https://arxiv.org/abs/1803.05170), Section 3.1.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"split_half": split_half, "activation": activation, **penalty}
    compressed = CompressedInteraction(maps, **kind, name="compressed")(fields)
    return CTRModel(inputs, probability(dense_logit(compressed, **penalty)), name="CIN")


@register(
    "compressed interaction network next to a tower",
    "Lian et al., KDD 2018, Section 3",
    family="crosses",
)
def xDeepFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    maps: Hidden = (100, 100),
    *,
    split_half: bool = True,
    activation: str = "linear",
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """xDeepFM: a linear logit, one of a compressed interaction network, and one of a tower.

    Args:
        features, dim, maps, split_half, activation, net_l2: as in `CIN`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        embedding_l2, linear_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `CIN`; its layers `linear`, `compressed_logit` and `deep_logit` add up to
        `logit`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> xDeepFM(features, maps=[8, 6]).get_layer("compressed_logit").count_params()
    10

    References:
        [xDeepFM](https://arxiv.org/abs/1803.05170), Section 3, Equation 9.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"split_half": split_half, "activation": activation, **penalty}
    compressed = CompressedInteraction(maps, **kind, name="compressed")(fields)
    logits = [
        LinearLogit(features, use_bias=False, l2=linear_l2, name="linear")(inputs),
        dense_logit(compressed, "compressed_logit", use_bias=False, **penalty),
        deep_logit(fields, hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="xDeepFM")
