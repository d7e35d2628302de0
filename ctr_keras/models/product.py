"""Deep towers on products of fields: IPNN, OPNN, PIN, and AIM on those of four functions."""

import functools
from collections.abc import Sequence

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    BilinearInteraction,
    CompactEmbedding,
    GatedInteraction,
    LinearLogit,
    PairNetworks,
)
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import BASE, own_table, read_plan, table_name
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    own_or,
    probability,
    scaled,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.plan import FUNCTIONS, InteractionPlan
from ctr_keras.settings import Count


@register(
    "deep tower on embeddings and inner products; AutoIPNN with a plan",
    "Qu et al., ICDM 2016; AutoFIS: Liu et al., KDD 2020, Section 4.4",
    family="products",
)
def IPNN(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = False,
    normalized: bool = False,
    share_embedding: bool = False,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    hidden_dropout: Dropout | None = None,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Inner-product network: a deep tower on the embeddings and each pair's inner product.

    With a plan this is AutoIPNN: the tower gets the plan's interactions only, each as one number.
    AutoFIS carries a plan over to it without gates and normalization; a search has both.

    Args:
        features, dim, interactions, orders, share_embedding: as in `FM`.
        embedding_l2, kernel_initializer: as in `FM`.
        embeddings_initializer: as in `DeepFM`. Defaults to `1e-4`.
        gated: bool. Whether the interactions have gates. Defaults to `False`.
        normalized: bool. Whether they are normalized. Defaults to `False`.
        hidden, dropout, hidden_dropout, normalization, norm_order, net_l2: as in `DeepFM`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> IPNN(features, dim=4, hidden=[8]).get_layer("deep").input.shape  # 2 * 4 + 1 pair
    (None, 9)

    References:
        [PNN](https://arxiv.org/abs/1611.00144); [AutoFIS](https://arxiv.org/abs/2003.11235),
        Section 4.4, for the transfer of selected interactions.
    """
    features, plan, inputs, ids = read_plan(interactions, orders, features)
    if plan is None:
        plan = InteractionPlan.complete(features.field_names, orders or (2,))
    embedded = functools.partial(embed, features, ids, dim, embeddings_initializer, l2=embedding_l2)
    base = embedded()
    parts = [keras.layers.Flatten()(base)]
    for kind in plan.kinds:
        products = GatedInteraction(
            plan.combinations(features.field_names, *kind),
            *kind,
            gated=gated,
            normalized=normalized,
            summed=False,
            kernel_initializer=kernel_initializer,
            name=table_name(kind),
        )
        fields = base if share_embedding or kind == BASE else embedded(own_table(kind))
        parts.append(products(fields))
    rate = own_or(hidden_dropout, dropout)
    vectors = joined(parts, "products")
    logit = deep_logit(vectors, hidden, rate, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="IPNN")


@register(
    "deep tower on embeddings and products by kernels",
    "Qu et al., TOIS 2018, Section 3.3",
    family="products",
    needs=("two fields",),
)
def OPNN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    kernel: str = "matrix",
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Outer-product network, KPNN: a tower on the embeddings and each pair's `<e_i K_ij, e_j>`.

    Args:
        features, dim, embedding_l2: as in `FM`.
        kernel: str. `"matrix"`, `"vector"` or `"scalar"` (see `BilinearInteraction`). Defaults to
            `"matrix"`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        net_l2: float. L2 penalty of the kernels of tower, logit and products. Defaults to `0.0`.
        kernel_initializer: initializer of the kernels. Defaults to `None`: the identity, or ones,
            with which the products are those of `IPNN`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `IPNN`; its layer `kernel_products` holds the kernels.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> OPNN(features, dim=4).get_layer("kernel_products").count_params()
    16

    References:
        [PNN](https://arxiv.org/abs/1807.00311), Section 3.3.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    products = BilinearInteraction(
        kernel,
        gives="numbers",
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_penalty(net_l2),
        name="kernel_products",
    )
    vectors = joined([keras.layers.Flatten()(fields), products(fields)], "products")
    logit = deep_logit(vectors, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="OPNN")


@register(
    "deep tower on embeddings and a network a pair",
    "Qu et al., TOIS 2018, Section 3.4",
    family="products",
    needs=("two fields",),
)
def PIN(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    pair_hidden: Hidden = (40, 5),
    *,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """Product-network in network: a tower on the embeddings and a small network for each pair.

    Args:
        features, dim, embedding_l2: as in `FM`.
        pair_hidden: list of int. Widths of the pairs' networks (see `PairNetworks`). Defaults to
            `(40, 5)`.
        hidden, dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.
        net_l2: float. L2 penalty of the kernels of tower, logit and networks. Defaults to `0.0`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `IPNN`; its layer `pair_networks` holds the networks.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> PIN(features, dim=4).get_layer("deep").input.shape  # 2 * 4, and 5 of the pair
    (None, 13)

    References:
        [PNN](https://arxiv.org/abs/1807.00311), Section 3.4, with the embeddings in the tower's
        input, as OptInter's baseline has them.
    """
    inputs = field_inputs(features)
    fields = embed(features, inputs, dim, embeddings_initializer, l2=embedding_l2)
    networks = PairNetworks(
        pair_hidden, kernel_regularizer=kernel_penalty(net_l2), name="pair_networks"
    )
    parts = [keras.layers.Flatten()(part) for part in (fields, networks(fields))]
    vectors = joined(parts, "products")
    logit = deep_logit(vectors, hidden, dropout, normalization, norm_order, net_l2, "logit")
    return CTRModel(inputs, probability(logit), name="PIN")


@register(
    "gated interactions by four functions next to a tower on their products",
    "Zhu et al., TKDE 2021, Section 4",
    family="products",
)
def AIM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    share_embedding: bool = False,
    part_scalers: bool = False,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.1,
    hidden_dropout: Dropout | None = None,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 1e-4,
) -> keras.Model:
    """AIM: a linear logit, gated interactions by four functions, a tower on their products.

    `logit = <w, x> + b + sum_q alpha_q norm(f(q)) + MLP(z)`. Each order and function has an
    embedding table of its own, whose fields keep the dimensions that the plan says. `z` holds the
    products of the same interactions before normalization, gate and sum: vectors, for the outer
    product a number.

    Args:
        features, dim, orders, embedding_l2, linear_l2, kernel_initializer: as in `FM`.
        embeddings_initializer: as in `DeepFM`. Defaults to `1e-4`.
        interactions: InteractionPlan, path to one, or None for every combination with every
            function. Defaults to `None`.
        share_embedding: bool. Whether all functions and orders use one table ("SE" in the paper).
            Defaults to `False`.
        part_scalers: bool. Whether every part of the logit has a factor of its own, as in the
            authors' code. Defaults to `False`.
        hidden, dropout, hidden_dropout, normalization, norm_order, net_l2: as in `DeepFM`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `inner_2`, `outer_2`, ... hold the interactions, `embedding_inner_2`, ... their tables.

    Raises:
        ValueError: if tables are shared and the plan keeps only some dimensions.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> AIM(features, dim=4, hidden=[8]).get_layer("deep").input.shape  # 3 vectors and a number
    (None, 13)

    References:
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, Equation 14; the tower's input as in the
        authors' code.
    """
    features, plan, inputs, ids = read_plan(interactions, orders, features)
    if plan is None:
        plan = InteractionPlan.complete(features.field_names, orders or (2,), FUNCTIONS)
    if share_embedding and plan.kept_dims:
        raise ValueError("a plan with embedding dimensions needs share_embedding=False")
    embedded = functools.partial(embed, features, ids, dim, embeddings_initializer, l2=embedding_l2)
    shared = embedded() if share_embedding else None
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(ids)]
    products = []
    for kind in plan.kinds:
        name = table_name(kind)
        kept = plan.kept_dims.get(name)
        if share_embedding:
            fields = shared
        elif kept:
            fields = CompactEmbedding(
                features,
                dim,
                kept,
                embeddings_initializer=embeddings_initializer,
                l2=embedding_l2,
                name=own_table(kind),
            )(ids)
        else:
            fields = embedded(own_table(kind))
        logit, product = GatedInteraction(
            plan.combinations(features.field_names, *kind),
            *kind,
            kernel_initializer=kernel_initializer,
            name=name,
        )(fields, return_products=True)
        logits.append(logit)
        products.append(keras.layers.Flatten(name=f"{name}_products")(product))
    if products:
        rate = own_or(hidden_dropout, dropout)
        vectors = joined(products, "products")
        logits.append(deep_logit(vectors, hidden, rate, normalization, norm_order, net_l2))
    if part_scalers:
        logits = scaled(logits)
    return CTRModel(inputs, probability(summed(logits)), name="AIM")
