"""Which column is the label, and which others give it away."""

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ctr_keras.features import Label
from ctr_keras.features.guessing.names import LABELS, words
from ctr_keras.features.guessing.profiles import Profile
from ctr_keras.features.labels import is_positive
from ctr_keras.settings import did_you_mean
from ctr_keras.types import Array

_MAX_RATINGS = 20  # distinct numbers of which the upper half may be positive
_SPELLINGS = 10  # of yes and no, as in yes, Yes, YES
_FREQUENT = 100  # values that are told apart
_USUAL = 0.99  # of the rows, where others are faults
_SHOWN = 200  # characters of a message
_RARE = 10  # rows of a value that says nothing
_NOT_BY_CHANCE = 60.0  # a chi-squared of 19 degrees of freedom: four in a million


@dataclasses.dataclass(frozen=True)
class FoundLabel:
    """The label.

    Attributes:
        name: str. Its column.
        is_click: (rows,) whether a row is positive; rows without a label are not.
        positive: tuple of str. Values that have to be declared as positive.
        missing_share: float. The share of rows without a label.
    """

    name: str
    is_click: Array
    positive: tuple[str, ...] = ()
    missing_share: float = 0.0

    @property
    def declared(self) -> Label:
        """What a feature set has."""
        return Label(self.name, positive=self.positive)

    @property
    def setting(self) -> str | dict[str, str | list[str]]:
        """What a declaration in YAML has."""
        if not self.positive:
            return self.name
        return {"column": self.name, "positive": list(self.positive)}


def find_label(profiles: Mapping[str, Profile], asked: str | None, has_header: bool) -> FoundLabel:
    """The label among the columns: the one that is asked for, has the name of one, or is the only
    one with two values that mean yes and no.

    Raises:
        ValueError: naming the candidates, if there is none or more than one.
    """
    if asked is not None:
        if asked not in profiles:
            raise ValueError(f"there is no column {asked!r}{did_you_mean(asked, profiles)}")
        return _as_label(profiles[asked])
    binary = [name for name, found in profiles.items() if _is_binary(found)]
    named = [name for name in binary if is_named_label(profiles[name])]
    if not has_header and binary[:1] == list(profiles)[:1]:
        named = binary[:1]  # as most logs without a header have it
    candidates = named or binary
    if len(candidates) == 1:
        return _as_label(profiles[candidates[0]])
    if candidates:
        raise ValueError(
            f"several columns may be the label: {_listed(candidates)}; name it by --label or label="
        )
    ratings = [name for name, found in profiles.items() if _is_rating(found)]
    may_be = f" (one of {_listed(ratings)}, whose upper half is then positive)" if ratings else ""
    other = "; ".join(f"{name} has {_values(of)}" for name, of in profiles.items() if _is_named(of))
    raise ValueError(
        f"no column has two values that mean yes and no, such as 1 and 0{other and f' ({other})'}: "
        f"name the label by --label or label={may_be}; the columns are {_listed(profiles)}"
    )


def is_named_label(found: Profile) -> bool:
    """Whether a column of yes and no, but for a few rows, has the name of a label."""
    usual = found.values[:2] if found.counts[:2].sum() > _USUAL * found.present else []
    is_usual = {*map(_means_click, usual)} == {True, False}
    return _is_named(found) and (is_usual or _is_binary(found))


def _is_named(found: Profile) -> bool:
    return bool(words(found.name) & LABELS)


def _values(found: Profile) -> str:
    """The values of a column, for a message."""
    values = [f"only {found.values[0]}"] if found.distinct == 1 else found.values
    return _listed([*values, "missing ones"] if found.missing_share else values)


def _listed(names: Iterable[str]) -> str:
    """Names for a message, as many as fit into a line."""
    return textwrap.shorten(", ".join(names), _SHOWN, placeholder="...")


def _is_binary(found: Profile) -> bool:
    """Whether there are two values, which mean yes and no, in upper or lower case."""
    return _means_both(found) and len(_folded(found)) == 2


def _folded(found: Profile) -> set[str]:
    """The first values in lower case."""
    return {value.strip().lower() for value in found.values[:_FREQUENT]}


def _means_both(found: Profile) -> bool:
    """Whether all values mean yes or no, and both are there."""
    is_few = found.distinct <= _SPELLINGS
    return is_few and {*map(_means_click, found.values)} == {True, False}


def _means_click(value: str) -> bool | None:
    return is_positive(Label("label"), value)


def _is_rating(found: Profile) -> bool:
    """Whether some numbers are all there is, without a fraction of the rows."""
    numbers = found.numbers() if found.distinct <= _MAX_RATINGS else np.array([np.nan])
    return bool(found.distinct > 1 and np.isfinite(numbers).all() and found.missing_share < 0.5)


