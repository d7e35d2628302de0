"""A few combinations that have every value, or for `make matrix` every pair, on each backend.

Greedy and deterministic: each combination starts from a value or pair that a backend has not had
and takes, axis by axis, the value that brings most new pairs; the first one, which is the cheapest,
if several do.
"""

import functools
import itertools
from collections.abc import Iterator

from tests.compatibility.axes import AXES, STRENGTH, Combination, cheapest_first, tuples
from tests.compatibility.refusals import EXPECTED, Refusal

_Part = frozenset[tuple[str, str]]  # axes and their values


def covering() -> list[Combination]:
    """Combinations that hold every one of `tuples` that names a backend.

    A tuple that refusals rule out occurs in no combination that works; instead, whatever values a
    refusal names occur together in one that is refused.
    """
    left = dict.fromkeys(part for part in map(_part, tuples()) if possible(part))
    made = []
    while start := next((part for part in left if "backend" in dict(part)), None):
        row = _filled(start, left)
        for covered in itertools.combinations(sorted(row), STRENGTH):
            left.pop(frozenset(covered), None)
        made.append(row)
    for refusal in EXPECTED:
        others = tuple(one for one in EXPECTED if one is not refusal)
        for part in refused_parts(refusal):
            if not any(part <= row for row in made):
                made.append(_filled(part, {}, others))
    return sorted({Combination(**dict(row)) for row in made}, key=str)


def refused_parts(refusal: Refusal) -> Iterator[_Part]:
    """Each way to have one of the values that a refusal names on each of its axes."""
    for values in itertools.product(*map(refusal.values, refusal.where)):
        yield _part(dict(zip(refusal.where, values, strict=True)))


@functools.cache
def possible(part: _Part, refusals: tuple[Refusal, ...] = EXPECTED) -> bool:
    """Whether values of some axes occur in any combination that is not refused."""
    given = dict(part)
    if any(refusal.rules_out(given) for refusal in refusals):
        return False
    free = next((name for name in AXES if name not in given), None)
    if free is None:
        return True
    return any(possible(part | {(free, v)}, refusals) for v in cheapest_first(free, given))


def _part(values: dict[str, str]) -> _Part:
    return frozenset(values.items())


def _filled(
    part: _Part,
    left: dict[_Part, None],
    refusals: tuple[Refusal, ...] = EXPECTED,
) -> _Part:
    """A part with a value for each other axis: that which brings most of what is left."""
    for name in AXES:
        if name in dict(part):
            continue
        values = cheapest_first(name, dict(part))
        choices = [(name, v) for v in values if possible(part | {(name, v)}, refusals)]

        def new(chosen: tuple[str, str], part: _Part = part) -> int:
            others = itertools.combinations(part, STRENGTH - 1)
            return sum(frozenset((*some, chosen)) in left for some in others)

        part |= {max(choices, key=new)}
    return part
