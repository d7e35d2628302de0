"""Factorization machines, shallow and deep, on all interactions or on those of a plan."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    MLP,
    EmbeddingGate,
    FactorizationMachine,
    GatedInteraction,
    LinearLogit,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import BASE, Kind, embed, read_plan, table_name
from ctr_keras.models.parts import field_inputs, probability, summed
from ctr_keras.plan import InteractionPlan


def FM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: int = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = True,
    normalized: bool = True,
    share_embedding: bool = False,
    embedding_gates: bool = False,
    linear: bool = True,
    kernel_initializer: Any = None,
    embeddings_initializer: Any = "glorot_uniform",
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
        kernel_initializer: initializer of vector and scalar kernels and outer products.
            Defaults to `None`: as `GatedInteraction`.
        embeddings_initializer: initializer of the tables. Defaults to `"glorot_uniform"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `inner_2`, ... hold the interactions.

    Raises:
        ValueError: if both interactions and dimensions are to have gates.

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
    inputs = field_inputs(features)
    plan = read_plan(interactions, orders, features)
    if embedding_gates and (plan is None or gated or normalized or share_embedding):
        raise ValueError(
            "gates of interactions and of embedding dimensions scale each other, so they are "
            "searched one after the other: embedding_gates=True takes a plan, gated=False, "
            "normalized=False and share_embedding=False"
        )
    kinds = _kinds(plan, orders)
    base = None
    if share_embedding or BASE in kinds:
        base = embed(features, inputs, dim, "embedding", embeddings_initializer)
    logits = [LinearLogit(features, name="linear")(inputs)] if linear else []
    embedding_of = _embeddings(features, inputs, dim, embeddings_initializer, base, share_embedding)
    settings = {"gated": gated, "normalized": normalized, "kernel_initializer": kernel_initializer}
    for kind in kinds:
        embedded = embedding_of(kind)
        if embedding_gates:
            embedded = EmbeddingGate(name=f"dims_{table_name(kind)}")(embedded)
        logits.append(_interaction(features, embedded, kind, plan, settings))
    if not logits:
        raise ValueError("nothing is left of the model: no linear logit and no interaction")
    return CTRModel(inputs, probability(summed(logits)), name="FM")


def DeepFM(  # noqa: N802
    features: FeatureSet,
    dim: int = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = True,
    normalized: bool = True,
    share_embedding: bool = False,
    hidden: Sequence[int] = (400, 400, 400),
    hidden_dropout: float = 0.0,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    kernel_initializer: Any = None,
    embeddings_initializer: Any = "glorot_uniform",
) -> keras.Model:
    """DeepFM: a factorization machine beside a deep tower on the same embedding.

    With a plan this is AutoDeepFM; see `FM`.

    Args:
        features, dim, interactions, orders, gated, normalized, share_embedding: as in `FM`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400, 400)`.
        hidden_dropout: float. Share of the tower's units to drop. Defaults to `0.0`.
        normalization: str or None. Of the tower (see `MLP`). Defaults to `"batch"`.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"unscaled"`.
        kernel_initializer: initializer, as in `FM`. Defaults to `None`.
        embeddings_initializer: initializer of the tables. Defaults to `"glorot_uniform"`.

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
    inputs = field_inputs(features)
    plan = read_plan(interactions, orders, features)
    base = embed(features, inputs, dim, "embedding", embeddings_initializer)
    logits = [LinearLogit(features, use_bias=False, name="linear")(inputs)]
    embedding_of = _embeddings(features, inputs, dim, embeddings_initializer, base, share_embedding)
    settings = {"gated": gated, "normalized": normalized, "kernel_initializer": kernel_initializer}
    for kind in _kinds(plan, orders):
        logits.append(_interaction(features, embedding_of(kind), kind, plan, settings))
    tower = MLP(
        hidden, dropout=hidden_dropout, normalization=normalization, order=norm_order, name="deep"
    )(keras.layers.Flatten()(base))
    logits.append(keras.layers.Dense(1, dtype="float32", name="deep_logit")(tower))
    return CTRModel(inputs, probability(summed(logits)), name="DeepFM")


def IPNN(  # noqa: N802
    features: FeatureSet,
    dim: int = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    gated: bool = False,
    normalized: bool = False,
    share_embedding: bool = False,
    hidden: Sequence[int] = (400, 400, 400),
    hidden_dropout: float = 0.0,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    kernel_initializer: Any = None,
    embeddings_initializer: Any = "glorot_uniform",
) -> keras.Model:
    """Inner-product network: a deep tower on the embeddings and each pair's inner product.

    With a plan this is AutoIPNN: the tower gets the plan's interactions only, each as one number.
    AutoFIS carries a plan over to it without gates and normalization; a search has both.

    Args:
        features, dim, interactions, orders, share_embedding, kernel_initializer: as in `FM`.
        gated: bool. Whether the interactions have gates. Defaults to `False`.
        normalized: bool. Whether they are normalized. Defaults to `False`.
        hidden, hidden_dropout, normalization, norm_order, embeddings_initializer: as in `DeepFM`.

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
    inputs = field_inputs(features)
    plan = read_plan(interactions, orders, features)
    if plan is None:
        plan = InteractionPlan.complete(features.field_names, orders or (2,))
    base = embed(features, inputs, dim, "embedding", embeddings_initializer)
    parts = [keras.layers.Flatten()(base)]
    embedding_of = _embeddings(features, inputs, dim, embeddings_initializer, base, share_embedding)
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
        parts.append(products(embedding_of(kind)))
    joined = keras.layers.Concatenate(name="products")(parts) if len(parts) > 1 else parts[0]
    tower = MLP(
        hidden, dropout=hidden_dropout, normalization=normalization, order=norm_order, name="deep"
    )(joined)
    logit = keras.layers.Dense(1, dtype="float32", name="logit")(tower)
    return CTRModel(inputs, probability(logit), name="IPNN")


def _kinds(plan: InteractionPlan | None, orders: Sequence[int] | None) -> tuple[Kind, ...]:
    if plan is not None:
        return plan.kinds
    return tuple((order, "inner") for order in orders or (2,))


def _embeddings(
    features: FeatureSet, inputs: Any, dim: int, initializer: Any, base: Any, shared: bool
) -> Callable[[Kind], Any]:
    """The embeddings that a kind of interaction uses: the main ones or those of its own table."""

    def embedding_of(kind: Kind) -> Any:
        if shared or kind == BASE:
            return base
        return embed(features, inputs, dim, f"embedding_{table_name(kind)}", initializer)

    return embedding_of


def _interaction(
    features: FeatureSet,
    embedded: Any,
    kind: Kind,
    plan: InteractionPlan | None,
    settings: dict[str, Any],
) -> Any:
    """The logit of one kind of interaction: all combinations at once, or those of the plan."""
    if plan is None:
        return FactorizationMachine(kind[0], name=table_name(kind))(embedded)
    combinations = plan.combinations(features.field_names, *kind)
    return GatedInteraction(combinations, *kind, **settings, name=table_name(kind))(embedded)
