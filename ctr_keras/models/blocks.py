"""Products of vectors below or next to a tower: DLRM, AOANet, WuKong."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import MLP, GatedInteraction, GeneralizedInteraction, WukongLayer
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    deep_logit,
    dense_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
    tower,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count


@register(
    "towers below and above inner products", "Naumov et al., 2019, Section 2", family="products"
)
def DLRM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    bottom_hidden: Hidden = (64,),
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """DLRM: a tower makes a vector of all numbers, another sees its inner products with fields.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding, and of the vector of numbers. Defaults to `16`.
        bottom_hidden: list of int. Widths of the lower tower's layers in front of that vector.
            Without numbers there is none. Defaults to `(64,)`.
        hidden, dropout, normalization, norm_order: as in `DeepFM`, of the upper tower; the lower
            one has no normalization.
        net_l2: float. L2 penalty of the kernels of both towers and the logit. Defaults to `0.0`.
        embedding_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `bottom` is the lower tower.

    Raises:
        ValueError: if there are less than two vectors.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
    >>> features = FeatureSet(
    ...     Categorical("a"), Numeric("n"), Numeric("m"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3},
    ... )
    >>> DLRM(features, dim=4).get_layer("deep").input.shape  # the vector of numbers, and a product
    (None, 5)

    References:
        [DLRM](https://arxiv.org/abs/1906.00091), Section 2.
    """
    inputs = field_inputs(features)
    names = [feature.name for feature in features.numeric]
    others = [name for name in features.field_names if name not in names]
    initializer = embeddings_initializer
    parts, vectors = [], []
    if others:
        vectors.append(embed(features, inputs, dim, initializer, fields=others, l2=embedding_l2))
    if names:
        l2, name = embedding_l2, "embedding_numbers"  # each times a factor, missing ones as 0
        numbers = embed(features, inputs, 1, "ones", name, fields=names, l2=l2)
        bottom = MLP(
            [*bottom_hidden, dim], kernel_regularizer=kernel_penalty(net_l2), name="bottom"
        )
        parts = [bottom(keras.layers.Flatten()(numbers))]
        vectors.append(keras.layers.Reshape((1, dim))(parts[0]))
    if len(others) + len(names[:1]) < 2:
        raise ValueError("DLRM multiplies fields, numbers taken for one: it needs at least two")
    together = keras.layers.Concatenate(axis=1)(vectors) if len(vectors) > 1 else vectors[0]
    products = GatedInteraction(gated=False, normalized=False, summed=False, name="inner_2")
    top = joined([*parts, products(together)], "products")
    logit = deep_logit(top, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="DLRM")


@register(
    "generalized interactions next to a deep tower",
    "Lang et al., KDD 2021, Section 3",
    family="products",
)
def AOANet(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: Count = 1,
    vectors: Count = 4,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """AOANet: a logit of vectors of learned interactions and a deep tower, side by side.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of interaction layers, an order each. Defaults to `1`.
        vectors: int. That a layer gives (see `GeneralizedInteraction`). Defaults to `4`.
        hidden, dropout, normalization, norm_order: as in `DeepFM`.
        net_l2: float. L2 penalty of the weights of interactions, tower and logit. Defaults to
            `0.0`.
        kernel_initializer: initializer of the interactions' matrices. Defaults to `None`: the
            identity.
        embedding_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `generalized_0`, ... have the interactions.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> AOANet(features, dim=4, hidden=[8]).get_layer("logit").input.shape  # 4 vectors, the tower
    (None, 24)

    References:
        Lang et al., Architecture and Operation Adaptive Network for Online Recommendations, KDD
        2021, Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kind = {"kernel_initializer": kernel_initializer, **penalty}
    made = fields
    for index in range(layers):
        made = GeneralizedInteraction(vectors, **kind, name=f"generalized_{index}")(fields, made)
    deep = tower(fields, hidden, dropout, normalization, norm_order, **penalty)
    logit = dense_logit(joined([keras.layers.Flatten()(made), deep]), **penalty)
    return CTRModel(inputs, probability(logit), name="AOANet")


@register(
    "stacked factorization machines of vectors",
    "Zhang et al., ICML 2024, Section 3",
    family="products",
)
def WuKong(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: Count = 2,
    units: Count = 16,
    rank: Count = 8,
    *,
    layer_hidden: Hidden = (64,),
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Wukong: layers that make vectors of inner products of vectors, and a tower on the last.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of layers, each of which doubles the order. Defaults to `2`.
        units: int. Vectors that each of a layer's two blocks gives. Defaults to `16`.
        rank: int. Of its factorization machine. Defaults to `8`.
        layer_hidden: list of int. Widths of the network in a layer (see `WukongLayer`). Defaults to
            `(64,)`.
        hidden, dropout, normalization, norm_order: as in `DeepFM`; the dropout is that of layers as
            well.
        net_l2: float. L2 penalty of the kernels of layers, tower and logit. Defaults to `0.0`.
        embedding_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `wukong_0`, ... make the vectors.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> WuKong(features, dim=4, units=3).get_layer("wukong_1").output.shape
    (None, 6, 4)

    References:
        [Wukong](https://arxiv.org/abs/2403.02545), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    kind = {"dropout": dropout, "kernel_regularizer": kernel_penalty(net_l2)}
    made = fields
    for index in range(layers):
        made = WukongLayer(units, rank, layer_hidden, **kind, name=f"wukong_{index}")(made)
    logit = deep_logit(made, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="WuKong")
