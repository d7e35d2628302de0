"""AIM's network: interactions and their functions as a plan has them, beside a deep tower."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import MLP, GatedInteraction, LinearLogit
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import embed, read_plan, table_name
from ctr_keras.models.parts import field_inputs, probability, summed
from ctr_keras.plan import FUNCTIONS, InteractionPlan


def AIM(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: int = 16,
    *,
    interactions: InteractionPlan | str | None = None,
    orders: Sequence[int] | None = None,
    share_embedding: bool = False,
    part_scalers: bool = False,
    hidden: Sequence[int] = (400, 400, 400),
    hidden_dropout: float = 0.0,
    normalization: str | None = "batch",
    norm_order: str = "unscaled",
    kernel_initializer: Any = None,
    embeddings_initializer: Any = "glorot_uniform",
) -> keras.Model:
    """AIM: a linear logit, gated interactions by four functions, a tower on their products.

    `logit = <w, x> + b + sum_q alpha_q norm(f(q)) + MLP(z)`. Each order and function has an
    embedding table of its own, whose fields keep the dimensions that the plan says. `z` holds the
    products of the same interactions before normalization, gate and sum: vectors, for the outer
    product a number.

    Args:
        features: FeatureSet.
        dim: int. Width of an embedding. Defaults to `16`.
        interactions: InteractionPlan, path to one, or None for every combination with every
            function. Defaults to `None`.
        orders: list of int or None. Orders of interactions. Defaults to `None`: those of the plan,
            or second order without one.
        share_embedding: bool. Whether all functions and orders use one table ("SE" in the paper).
            Defaults to `False`.
        part_scalers: bool. Whether every part of the logit has a factor of its own, as in the
            authors' code. Defaults to `False`.
        hidden: list of int. Widths of the tower's layers. Defaults to `(400, 400, 400)`.
        hidden_dropout: float. Share of the tower's units to drop. Defaults to `0.0`.
        normalization: str or None. Of the tower (see `MLP`). Defaults to `"batch"`.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"unscaled"`.
        kernel_initializer: initializer of vector and scalar kernels and outer products.
            Defaults to `None`: as `GatedInteraction`.
        embeddings_initializer: initializer of the tables. Defaults to `"glorot_uniform"`.

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
    inputs = field_inputs(features)
    plan = read_plan(interactions, orders, features)
    if plan is None:
        plan = InteractionPlan.complete(features.field_names, orders or (2,), FUNCTIONS)
    if share_embedding and plan.kept_dims:
        raise ValueError("a plan with embedding dimensions needs share_embedding=False")
    shared = None
    if share_embedding:
        shared = embed(features, inputs, dim, "embedding", embeddings_initializer)
    logits = [LinearLogit(features, name="linear")(inputs)]
    products = []
    for kind in plan.kinds:
        name = table_name(kind)
        embedded = shared
        if embedded is None:
            kept = plan.kept_dims.get(name)
            embedded = embed(
                features, inputs, dim, f"embedding_{name}", embeddings_initializer, kept
            )
        logit, product = GatedInteraction(
            plan.combinations(features.field_names, *kind),
            *kind,
            kernel_initializer=kernel_initializer,
            name=name,
        )(embedded, return_products=True)
        logits.append(logit)
        products.append(keras.layers.Flatten(name=f"{name}_products")(product))
    if products:
        joined = products[0]
        if len(products) > 1:
            joined = keras.layers.Concatenate(name="products")(products)
        tower = MLP(
            hidden,
            dropout=hidden_dropout,
            normalization=normalization,
            order=norm_order,
            name="deep",
        )(joined)
        logits.append(keras.layers.Dense(1, dtype="float32", name="deep_logit")(tower))
    if part_scalers:
        logits = [_scaled(logit, index) for index, logit in enumerate(logits)]
    return CTRModel(inputs, probability(summed(logits)), name="AIM")


def _scaled(logit: Any, index: int) -> Any:
    """Times one learned factor, drawn as the authors' code draws a variable of shape (1,)."""
    bound = 6**0.5
    return keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=f"part_scaler_{index}",
    )(logit)
