"""Models that weigh fields or elements by what else is in the row: FiBiNET, MaskNet, EDCN."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    MLP,
    BatchNormalization,
    BilinearInteraction,
    CrossLayer,
    FieldRegulation,
    LinearLogit,
    MaskBlock,
    SqueezeExcitation,
)
from ctr_keras.layers.base import check_choice
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
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.settings import Count
from ctr_keras.types import Tensor


@register(
    "deep tower on bilinear products of fields, as they are and reweighed",
    "Huang et al., RecSys 2019, Section 3",
    family="products",
    needs=("two fields",),
)
def FiBiNET(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    kernel_of: str = "all",
    reduction: Count = 3,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """FiBiNET: a tower on `(e_i W) * e_j` of all pairs, of the fields and of reweighed fields.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of an embedding. Defaults to `16`.
        kernel_of: str. Whose the matrices `W` are: each `"pair"`'s, each `"field"`'s or those of
            `"all"` (see `BilinearInteraction`). Defaults to `"all"`.
        reduction: int. See `SqueezeExcitation`. Defaults to `3`.
        hidden, dropout, normalization, norm_order: as in `DeepFM`.
        embedding_l2, linear_l2: as in `FM`.
        net_l2: float. L2 penalty of all kernels but those of the linear logit. Defaults to `0.0`.
        kernel_initializer: initializer of `W`. Defaults to `None`: the identity.
        embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layer
        `excitation` weighs the fields.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FiBiNET(features, dim=4).get_layer("deep").input.shape  # twice one pair
    (None, 8)

    References:
        [FiBiNET](https://arxiv.org/abs/1905.09433), Section 3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    kernels = {"of": kernel_of, "gives": "vectors", "kernel_initializer": kernel_initializer}
    reweighed = SqueezeExcitation(reduction, name="excitation", **penalty)(fields)
    products = [
        BilinearInteraction(**kernels, name=name, **penalty)(each)
        for name, each in (("bilinear_0", fields), ("bilinear_1", reweighed))
    ]
    vectors = keras.layers.Concatenate(axis=1)(products)
    logits = [
        LinearLogit(features, use_bias=False, l2=linear_l2, name="linear")(inputs),
        deep_logit(vectors, hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="FiBiNET")


@register(
    "blocks whose input the row's embeddings mask",
    "Wang et al., DLP-KDD 2021, Section 3",
    family="fields",
)
def MaskNet(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    structure: str = "parallel",
    blocks: Count = 3,
    block_units: Count = 64,
    ratio: float = 2.0,
    block_normalization: bool = True,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """MaskNet: blocks of a dense layer whose input is multiplied by a mask of the embeddings.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        structure: str. `"parallel"` for blocks on the embeddings, side by side below the tower, or
            `"serial"` for blocks one after the other in front of it. Defaults to `"parallel"`.
        blocks: int. Number of blocks. Defaults to `3`.
        block_units: int. Width of a block. Defaults to `64`.
        ratio: float. See `MaskBlock`. Defaults to `2.0`.
        block_normalization: bool. Whether blocks have a layer normalization. Defaults to `True`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`; the
            dropout is that of blocks as well.
        net_l2: float. L2 penalty of the kernels of blocks, tower and logit. Defaults to `0.0`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `mask_block_0`, ... are the blocks.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> MaskNet(features, blocks=2, block_units=5).get_layer("deep").input.shape
    (None, 10)

    References:
        [MaskNet](https://arxiv.org/abs/2102.07619), Section 3, without the normalization of
        embeddings.
    """
    check_choice("structure", structure, ("parallel", "serial"))
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    kind = {
        "ratio": ratio,
        "normalized": block_normalization,
        "dropout": dropout,
        "kernel_regularizer": kernel_penalty(net_l2),
    }
    embeddings = keras.layers.Flatten()(fields)
    masked: list[Tensor] = []
    for index in range(blocks):
        before = masked.pop() if structure == "serial" and masked else embeddings
        masked.append(
            MaskBlock(block_units, **kind, name=f"mask_block_{index}")(embeddings, before)
        )
    logit = deep_logit(joined(masked), hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="MaskNet")


@register(
    "cross network and tower that share what they learn",
    "Chen et al., CIKM 2021, Section 4",
    family="crosses",
)
def EDCN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    layers: Count = 3,
    *,
    temperature: float = 1.0,
    dropout: Dropout = 0.1,
    normalized: bool = True,
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """EDCN: a cross network and a tower of equal width, with a bridge after each layer.

    The product of what both give goes into the next layer of both, each through a regulation of its
    own, which weighs the fields.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        layers: int. Number of layers, as wide as all embeddings. Defaults to `3`.
        temperature: float. Of the softmax over fields (see `FieldRegulation`). Defaults to
            `1.0`.
        dropout: float. Share of the tower's units to drop in training. Defaults to `0.1`.
        normalized: bool. Whether what is regulated is normalized by batch. Defaults to `True`.
        net_l2: float. L2 penalty of the kernels of cross layers, tower and logit. Defaults to
            `0.0`.
        embedding_l2, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.
        embeddings_initializer: as in `DeepFM`. Defaults to `1e-4`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `cross_regulation_0`, `deep_regulation_0`, ... weigh the fields.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> EDCN(features, dim=4).get_layer("logit").input.shape  # cross, deep and bridge
    (None, 12)

    References:
        Chen et al., Enhancing Explicit and Implicit Feature Interactions via Information Sharing
        for Parallel Deep CTR Models, CIKM 2021, Section 4.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    penalty = {"kernel_regularizer": kernel_penalty(net_l2)}
    width = len(features.fields) * dim

    def regulated(vectors: Tensor, kind: str, index: int) -> Tensor:
        shares = FieldRegulation(temperature, name=f"{kind}_regulation_{index}")(vectors)
        flat = keras.layers.Flatten()(shares)
        return BatchNormalization(name=f"normalized_{kind}_{index}")(flat) if normalized else flat

    shared, entering = fields, []
    for index in range(layers):
        cross, deep = (regulated(shared, kind, index) for kind in ("cross", "deep"))
        entering.append(cross)
        cross = CrossLayer("vector", name=f"cross_{index}", **penalty)(entering[0], cross)
        deep = MLP([width], dropout=dropout, name=f"deep_{index}", **penalty)(deep)
        bridge = keras.layers.Multiply(name=f"bridge_{index}")([cross, deep])
        shared = keras.layers.Reshape((len(features.fields), dim))(bridge)
    logit = dense_logit(joined([cross, deep, bridge]), **penalty)
    return CTRModel(inputs, probability(logit), name="EDCN")
