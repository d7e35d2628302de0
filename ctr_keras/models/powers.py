"""Models whose interactions have powers that are learned: AFN, AFN+ and EulerNet."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import ComplexFields, EulerInteraction, LogarithmicTransform
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    deep_logit,
    dense_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "deep tower on products of powers of fields",
    "Cheng et al., AAAI 2020, Section 3",
    family="powers",
)
def AFN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    neurons: Count = 100,
    *,
    hidden: Hidden = (200, 80),
    deep_hidden: Hidden | None = None,
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Adaptive factorization network: a tower on products of fields with powers of their own.

    With a second tower, on embeddings of its own, this is AFN+.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        neurons: int. Number of products, each a vector (see `LogarithmicTransform`). Defaults to
            `100`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        deep_hidden: list of int or None. Widths of the second tower's layers. Defaults to `None`:
            there is none.
        net_l2: float. L2 penalty of the kernels of products, towers and logits. Defaults to `0.0`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `powers` has the products; with two towers `logit` weighs `power_logit` and `deep_logit`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> AFN(features, dim=4, neurons=3).get_layer("powers").output.shape
    (None, 4, 3)

    References:
        [AFN](https://arxiv.org/abs/1909.03276), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    powers = LogarithmicTransform(neurons, name="powers", **penalty)(fields)
    options = (dropout, normalization, norm_order, net_l2)
    if not deep_hidden:
        logit = deep_logit(powers, hidden, *options, "logit")
        return CTRModel(inputs, probability(logit), name="AFN")
    own = embed(features, inputs, dim, embeddings_initializer, "embedding_deep", l2=embedding_l2)
    logits = [
        deep_logit(powers, hidden, *options, "power_logit", "power_deep"),
        deep_logit(own, deep_hidden, *options),
    ]
    return CTRModel(inputs, probability(dense_logit(joined(logits), **penalty)), name="AFN")


@register(
    "complex fields whose interactions add angles",
    "Tian et al., SIGIR 2023, Section 4",
    family="powers",
)
def EulerNet(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    units: Hidden = (16,),
    *,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """EulerNet: fields as complex numbers, multiplied by adding their logarithms and angles.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        units: list of int. Number of complex vectors of each layer (see `EulerInteraction`).
            Defaults to `(16,)`.
        dropout, embedding_l2, embeddings_initializer: as in `FM`.
        net_l2: float. L2 penalty of the kernels of layers and logit, powers among them. Defaults to
            `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `euler_0`, ... are the network.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> EulerNet(features, dim=4, units=[3]).get_layer("logit").input.shape  # real and imaginary
    (None, 24)

    References:
        [EulerNet](https://arxiv.org/abs/2304.10711), Section 4; real and imaginary parts have
        weights of their own in the logit.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    vectors = ComplexFields(name="complex")(fields)
    for index, count in enumerate(units):
        vectors = EulerInteraction(count, name=f"euler_{index}", **penalty)(vectors)
    logit = dense_logit(keras.layers.Flatten()(vectors), **penalty)
    return CTRModel(inputs, probability(logit), name="EulerNet")
