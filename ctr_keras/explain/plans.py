"""The interaction plan inside a trained model."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import (
    CombinationBlock,
    CompactEmbedding,
    FieldCells,
    FieldGroups,
    GatedInteraction,
    KeptValues,
)
from ctr_keras.models.base import built_features
from ctr_keras.plan import Cell, Group, Interaction, InteractionPlan


def plan_of_model(model: keras.Model, features: FeatureSet) -> InteractionPlan:
    """What a model does with its interactions, its trained gates included.

    Args:
        model: keras.Model on the packed inputs.
        features: FeatureSet.

    Returns:
        The interactions of gated layers with their gates, OptInter's pairs with their methods,
        AutoGroup's groups, AutoFeature's cells, and the dimensions, fields and values that are
        kept. Without any of these it is empty.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> from ctr_keras.models import FM
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> model = FM(features, interactions=InteractionPlan([Interaction(("a", "b"))]))
    >>> _ = model.get_layer("inner_2").gates.assign([0.5])
    >>> plan_of_model(model, features).interactions
    (Interaction(fields=('a', 'b'), function='inner', gate=0.5),)
    """
    features = built_features(model, features)
    interactions: list[Interaction] = []
    kept: dict[str, Any] = {}
    values: dict[str, Any] = {}
    groups: list[Group] = []
    cells: list[Cell] = []
    for layer in model.layers:
        if isinstance(layer, GatedInteraction) and layer.gated and layer.terms:
            gates = keras.ops.convert_to_numpy(layer.gates).tolist()
            interactions += [
                Interaction(_named(features.field_names, term), layer.function, gate)
                for term, gate in zip(layer.terms, gates, strict=True)
            ]
        elif isinstance(layer, CombinationBlock) and layer.methods:
            names = [field.name for field in features.categorical]
            interactions += [
                Interaction(_named(names, pair), method)
                for pair, method in zip(layer.pairs or (), layer.methods, strict=True)
            ]
        elif isinstance(layer, FieldGroups) and not isinstance(layer.groups, int):
            names = model.get_layer(f"embedding_{layer.order}").fields
            groups += [Group(_named(names, group), layer.order) for group in layer.groups]
        elif isinstance(layer, FieldCells):
            cells = [Cell(_named(features.field_names, f), blocks) for f, blocks in layer.cells]
        elif isinstance(layer, CompactEmbedding):
            kept[layer.name.removeprefix("embedding_")] = layer.kept
        elif isinstance(layer, KeptValues):
            values = layer.kept
    read = None if features.read is None else dict.fromkeys(features.read, 1.0)
    return InteractionPlan(interactions, kept, read, values, groups, cells)


def _named(names: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[place] for place in places)
