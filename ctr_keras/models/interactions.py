"""From an interaction plan to a model: what builders that take one share."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ctr_keras.features import FeatureSet
from ctr_keras.layers import KeptValues
from ctr_keras.models.parts import field_inputs
from ctr_keras.plan import METHODS, Cell, InteractionPlan
from ctr_keras.types import Array, Tensor

Kind = tuple[int, str]  # order and interaction function
BASE: Kind = (2, "inner")  # the interactions that use the model's main embedding


class Planned(NamedTuple):
    """What a plan says to a builder.

    Attributes:
        features: those that the model is to read.
        plan: the interactions that it is to have, None for all.
        inputs: its inputs.
        ids: what its layers are to read, the inputs without the values that are not kept.
    """

    features: FeatureSet
    plan: InteractionPlan | None
    inputs: dict[str, Tensor]
    ids: dict[str, Tensor]


def read_plan(
    interactions: InteractionPlan | str | None,
    orders: Sequence[int] | None,
    features: FeatureSet,
) -> Planned:
    """What a plan says, or the file that it is in, with the orders asked for.

    Raises:
        ValueError: if it holds OptInter's methods, AutoGroup's groups or AutoFeature's cells, names
            fields that the features lack, or is of values of other vocabularies.
    """
    if interactions is None:
        inputs = field_inputs(features)
        return Planned(features, None, inputs, inputs)
    plan = _loaded(interactions)
    _refuse_parts(plan)
    if any(interaction.function in METHODS for interaction in plan.interactions):
        raise ValueError(
            "this model takes interaction functions, and the plan holds methods "
            f"({', '.join(METHODS)}): it is one for OptInter"
        )
    try:
        plan.check(features.field_names)
    except ValueError as error:
        raise ValueError(f"{error}; crossed features are fields with crossed=true only") from None
    if plan.fields is not None:
        features = features.reading(plan.fields)
    inputs = field_inputs(features)
    ids = _with_kept(plan.values, features, inputs) if plan.values else inputs
    if not plan.interactions and (plan.fields or plan.values):
        return Planned(features, None, inputs, ids)
    return Planned(features, plan if orders is None else plan.restricted(orders), inputs, ids)


def _with_kept(
    values: Mapping[str, Array], features: FeatureSet, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The inputs with the values that are kept, from a layer `kept_values`."""
    for name, kept in values.items():
        count = len(features.id_ranges.get(name, ()))
        if len(kept) != count:
            raise ValueError(
                f"the plan is of {len(kept)} values of {name!r}, and the data have {count}: search "
                "these data"
            )
    layer = KeptValues(features, name="kept_values")
    ids: dict[str, Tensor] = layer(inputs)
    layer.keep(values)
    return ids


def fields_of_plan(interactions: InteractionPlan | str | None) -> Collection[str] | None:
    """The fields that a plan, or the file that it is in, is of; None of one that is of all."""
    return None if interactions is None else _loaded(interactions).fields


def read_methods(interactions: InteractionPlan | str) -> InteractionPlan:
    """The plan of methods that OptInter or a like model was given, or a path to it.

    Raises:
        ValueError: if it holds interaction functions, groups or cells.
    """
    plan = _loaded(interactions)
    _refuse_parts(plan)
    if plan.fields is not None or plan.values:
        of = "values" if plan.values else "fields"
        raise ValueError(f"this model reads all fields, and the plan is one of {of}: see FM")
    if any(interaction.function not in METHODS for interaction in plan.interactions):
        raise ValueError(
            f"this model takes methods ({', '.join(METHODS)}), and the plan holds interaction "
            "functions: it is one for FM, DeepFM, IPNN or AIM"
        )
    return plan


def read_groups(
    interactions: InteractionPlan | str, features: FeatureSet
) -> dict[int, list[tuple[str, ...]]]:
    """By order, the fields of AutoGroup's groups in a plan or in the file that it is in.

    Raises:
        ValueError: if it holds none, or names fields that the features lack.
    """
    plan = _loaded(interactions)
    if not plan.groups:
        raise ValueError(
            "this model takes groups of fields, and the plan has none: those of `ctr-keras search "
            "--method autogroup` have them"
        )
    plan.check(features.field_names)
    orders = sorted({group.order for group in plan.groups})
    return {
        order: [group.fields for group in plan.groups if group.order == order] for order in orders
    }


def read_cells(interactions: InteractionPlan | str, features: FeatureSet) -> tuple[Cell, ...]:
    """AutoFeature's cells in a plan or in the file that it is in.

    Raises:
        ValueError: if it holds none, or names fields that the features lack.
    """
    plan = _loaded(interactions)
    if not plan.cells:
        raise ValueError(
            "this model takes cells of fields, and the plan has none: those of `ctr-keras search "
            "--method autofeature` have them"
        )
    plan.check(features.field_names)
    return plan.cells


def _refuse_parts(plan: InteractionPlan) -> None:
    for parts, name, model in (
        (plan.groups, "groups of fields", "AutoGroup"),
        (plan.cells, "cells of fields", "AutoFeature"),
    ):
        if parts:
            raise ValueError(f"the plan is one of {name}: it is one for {model}")


def _loaded(interactions: InteractionPlan | str) -> InteractionPlan:
    return InteractionPlan.load(interactions) if isinstance(interactions, str) else interactions


def table_name(kind: Kind) -> str:
    """The name of a kind's embedding table, as in `InteractionPlan.kept_dims`.

    Example:

    >>> table_name((3, "outer"))
    'outer_3'
    """
    return f"{kind[1]}_{kind[0]}"


def own_table(kind: Kind) -> str:
    """The name of the layer that embeds the fields for this kind of interaction alone."""
    return f"embedding_{table_name(kind)}"
