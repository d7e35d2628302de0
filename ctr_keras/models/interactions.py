"""From an interaction plan to a model: what builders that take one share."""

from collections.abc import Sequence

from ctr_keras.features import FeatureSet
from ctr_keras.plan import METHODS, InteractionPlan

Kind = tuple[int, str]  # order and interaction function
BASE: Kind = (2, "inner")  # the interactions that use the model's main embedding


def read_plan(
    interactions: InteractionPlan | str | None,
    orders: Sequence[int] | None,
    features: FeatureSet,
) -> tuple[FeatureSet, InteractionPlan | None]:
    """The features that a builder is to read, and the interactions that it is to have, if these are
    not all: what a plan says, or the file that it is in, with the orders asked for.

    Raises:
        ValueError: if it holds OptInter's methods, or names fields that the features lack.
    """
    if interactions is None:
        return features, None
    plan = _loaded(interactions)
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
        if not plan.interactions:
            return features, None
    return features, plan if orders is None else plan.restricted(orders)


def read_methods(interactions: InteractionPlan | str) -> InteractionPlan:
    """The plan of methods that OptInter or a like model was given, or a path to it.

    Raises:
        ValueError: if it holds interaction functions.
    """
    plan = _loaded(interactions)
    if plan.fields is not None:
        raise ValueError("this model reads all fields, and the plan is one of fields: see FM")
    if any(interaction.function not in METHODS for interaction in plan.interactions):
        raise ValueError(
            f"this model takes methods ({', '.join(METHODS)}), and the plan holds interaction "
            "functions: it is one for FM, DeepFM, IPNN or AIM"
        )
    return plan


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
