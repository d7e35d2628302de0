"""A few combinations in which every pair (or triple) of values of two (three) axes occurs.

Greedy and deterministic: each combination starts from a pair that has not occurred and takes, axis
by axis, the value that brings most new pairs; the first one, which is the cheapest, if several do.
"""

import itertools
from collections.abc import Iterator, Sequence

from tests.compatibility.axes import AXES, Combination, cheapest_first, tuples
from tests.compatibility.refusals import EXPECTED, Refusal

_Part = frozenset[tuple[str, str]]  # axes and their values


def covering(strength: int, expected: Sequence[Refusal] = EXPECTED) -> list[Combination]:
    """Combinations that hold every tuple of values of `strength` axes.

    A tuple that a refusal rules out occurs in no combination; instead, whatever values the refusal
    names occur together in one.
    """
    left = dict.fromkeys(
        part for part in map(_part, tuples(strength)) if not _ruled_out(part, expected)
    )
    made = []
    while left:
        row = _filled(next(iter(left)), left, strength, expected)
        for covered in itertools.combinations(sorted(row), strength):
            left.pop(frozenset(covered), None)
        made.append(row)
    made += [
        _filled(part, {}, strength, [one for one in expected if one is not refusal])
        for refusal in expected
        for part in refused_parts(refusal)
        if not any(part <= row for row in made)
    ]
    return sorted({Combination(**dict(row)) for row in made}, key=str)


def refused_parts(refusal: Refusal) -> Iterator[_Part]:
    """Each way to have one of the values that a refusal names on each of its axes."""
    for values in itertools.product(*map(refusal.values, refusal.where)):
        yield _part(dict(zip(refusal.where, values, strict=True)))


def _part(values: dict[str, str]) -> _Part:
    return frozenset(values.items())


def _ruled_out(part: _Part, expected: Sequence[Refusal]) -> bool:
    return any(refusal.rules_out(dict(part)) for refusal in expected)


def _filled(
    part: _Part, left: dict[_Part, None], strength: int, expected: Sequence[Refusal]
) -> _Part:
    """A part with a value for each other axis: that which brings most of what is left."""
    for name in AXES:
        if name in dict(part):
            continue
        values = cheapest_first(name, dict(part).get("backend", ""))
        possible = [(name, v) for v in values if not _ruled_out(part | {(name, v)}, expected)]

        def new(chosen: tuple[str, str], part: _Part = part) -> int:
            others = itertools.combinations(part, strength - 1)
            return sum(frozenset((*some, chosen)) in left for some in others)

        part |= {max(possible, key=new)}
    return part
