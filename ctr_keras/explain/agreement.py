"""How far two plans agree, of two seeds or two methods."""

import math
from typing import NamedTuple

import numpy as np

from ctr_keras.explain import figures
from ctr_keras.explain.page import Picture
from ctr_keras.metrics import rank_correlation
from ctr_keras.plan import METHODS, Cell, Group, InteractionPlan
from ctr_keras.types import Array


class Agreement(NamedTuple):
    """Two plans, interaction by interaction.

    Attributes:
        fields: the combinations of fields in either plan.
        first, second: the size of each combination's largest gate; 0 where a plan lacks it. Of
            OptInter's methods 0 for `naive`.
        both: how many are in both plans.
        same_method: of OptInter's pairs in both plans, how many have the same method.
    """

    fields: tuple[tuple[str, ...], ...]
    first: Array
    second: Array
    both: int
    same_method: int

    @property
    def overlap(self) -> float:
        """The share of all combinations in either plan that both have; 1 of two empty plans."""
        return self.both / len(self.fields) if self.fields else 1.0

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of the sizes of gates; NaN where a plan has all of the same size."""
        return rank_correlation(self.first, self.second) if self.fields else math.nan


def agreement(first: InteractionPlan, second: InteractionPlan) -> Agreement:
    """Compares two plans by the fields that interact, whatever the functions.

    Example:

    >>> from ctr_keras.plan import Interaction
    >>> one = InteractionPlan([Interaction(("a", "b")), Interaction(("a", "c"))])
    >>> other = InteractionPlan([Interaction(("b", "a"), gate=0.3), Interaction(("b", "c"))])
    >>> agreement(one, other).both, round(agreement(one, other).overlap, 2)
    (1, 0.33)
    """
    gates = [_gates(plan) for plan in (first, second)]
    methods = [_methods(plan) for plan in (first, second)]
    every = tuple(sorted(set().union(*gates)))
    one, two = (np.array([of.get(fields, 0.0) for fields in every]) for of in gates)
    same = sum(methods[1].get(pair) == method for pair, method in methods[0].items())
    return Agreement(every, one, two, len(gates[0].keys() & gates[1].keys()), same)


def _gates(plan: InteractionPlan) -> dict[tuple[str, ...], float]:
    gates: dict[tuple[str, ...], float] = {}
    for name, gate in (plan.fields or {}).items():
        gates[name,] = gate
    for name, kept in plan.values.items():
        gates[name,] = float(kept.mean())
    parts: tuple[Group | Cell, ...] = (*plan.groups, *plan.cells)
    for part in parts:
        fields = tuple(sorted(part.fields))
        gates[fields] = max(part.gate, gates.get(fields, 0.0))
    for i in plan.interactions:
        if i.function != "naive":
            fields = tuple(sorted(i.fields))
            gates[fields] = max(abs(i.gate), gates.get(fields, 0.0))
    return gates


def _methods(plan: InteractionPlan) -> dict[tuple[str, ...], str]:
    return {tuple(sorted(i.fields)): i.function for i in plan.interactions if i.function in METHODS}


def agreement_picture(
    plan: InteractionPlan, other: InteractionPlan, names: tuple[str, str], possible: int
) -> Picture:
    """The gates of one plan over those of another.

    Args:
        plan, other: InteractionPlan.
        names: tuple of str. What they are called.
        possible: int. How many combinations there are, for what chance would give.
    """
    found = agreement(plan, other)
    counts = [int((sizes > 0).sum()) for sizes in (found.first, found.second)]
    title = (
        f"{names[0]} and {names[1]}: {found.both} interactions in both plans, of {counts[0]} "
        f"and {counts[1]}"
    )
    chance = math.prod(counts) / max(possible, 1)
    caption = (
        "Each point is a combination of fields, by the size of its gate in each plan, 0 where a "
        f"plan lacks it. {found.overlap:.0%} of all in either are in both; by chance {chance:.1f} "
        f"would be. Spearman {found.rank_correlation:.2f}."
    )
    if methods := _methods(plan):
        caption += f" {found.same_method} of {len(methods)} pairs have the same method."
    rows = [
        (" \N{MULTIPLICATION SIGN} ".join(fields), float(one), float(two))
        for fields, one, two in zip(found.fields, found.first, found.second, strict=True)
    ]
    rows.sort(key=lambda row: -max(row[1:]))
    figure = figures.agreement_scatter(found.first, found.second, names, title)
    header = ("fields", *names)
    return Picture("agreement", title, caption, figure, header, rows, is_open=True)
