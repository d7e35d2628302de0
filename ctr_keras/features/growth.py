"""Versions of vocabularies that have grown.

A value keeps its place in its vocabulary for ever; what is new comes behind. An id is the place
plus the first id of its vocabulary (see `layout.py`), and that one moves when a vocabulary before
it grows. So rows of an earlier version become rows of a later one by adding to the ids of each
vocabulary by how much its first one has moved, and nothing has to be prepared again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ctr_keras.types import Array

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet


def id_moves(old: FeatureSet, new: FeatureSet) -> dict[str, Array]:
    """What turns packed ids of one version into those of a later one.

    Args:
        old, new: FeatureSets of the same declaration with known vocabulary sizes.

    Returns:
        By packed input of ids what to add to those that are not 0 (missing), (width,) int32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> declared = FeatureSet(Categorical("user"), Categorical("item"), label=Label("click"))
    >>> monday = declared.with_vocabulary_sizes({"user": 3, "item": 2})
    >>> tuesday = monday.grown_to({"user": 5, "item": 2})
    >>> id_moves(monday, tuesday)["categorical"].tolist()
    [0, 2]
    """
    moves = {name: ids.start - old.id_ranges[name].start for name, ids in new.id_ranges.items()}
    return {
        name: np.broadcast_to(
            np.array([moves[new.vocabulary_name(f)] for f in members], np.int32),
            new.packed_shapes[name],
        )
        for name, members in new.id_inputs.items()
    }


def is_grown_from(old: FeatureSet, new: FeatureSet) -> bool:
    """Whether a fitted set is another one, or what it has become by growing.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> monday = FeatureSet(Categorical("site"), label=Label("click")).fit({"site": ["a", "b"]})
    >>> tuesday = monday.grow({"site": ["c"]})
    >>> is_grown_from(monday, tuesday), is_grown_from(tuesday, monday)
    (True, False)
    """
    before, after = old.statistics.values, new.statistics.values
    return (
        (old.features, old.tasks) == (new.features, new.tasks)
        and old.statistics.numbers == new.statistics.numbers
        and all(tuple(after[name][: len(known)]) == tuple(known) for name, known in before.items())
    )
