"""Cross networks: CrossNet and DCN, DCN-V2, GDCN."""

from collections.abc import Callable
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import CrossLayer, CrossMixture
from ctr_keras.layers.base import check_choice
from ctr_keras.models.arguments import Dropout, EmbeddingsInitializer, Hidden, Penalty
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import (
    dense_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
    tower,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count, SettingError
from ctr_keras.types import Tensor

_STRUCTURES = ("parallel", "stacked")


@register("cross network alone", "Wang et al., ADKDD 2017, Section 2.2", family="crosses")
def CrossNet(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    *,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Cross network: interactions of the elements of all embeddings, an order more a layer.

    `x_{l+1} = x_0 <w_l, x_l> + b_l + x_l`, with all fields' embeddings side by side for `x_0`, and
    a logit of the last.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of cross layers; 0 is logistic regression on the embeddings. Defaults to
            `3`.
        dropout, embedding_l2, embeddings_initializer: as in `FM`.
        net_l2: float. L2 penalty of the kernels of cross layers and the logit, as in `DeepFM`.
            Defaults to `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `cross_0`, ... are the network.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> CrossNet(features, dim=4, layers=2).count_params()  # 5 ids times 4, twice 4 + 4, and 4 + 1
    41

    References:
        [DCN](https://arxiv.org/abs/1708.05123), Section 2.2.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    crossed = _crossed(
        keras.layers.Flatten()(fields), layers, CrossLayer, kernel="vector", **penalty
    )
    return CTRModel(inputs, probability(dense_logit(crossed, **penalty)), name="CrossNet")


@register(
    "cross network next to a deep tower", "Wang et al., ADKDD 2017, Section 2", family="crosses"
)
def DCN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Deep & cross network: a logit of a cross network and a deep tower, side by side.

    Args:
        features, dim, layers, net_l2: as in `CrossNet`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `CrossNet`, with a tower `deep`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> DCN(features, dim=4, hidden=[8]).get_layer("logit").input.shape
    (None, 12)

    References:
        [DCN](https://arxiv.org/abs/1708.05123), Section 2.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    vectors = keras.layers.Flatten()(fields)
    crossed = _crossed(vectors, layers, CrossLayer, kernel="vector", **penalty)
    deep = tower(vectors, hidden, dropout, normalization, norm_order, **penalty)
    logit = dense_logit(joined([crossed, deep]), **penalty)
    return CTRModel(inputs, probability(logit), name="DCN")


@register(
    "cross network of matrices and a deep tower",
    "Wang et al., WWW 2021, Section 3",
    family="crosses",
)
def DCNv2(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    *,
    structure: str = "parallel",
    rank: Count | None = None,
    experts: Count = 1,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """DCN-V2: as `DCN`, whose layers have a matrix, `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`.

    Args:
        features, dim, layers, net_l2: as in `CrossNet`.
        structure: str. `"parallel"` for a tower next to the cross network, `"stacked"` for one on
            top of it. Defaults to `"parallel"`.
        rank: int or None. Of the matrices. Defaults to `None`: full ones.
        experts: int. With more than one, a layer is a mixture of so many matrices of this rank (see
            `CrossMixture`). Defaults to `1`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `DCN`.

    Raises:
        ValueError: for several experts without a rank.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> DCNv2(features, dim=4, structure="stacked", hidden=[8]).get_layer("logit").input.shape
    (None, 8)

    References:
        [DCN-V2](https://arxiv.org/abs/2008.13535), Sections 3 and 4.
    """
    if experts > 1 and rank is None:
        raise SettingError(f"{experts} experts need a rank, such as rank=32", "rank")
    layer: Callable[..., keras.layers.Layer] = CrossLayer
    kind: dict[str, Any] = {"rank": rank}
    if experts > 1:
        layer, kind = CrossMixture, {"rank": rank, "experts": experts}
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    vectors = keras.layers.Flatten()(fields)
    crossed = _crossed(vectors, layers, layer, **kind, **penalty)
    options = (hidden, dropout, normalization, norm_order)
    logit = _with_tower(structure, vectors, crossed, options, penalty)
    return CTRModel(inputs, probability(logit), name="DCNv2")


@register(
    "cross network with gates and a deep tower",
    "Wang et al., CIKM 2023, Section 3",
    family="crosses",
)
def GDCN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: int = 3,
    *,
    structure: str = "parallel",
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """GDCN: as `DCNv2`, where each layer has a gate, `sigmoid(W_g x_l)`, for its interactions.

    Args:
        features, dim, layers, net_l2: as in `CrossNet`.
        structure: str. As in `DCNv2`. Defaults to `"parallel"`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `DCN`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> GDCN(features, dim=4).get_layer("cross_0").count_params()  # two matrices and a bias
    36

    References:
        [GDCN](https://arxiv.org/abs/2311.04635), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    vectors = keras.layers.Flatten()(fields)
    crossed = _crossed(vectors, layers, CrossLayer, gated=True, **penalty)
    options = (hidden, dropout, normalization, norm_order)
    logit = _with_tower(structure, vectors, crossed, options, penalty)
    return CTRModel(inputs, probability(logit), name="GDCN")


def _crossed(
    vectors: Tensor, layers: int, layer: Callable[..., keras.layers.Layer], **kind: Any
) -> Tensor:
    """What cross layers of a kind, one after the other, make of vectors."""
    if layers < 0:
        raise SettingError(f"layers must not be negative, got {layers}", "layers")
    crossed = vectors
    for index in range(layers):
        crossed = layer(**kind, name=f"cross_{index}")(vectors, crossed)
    return crossed


def _with_tower(
    structure: str, vectors: Tensor, crossed: Tensor, options: Any, penalty: dict[str, Any]
) -> Tensor:
    """The logit of a cross network and a tower, next to each other or one on the other."""
    check_choice("structure", structure, _STRUCTURES)
    deep = tower(crossed if structure == "stacked" else vectors, *options, **penalty)
    return dense_logit(deep if structure == "stacked" else joined([crossed, deep]), **penalty)
