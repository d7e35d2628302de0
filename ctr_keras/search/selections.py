"""What the searches are compared with: selections of the same size, without training a gate."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from pydantic import NonNegativeInt

from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.models.interactions import Kind
from ctr_keras.plan import METHODS, Cell, Group, Interaction, InteractionPlan
from ctr_keras.search.gates import candidate_fields
from ctr_keras.search.rows import both_splits
from ctr_keras.settings import Count, check_settings
from ctr_keras.types import Rows

_OTHERS = ("fields", "values", "groups", "cells")  # what a plan may have but interactions


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSelection:
    """As many random interactions of each order and function as a plan has.

    Of a plan of OptInter's methods it takes the pairs, and draws each pair's method; of a plan of
    fields it draws as many fields, of one of values as many of each vocabulary, of one of groups as
    many fields for each group, and of one of cells as many pairs, each with the blocks of another.

    Args:
        like: InteractionPlan, or path to one.
        seed: int. Of the draw. Defaults to `0`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(*(Categorical(name) for name in "abc"), label=Label("y"))
    >>> plan = InteractionPlan([Interaction(("a", "b"))])
    >>> len(RandomSelection(like=plan).search(features).interactions)
    1

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 4.5;
        [OptInter](https://arxiv.org/abs/2108.01265), Section III-D.
    """

    like: InteractionPlan | str
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_settings(self)

    def search(
        self,
        features: FeatureSet,
        train: str | Rows | None = None,
        validation: str | Rows | None = None,
        folder: str | None = None,
    ) -> InteractionPlan:
        """Draws the selection; rows are not looked at.

        Args:
            features: FeatureSet.
            train, validation, folder: not used, here as in other searches.
        """
        del train, validation, folder
        draw = np.random.default_rng(self.seed)
        plan = _loaded(self.like, features)
        if any(interaction.function in METHODS for interaction in plan.interactions):
            drawn = draw.integers(0, len(METHODS), len(plan.interactions))
            return InteractionPlan(
                Interaction(interaction.fields, METHODS[method])
                for interaction, method in zip(plan.interactions, drawn, strict=True)
            )
        if plan.fields is not None:
            names = draw.permutation(candidate_fields(features))[: len(plan.fields)]
            return InteractionPlan([], fields=dict.fromkeys(names.tolist(), 1.0))
        if plan.values:
            values = {name: draw.permutation(kept) for name, kept in plan.values.items()}
            return InteractionPlan([], values=values)
        if plan.groups:
            fields = candidate_fields(features)
            groups = [
                Group(draw.choice(fields, len(group.fields), replace=False).tolist(), group.order)
                for group in plan.groups
            ]
            return InteractionPlan([], groups=groups)
        if plan.cells:
            pairs = draw.permutation([*itertools.combinations(candidate_fields(features), 2)])
            cells = zip(pairs.tolist(), plan.cells, strict=False)
            return InteractionPlan([], cells=[Cell(pair, cell.blocks) for pair, cell in cells])
        chosen = []
        for kind, every, count in _pools(plan, features):
            indices = sorted(draw.choice(len(every), count, replace=False))
            chosen += [Interaction(every[index], kind[1]) for index in indices]
        return InteractionPlan(chosen)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatisticsSelection:
    """As many interactions of each order and function as a plan has: those of best statistics_AUC.

    An interaction's gate is its statistics_AUC less 0.5 (see `ctr_keras.metrics.statistics_auc`).

    Args:
        like: InteractionPlan of interaction functions, or path to one.
        rows: int. Rows of each split to look at, at most. Defaults to `1000000`.

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 4.5.1.
    """

    like: InteractionPlan | str
    rows: Count = 1_000_000

    def __post_init__(self) -> None:
        check_settings(self)

    def search(
        self,
        features: FeatureSet,
        train: str | Rows,
        validation: str | Rows | None = None,
        folder: str | None = None,
    ) -> InteractionPlan:
        """Makes the selection.

        Args:
            features: FeatureSet.
            train: str or tuple. Prepared data, or packed inputs by name and their labels: what
                click-through rates are counted on.
            validation: str or tuple. What they are scored on.
            folder: not used, here as in other searches.

        Raises:
            ValueError: without validation rows, or for a plan of fields, values, groups or cells.
        """
        del folder
        counted, scored = both_splits(features, train, validation)
        if scored is None:
            raise ValueError("statistics_AUC needs validation rows to score")
        plan = _loaded(self.like, features)
        of = next((part for part in _OTHERS if getattr(plan, part)), None)
        if of is not None:
            raise ValueError(f"statistics select interactions, and the plan is one of {of}")
        inputs, labels = counted.arrays(self.rows)
        others, other_labels = scored.arrays(self.rows)
        codes, other_codes = metrics.field_codes(features, inputs, others)

        def statistic(fields: tuple[str, ...]) -> float:
            return metrics.statistics_auc(
                [codes[name] for name in fields],
                labels,
                [other_codes[name] for name in fields],
                other_labels,
            )

        chosen = []
        for kind, every, count in _pools(plan, features):
            best = sorted(((statistic(fields), fields) for fields in every), reverse=True)[:count]
            chosen += [Interaction(fields, kind[1], auc - 0.5) for auc, fields in best]
        return InteractionPlan(chosen)


def _loaded(like: InteractionPlan | str, features: FeatureSet) -> InteractionPlan:
    plan = InteractionPlan.load(like) if isinstance(like, str) else like
    plan.check(features.field_names)
    return plan


def _pools(
    plan: InteractionPlan, features: FeatureSet
) -> Iterator[tuple[Kind, list[tuple[str, ...]], int]]:
    """Of each kind in a plan: all combinations of fields, and how many the plan has."""
    for kind in plan.kinds:
        every = list(itertools.combinations(candidate_fields(features), kind[0]))
        yield kind, every, sum((i.order, i.function) == kind for i in plan.interactions)
