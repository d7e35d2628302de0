"""AutoGroup: a deep tower on the interactions within groups of fields."""

from collections.abc import Callable, Sequence
from typing import Annotated

import keras
import pydantic

from ctr_keras.features import FeatureSet
from ctr_keras.layers import BatchNormalization, FieldGroups, GatedGroups, LinearLogit
from ctr_keras.models.arguments import (
    Dropout,
    EmbeddingsInitializer,
    Hidden,
    KernelInitializer,
    Penalty,
)
from ctr_keras.models.base import CTRModel
from ctr_keras.models.interactions import read_groups
from ctr_keras.models.parts import (
    deep_logit,
    embed,
    field_inputs,
    joined,
    kernel_penalty,
    probability,
    summed,
)
from ctr_keras.models.registry import register
from ctr_keras.plan import InteractionPlan
from ctr_keras.settings import Count
from ctr_keras.types import Settings

_Counts = Annotated[Sequence[pydantic.NonNegativeInt], pydantic.Field(min_length=1, max_length=4)]


@register(
    "deep tower on the interactions within groups of fields",
    "Liu et al., SIGIR 2020, Section 3",
    family="products",
    needs=("two fields",),
)
def AutoGroup(  # noqa: N802 (a builder reads as the model it builds)
    features: FeatureSet,
    dim: Count = 16,
    groups: _Counts = (4, 16, 16),
    *,
    interactions: InteractionPlan | str | None = None,
    dims: Sequence[Count] | None = None,
    correction: float = 1.0,
    group_gates: Settings | None = None,
    hidden: Hidden = (200, 80),
    dropout: Dropout = 0.0,
    normalization: str | None = None,
    norm_order: str = "before",
    embedding_l2: Penalty = 0.0,
    linear_l2: Penalty = 0.0,
    net_l2: Penalty = 0.0,
    kernel_initializer: KernelInitializer = "glorot_uniform",
    embeddings_initializer: EmbeddingsInitializer = 0.1,
) -> keras.Model:
    """AutoGroup: a linear logit, and a tower on what groups of fields say together.

    Each order has a table of embeddings, normalized by batch, and groups that weigh the fields; a
    group gives the tower its fields' interactions of this order as one number (see `FieldGroups`),
    of order 1 a vector. With a plan the groups are the plan's. Without one all have all fields.

    Args:
        features: FeatureSet of at least two fields.
        dim: int. Width of an embedding. Defaults to `16`.
        groups: list of int. How many groups there are of order 1, of order 2 and so on, where there
            is no plan. Defaults to `(4, 16, 16)`.
        interactions: InteractionPlan of groups, path to one, or None for all fields in each.
            Defaults to `None`.
        dims: list of int or None. Width of an embedding by order. Defaults to `None`: `dim`.
        correction: float. See `FieldGroups`. Defaults to `1.0`.
        group_gates: dict or None. Arguments of `GatedGroups` in the place of `FieldGroups`, with
            which this is the network of the search. Defaults to `None`.
        hidden, embedding_l2, linear_l2: as in `DeepFM`.
        net_l2: float. L2 penalty of the kernels of tower and logit, and of the groups' weights.
            Defaults to `0.0`.
        dropout: float. Share of the tower's units to drop in training. Defaults to `0.0`.
        normalization: str or None. Of the tower (see `MLP`), whose input may be a few numbers of
            which to normalize away the size costs much. Defaults to `None`.
        norm_order: str. Where it stands (see `MLP`). Defaults to `"before"`.
        kernel_initializer: initializer of the groups' weights. Defaults to `"glorot_uniform"`.
        embeddings_initializer: as in `DeepFM`. Defaults to `0.1`.
        check_ids, crossed: as in `FM`.
        numeric_embedding: as in `FM`. Defaults to `"linear"`.

    Returns:
        A model from the packed inputs to the click probability, `(batch, 1)` float32. Its layers
        `field_groups_1`, ... hold the groups of an order, `embedding_1`, ... their tables.

    Raises:
        ValueError: if there are no groups, or no width for an order; for gates with a plan.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> AutoGroup(features, dim=4, groups=[2, 3]).get_layer("deep").input.shape  # 2 * 4 + 3
    (None, 11)

    References:
        AutoGroup: Liu et al., SIGIR 2020, Section 3.
    """
    if interactions is not None and group_gates is not None:
        raise ValueError("group_gates is for a search, and the groups of a plan are found already")
    chosen: dict[int, int | list[tuple[str, ...]]] = (
        {order: count for order, count in enumerate(groups, 1) if count}
        if interactions is None
        else {**read_groups(interactions, features)}
    )
    if not chosen:
        raise ValueError(f"AutoGroup needs at least one group, got groups={[*groups]}")
    widths = [dim] * max(chosen) if dims is None else [*dims]
    if len(widths) < max(chosen):
        raise ValueError(f"dims has a width for each of {max(chosen)} orders, got {widths}")
    inputs = field_inputs(features)
    layer: Callable[..., keras.layers.Layer] = FieldGroups if group_gates is None else GatedGroups
    options = {
        "correction": correction,
        "kernel_initializer": kernel_initializer,
        "kernel_regularizer": kernel_penalty(net_l2),
        **(group_gates or {}),
    }
    parts = []
    for order, of_order in chosen.items():
        names, members = _members(features.field_names, of_order)
        width = widths[order - 1]
        table = f"embedding_{order}"
        fields = embed(
            *(features, inputs, width, embeddings_initializer, table), fields=names, l2=embedding_l2
        )
        fields = keras.layers.Flatten()(fields)
        fields = BatchNormalization(center=False, scale=False, name=f"normalized_{order}")(fields)
        fields = keras.layers.Reshape((len(names), width))(fields)
        parts.append(layer(members, order, name=f"field_groups_{order}", **options)(fields))
    logits = [
        LinearLogit(features, l2=linear_l2, name="linear")(inputs),
        deep_logit(joined(parts, "products"), hidden, dropout, normalization, norm_order, net_l2),
    ]
    return CTRModel(inputs, probability(summed(logits)), name="AutoGroup")


def _members(
    names: Sequence[str], groups: int | list[tuple[str, ...]]
) -> tuple[list[str], int | list[list[int]]]:
    """The fields that are in any of the groups, and which of these each group has."""
    if isinstance(groups, int):
        return [*names], groups
    read = [name for name in names if any(name in group for group in groups)]
    return read, [[read.index(name) for name in group] for group in groups]
