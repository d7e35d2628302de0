"""Contradictions between the features of a set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ctr_keras.features.declarations import (
    Crossed,
    Feature,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.settings import did_you_mean

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet


# Lists are inputs of models under their own names, which must not be those of a model's layers.
_LAYERS = re.compile(
    r"([a-z]+_)?logit(_\d)?|score|linear|leaf_linear|item|deep|power_deep|bottom|leaves|factors|"
    r"combination|interactions|memorized|multi_interactive|products|kernel_products|pooled|"
    r"attention|compressed|field_cells|pair_networks|excitation|powers|complex|graph|"
    r"embedding(_.*)?|.*_embedding|dropped_.*|normalized_.*|(concatenate|flatten|reshape|multiply)(_\d+)?|"
    r"(interacting|disentangled|part_scaler|residual|cross|deep|bridge|bilinear|mask_block|gate|"
    r"euler|wukong|generalized|final_\d|cross_regulation|deep_regulation|field_groups|"
    r"transformer)_\d+|target_attention|interest_(gru|evolution)|next_behavior_loss|"
    r"task_towers|experts_\d+|sim_hash|top_behaviors|hash_attention|"
    r"(inner|outer|scalar|vector)_\d+(_products)?"
)


def check_set(features: FeatureSet) -> None:
    """Checks that the features of a set go together."""
    if not features.features:
        raise ValueError("a FeatureSet needs at least one feature")
    of_rows = filter(None, (*features.label_names, features.label.weight))
    _check_unique([*(f.name for f in features.features), *of_rows])
    _check_weights(features)
    _check_labels(features)
    _check_column_types(features)
    for lists in (features.multi_valued, features.sequences):
        _check_no_layers(lists)
    for feature in features.features:
        if isinstance(feature, Crossed):
            _check_crossed(features, feature)
        elif feature.vocabulary_of is not None:
            _check_shared(features, feature, feature.vocabulary_of)


def _check_weights(features: FeatureSet) -> None:
    """Checks that no column of prepared data is called as weights of values are."""
    columns = {*(f.name for f in features.features), *features.label_names, features.label.weight}
    for name, feature in features.weights_inputs.items():
        if name in columns:
            raise ValueError(
                f"{name!r} is what the weights of {feature.name!r} are called: give it another name"
            )


def _check_labels(features: FeatureSet) -> None:
    """Checks that of several labels the first one says what is of the rows, and all are kept."""
    first, *others = features.tasks
    for task in others:
        if task.weight or task.group:
            raise ValueError(f"label {task.name!r}: the first label declares weight and group")
    if others and any(task.negatives_kept < 1 for task in features.tasks):
        raise ValueError(
            f"a sample of the rows without {first.name} does not go with a second label, "
            f"{others[0].name!r}: keep all rows"
        )


def _check_no_layers(lists: Iterable[MultiValued | Sequence]) -> None:
    for feature in lists:
        if _LAYERS.fullmatch(feature.name):
            raise ValueError(
                f"{feature.kind} feature {feature.name!r} is called as a layer of models is: "
                f"give it another name, and `column: {feature.raw_column}`"
            )


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name!r} is declared twice")
        seen.add(name)


def _check_column_types(features: FeatureSet) -> None:
    for name in features.label_names:
        if name in features.raw_columns:
            raise ValueError(f"the label's column {name!r} is also a feature's")
    if features.label.weight in features.raw_columns:
        raise ValueError(f"the weight's column {features.label.weight!r} is also a feature's")
    for feature in features.features:
        if isinstance(feature, Crossed):
            continue
        column = feature.raw_column
        if isinstance(feature, Numeric) != (features.raw_columns[column] == "float"):
            raise ValueError(f"column {column!r} is read both as a number and as a string")


def _check_crossed(features: FeatureSet, crossed: Crossed) -> None:
    allowed = {feature.name for feature in features.categorical}
    for name in (crossed.first, crossed.second):
        if name not in features:
            raise ValueError(f"crossed feature {crossed.name!r}: {_unknown(features, name)}")
        if name not in allowed:
            raise ValueError(
                f"crossed feature {crossed.name!r}: {name!r} must be Categorical, or Numeric with "
                f"buckets. Received: {features[name]}"
            )


def _check_shared(features: FeatureSet, feature: Feature, owner: str) -> None:
    if owner not in features:
        raise ValueError(f"feature {feature.name!r}: vocabulary_of: {_unknown(features, owner)}")
    vocabulary = features[owner].vocabulary
    if vocabulary is None or vocabulary.number_buckets or isinstance(features[owner], Crossed):
        raise ValueError(
            f"feature {feature.name!r}: {owner!r} has no vocabulary of its own to share "
            f"({features[owner]})"
        )


def _unknown(features: FeatureSet, name: str) -> str:
    return f"unknown feature {name!r}{did_you_mean(name, (f.name for f in features.features))}"


def check_sizes(features: FeatureSet) -> None:
    """Checks that the vocabulary sizes of a set, if they are known, are those of its features."""
    if features.vocabulary_sizes is None:
        return
    counted = {v.name for v in features.vocabularies if v.is_counted}
    if counted != set(features.vocabulary_sizes):
        raise ValueError(
            f"vocabulary_sizes must name exactly the counted vocabularies {sorted(counted)}. "
            f"Received: {sorted(features.vocabulary_sizes)}"
        )