def _as_label(found: Profile) -> FoundLabel:
    if _means_both(found):
        places = np.flatnonzero([bool(_means_click(value)) for value in found.values])
        return FoundLabel(
            found.name, np.isin(found.codes, places), missing_share=found.missing_share
        )
    is_pair = found.distinct == 2 and len(_folded(found)) == 2
    if not _is_rating(found) and not is_pair:
        raise ValueError(f"column {found.name!r} cannot be the label: {_fault(found)}")
    numbers = found.numbers()
    if np.isfinite(numbers).all():
        is_high = numbers > (numbers.min() + numbers.max()) / 2
    else:
        is_high = np.arange(found.distinct) == 1  # the rarer one
    places = np.flatnonzero(is_high)
    positive = tuple(found.values[place] for place in sorted(places, key=lambda i: numbers[i]))
    is_click = np.isin(found.codes, places)
    return FoundLabel(found.name, is_click, positive, found.missing_share)


def _fault(found: Profile) -> str:
    """Why a column cannot be the label, and what to write."""
    one = found.values[:1]
    if len(_folded(found)) == 1 and not found.missing_share:
        return f"it is always {one[0]}"
    if found.distinct < 2:
        declared = f', or declare label: {{column: {found.name}, positive: {one}, negative: [""]}}'
        return f"it is {' or '.join([*one, 'missing'])}: write 1 and 0{declared if one else ''}"
    strange = [value for value in found.values[:_FREQUENT] if _means_click(value) is None]
    positive = [value for value in found.values[:_FREQUENT] if _means_click(value)]
    return (
        f"it has {found.distinct} values, of which {_listed(strange)} mean neither yes nor no: "
        "write 1 and 0, or declare which are positive, as in "
        f"label: {{column: {found.name}, positive: {positive or strange[:1]}}}"
    )


def information(found: Profile, is_click: Array) -> float:
    """The share of the label's entropy that a column explains, between 0 and 1.

    Its most frequent values count, or twenty buckets of its numbers, and whether there is one.

    Example:

    >>> import pyarrow as pa
    >>> from ctr_keras.features.guessing.profiles import profile
    >>> bought = profile("bought", pa.array([None, "12:30"] * 50))
    >>> round(information(bought, np.arange(100) % 2 == 1), 3)
    1.0
    """
    entropy = _entropy(np.bincount(is_click))
    return _shared(_few_codes(found), is_click) / entropy if entropy else 0.0


def order_tells(found: Profile, is_click: Array) -> bool:
    """Whether twenty buckets of a column's numbers differ in clicks by more than chance does.

    Example:

    >>> import pyarrow as pa
    >>> from ctr_keras.features.guessing.profiles import profile
    >>> amounts = np.random.default_rng(0).integers(10**6, size=2000)
    >>> found = profile("amount", pa.array(amounts.astype(str)))
    >>> order_tells(found, amounts > 600_000), order_tells(found, amounts % 2 == 0)
    (True, False)
    """
    codes = _few_codes(found)
    is_there = codes > 0
    chi_squared = 2 * is_there.sum() * _shared(codes[is_there], is_click[is_there])
    return bool(chi_squared > _NOT_BY_CHANCE)


def _shared(codes: Array, is_click: Array) -> float:
    """What codes and clicks tell of each other, in nats."""
    counts = np.stack(
        [np.bincount(codes[is_click == c], minlength=codes.max() + 1) for c in (0, 1)]
    )
    both = _entropy(counts.sum(1)) + _entropy(counts.sum(0)) - _entropy(counts.ravel())
    return max(both, 0.0)


def _few_codes(found: Profile) -> Array:
    """A small number for each row: 0 for no value, 1 for a rare one."""
    if found.kind == "number":
        numbers = found.numbers()
        edges = np.unique(
            np.quantile(np.repeat(numbers, found.counts), np.linspace(0, 1, 21)[1:-1])
        )
        small = np.searchsorted(edges, numbers, side="right") + 2
    else:
        places = np.arange(found.distinct)
        small = np.where((places < _FREQUENT) & (found.counts >= _RARE), places + 2, 1)
    return np.append(small, 0)[found.codes]


def _entropy(counts: Array) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def twins(profiles: Sequence[Profile]) -> dict[str, str]:
    """By name, a column that says the same as an earlier one in other words, and that one.

    Example:

    >>> import pyarrow as pa
    >>> from ctr_keras.features.guessing.profiles import profile
    >>> size = profile("size", pa.array(["1", "2", "1"]))
    >>> twins([size, profile("name", pa.array(["small", "large", "small"]))])
    {'name': 'size'}
    """
    found: dict[str, str] = {}
    for i, later in enumerate(profiles):
        for earlier in profiles[:i]:
            if later.distinct > 1 and earlier.name not in found and _is_twin(earlier, later):
                found[later.name] = earlier.name
                break
    return found


def _is_twin(first: Profile, second: Profile) -> bool:
    if not np.array_equal(first.counts, second.counts):
        return False
    pairs = np.unique(first.codes.astype(np.int64) * (second.distinct + 1) + second.codes)
    return len(pairs) == first.distinct + (first.codes < 0).any()
