"""Factorization machines, shallow and deep, on all interactions or on those of a plan."""

import functools
from collections.abc import Sequence

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import EmbeddingGate, FactorizationMachine, GatedInteraction, LinearLogit
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import BASE, Kind, own_table, read_plan, table_name
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    own_or,
    probability,
    scaled,
    summed,
)
from ctr_keras.models.registry import build_model, register
from ctr_keras.plan import InteractionPlan
from ctr_keras.settings import Count, SettingError
from ctr_keras.types import Settings, Tensor


@register(
    "factorization machine; AutoFM with a plan",
    "Rendle, ICDM 2010; AutoFIS: Liu et al., KDD 2020, Section 3",
    family="factorization",
)
def FM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = True,
    normalized: bool = True,
    share_embedding: bool = False,
    embedding_gates: bool = False,
    linear: bool = True,
    part_scalers: bool = False,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = None,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Factorization machine: a linear logit and the interactions of embeddings.

    With a plan this is AutoFM: only the plan's interactions, each normalized and gated. Pairs'
    inner products use the main embedding; interactions of another order or function have a table
    of their own, as in the authors' code.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        interactions: InteractionPlan, path to one, or None for all. Defaults to `None`.
        orders: list of int or None. Orders of interactions. Defaults to `None`: those of the plan,
            or second order without one.
        gated: bool. Whether the plan's interactions have gates. Defaults to `True`.
        normalized: bool. Whether the plan's interactions are normalized. Defaults to `True`.
        share_embedding: bool. Whether all interactions use one table. Defaults to `False`.
        embedding_gates: bool. Whether every dimension of every field of each table has a gate, in
            a layer `dims_inner_2`, ...: the network of AIM's embedding dimension search, which
            takes a plan and neither `gated` nor `normalized`. Defaults to `False`.
        linear: bool. Whether there is a linear logit with its bias; OptInter's FM has none.
            Defaults to `True`.
        part_scalers: bool. Whether the linear logit and each kind of interactions have a factor of
            their own, as in the authors' code of AIM's search. Defaults to `False`.
        dropout: float. Share of the embeddings' elements to drop in training. Defaults to `0.0`.
        embedding_l2: float. L2 penalty of the embeddings that a batch reads, and of the vectors of
            numbers: `embedding_l2 * sum of V^2`, over each row once (see `FieldEmbedding`, also for
            what other libraries mean by such a number). Defaults to `0.0`.
        linear_l2: float. The same for the weights of the linear logit. Defaults to `0.0`.
        kernel_initializer: initializer of vector and scalar kernels and outer products.
            Defaults to `None`: as `GatedInteraction`.
        embeddings_initializer: initializer of the tables, or a number, the standard deviation of a
            normal distribution. Defaults to `0.01`.
        check_ids: bool. Whether an id that is not of its field gives NaN (see `FieldEmbedding`).
            Defaults to `False`.
        numeric_embedding: str. How numbers are embedded, `"linear"`, `"periodic"`, `"autodis"` or
            `"ordered"` (see `FieldEmbedding`). Defaults to `"linear"`.
        crossed: bool. Whether crossed features are fields as others are; without it, the model does
            not read them. Defaults to `False`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `inner_2`, ... hold the interactions.

    Raises:
        ValueError: if both interactions and dimensions are to have gates, or a linear logit that is
            not there a penalty.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> FM(features, dim=4).count_params()  # 9 ids times 4, 9 weights, a bias
    46

    References:
        Rendle, Factorization Machines, ICDM 2010; [AutoFIS](https://arxiv.org/abs/2003.11235),
        Section 3, Equations 3, 4, 10 and 12; [AIM](https://arxiv.org/abs/2111.03318), Section 4.3.
    """
    features, plan, inputs, ids = read_plan(interactions, orders, features)
    if embedding_gates and (plan is None or gated or normalized or share_embedding):
        raise ValueError(
            "gates of interactions and of embedding dimensions scale each other, so they are "
            "searched one after the other: embedding_gates=True takes a plan, gated=False, "
            "normalized=False and share_embedding=False"
        )
    _check_linear(linear, linear_l2)
    kinds = _kinds(plan, orders)
    embedded = functools.partial(
        embed, features, ids, dim, embeddings_initializer, dropout=dropout, l2=embedding_l2
    )
    base = embedded() if share_embedding or BASE in kinds else None
    logits = [LinearLogit(features, l2=linear_l2, name="linear")(ids)] if linear else []
    settings = {"gated": gated, "normalized": normalized, "kernel_initializer": kernel_initializer}
    for kind in kinds:
        fields = base if share_embedding or kind == BASE else embedded(own_table(kind))
        if embedding_gates:
            fields = EmbeddingGate(name=f"dims_{table_name(kind)}")(fields)
        logits.append(_interaction(features, fields, kind, plan, settings))
    if not logits:
        raise ValueError("nothing is left of the model: no linear logit and no interaction")
    if part_scalers:
        logits = scaled(logits)
    return CTRModel(inputs, probability(summed(logits)), name="FM")


@register(
    "factorization machine next to a deep tower; AutoDeepFM with a plan",
    "Guo et al., IJCAI 2017; AutoFIS: Liu et al., KDD 2020, Section 3",
    family="deep",
)
def DeepFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = True,
    normalized: bool = True,
    share_embedding: bool = False,
    linear: bool = True,
    value_gates: Settings | None = None,
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
    """DeepFM: a factorization machine next to a deep tower on the same embedding.

    With a plan this is AutoDeepFM; see `FM`.

    Args:
        features, dim, interactions, orders, gated, normalized, share_embedding: as in `FM`.
        embedding_l2, linear_l2, kernel_initializer: as in `FM`.
        linear: bool. Whether there is a linear logit. Defaults to `True`.
        value_gates: dict or None. Arguments of a `GatedEmbedding` in the place of the main
            embedding, with which, and `linear=False`, this is the network of OptFS' search.
            Defaults to `None`: values have no gates.
        embeddings_initializer: as in `FM`. Defaults to `1e-4`: normalized by batch, a tower that is
            fed anything larger learns rare ids by heart before they mean anything.
        hidden: list of int. Widths of the tower's layers. Defaults to `(200, 80)`.
        dropout: float. Share of the tower's units to drop in training. Defaults to `0.1`.
        hidden_dropout: float or None. The same, by an older name. Defaults to `None`: `dropout`.
        normalization: str or None. Of the tower (see `MLP`). Defaults to `"batch"`. Where rows are
            few and fields many, without it the log loss is lower and scores are better calibrated.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"unscaled"`.
        net_l2: float. L2 penalty of the kernels of the tower and its logit: `net_l2 * sum of W^2`,
            which is in the loss that `fit` reports. Defaults to `0.0`. A run takes one that fits
            the rows unless it is set (see `ctr_keras.training.defaults`).
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `FM`; its layer `deep_logit` ends the tower, whose bias is the model's.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> DeepFM(features, hidden=[8]).get_layer("deep_logit").count_params()
    9

    References:
        [DeepFM](https://arxiv.org/abs/1703.04247); [AutoFIS](https://arxiv.org/abs/2003.11235),
        Section 3.
    """
    features, plan, inputs, ids = read_plan(interactions, orders, features)
    _check_linear(linear, linear_l2)
    embedded = functools.partial(embed, features, ids, dim, embeddings_initializer, l2=embedding_l2)
    base = embedded(gates=value_gates)
    logits = []
    if linear:
        logits.append(LinearLogit(features, use_bias=False, l2=linear_l2, name="linear")(ids))
    settings = {"gated": gated, "normalized": normalized, "kernel_initializer": kernel_initializer}
    for kind in _kinds(plan, orders):
        fields = base if share_embedding or kind == BASE else embedded(own_table(kind))
        logits.append(_interaction(features, fields, kind, plan, settings))
    rate = own_or(hidden_dropout, dropout)
    logits.append(deep_logit(base, hidden, rate, normalization, norm_order, net_l2))
    return CTRModel(inputs, probability(summed(logits)), name="DeepFM")


@register(
    "factorization machine of several orders",
    "Blondel et al., NIPS 2016, Section 3",
    family="factorization",
)
def HOFM(  # noqa: N802
    features: FeatureSet,
    dim: Count = 16,
    order: int = 3,
    *,
    share_embedding: bool = False,
    dropout: Dropout = 0.0,
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    embeddings_initializer: EmbeddingsInitializer = 0.01,
) -> keras.Model:
    """Higher-order factorization machine: the interactions of all orders from 2 on.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding, of which there is one for each order. Defaults to `16`.
        order: int. The highest order. Defaults to `3`.
        share_embedding: bool. Whether all orders use one table. Defaults to `False`.
        dropout, embedding_l2, linear_l2, embeddings_initializer, check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model as `FM`.

    Raises:
        ValueError: for an order below 2.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> HOFM(features, dim=4).count_params()  # two tables of 9 ids times 4, 9 weights, a bias
    82

    References:
        [HOFM](https://arxiv.org/abs/1607.07195), Section 3.
    """
    if order < 2:
        raise SettingError(f"order must be at least 2, got {order}", "order")
    model = build_model(
        "FM",
        features,
        dim=dim,
        orders=range(2, order + 1),
        share_embedding=share_embedding,
        dropout=dropout,
        embedding_l2=embedding_l2,
        linear_l2=linear_l2,
        embeddings_initializer=embeddings_initializer,
        crossed=True,  # those that are left are wanted
    )
    model.name = "HOFM"
    return model


def _check_linear(linear: bool, linear_l2: float) -> None:
    if linear_l2 and not linear:
        raise ValueError("linear_l2 is of the linear logit, which linear=False leaves out")


def _kinds(plan: InteractionPlan | None, orders: Sequence[int] | None) -> tuple[Kind, ...]:
    if plan is not None:
        return plan.kinds
    return tuple((order, "inner") for order in orders or (2,))


def _interaction(
    features: FeatureSet,
    fields: Tensor,
    kind: Kind,
    plan: InteractionPlan | None,
    settings: Settings,
) -> Tensor:
    """The logit of one kind of interaction: all combinations at once, or those of the plan."""
    if plan is None:
        return FactorizationMachine(kind[0], name=table_name(kind))(fields)
    combinations = plan.combinations(features.field_names, *kind)
    return GatedInteraction(combinations, *kind, **settings, name=table_name(kind))(fields)
