"""Which features a look at columns suggests, and what is said of them."""

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ctr_keras.features.declarations import PACKED_INPUTS, Feature, feature_from_dict
from ctr_keras.features.guessing.labels import (
    FoundLabel,
    find_label,
    information,
    is_named_label,
    order_tells,
    twins,
)
from ctr_keras.features.guessing.names import SPLITS, splits_of
from ctr_keras.features.guessing.names import group as group_of
from ctr_keras.features.guessing.profiles import Profile, profile
from ctr_keras.features.times import part_of
from ctr_keras.types import Array

_LEAKS, _TELLS = 0.8, 0.5  # shares of what there is to know about the label
_NEARLY_ALWAYS = 0.95
_MANY, _OFTEN_ONCE = 1000, 0.3  # values; the share of them that one row has
_SELDOM_AGAIN = 0.3  # values by rows
_MAX_LIST = 50
_BUCKETS, _ROWS_OF_BUCKET = (20, 100), 500  # of a number; few rows learn no more than twenty
_DAY = 86400
_PERIODS = {"hour": _DAY, "weekday": 7 * _DAY}  # of parts of a time


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is said of one column: its features, or why it has none."""

    features: list[dict[str, Any]]
    comment: str
    left_out: str = ""


@dataclasses.dataclass(frozen=True)
class Guess:
    """What a look at columns suggests.

    Attributes:
        profiles: dict. What each column holds.
        label: FoundLabel.
        entries: dict. What is said of each other column.
    """

    profiles: Mapping[str, Profile]
    label: FoundLabel
    entries: Mapping[str, Entry]

    @property
    def features(self) -> list[Feature]:
        """The features, as they are declared."""
        entries = self.entries.values()
        return [feature_from_dict(feature) for entry in entries for feature in entry.features]

    @functools.cached_property
    def missing(self) -> dict[str, list[str]]:
        """Values that mean a missing one, each with the columns that have it."""
        profiles = self.profiles.values()
        found: dict[str, list[str]] = {}
        for column in profiles:
            for word in column.missing:
                # A word that got into a column of numbers may be a value of another column.
                if word not in column.words or not any(other.has(word) for other in profiles):
                    found.setdefault(word, []).append(column.name)
        return found

    @property
    def left_out(self) -> dict[str, str]:
        """Why columns have no feature, by their names."""
        return {name: entry.left_out for name, entry in self.entries.items() if entry.left_out}


def guess(columns: Mapping[str, pa.Array], label: str | None, has_header: bool = True) -> Guess:
    """Looks at columns.

    Args:
        columns: dict. Arrow arrays of strings, or of lists of strings; null where missing.
        label: str or None. As in `find_label`.
        has_header: bool. As in `find_label`.

    Raises:
        ValueError: as `find_label`; if no column but the label says anything.
    """
    profiles = {name: profile(name, column) for name, column in columns.items()}
    found = find_label(profiles, label, has_header)
    guessed = Guess(profiles, found, _entries(profiles, found))
    if not guessed.features:
        raise ValueError("no column but the label says anything")
    return guessed


def _entries(profiles: Mapping[str, Profile], label: FoundLabel) -> dict[str, Entry]:
    columns = [found for name, found in profiles.items() if name != label.name]
    others = [_in_order(found, label.is_click) for found in columns]
    doubles = twins([found for found in others if not found.is_unique])
    shares = {found.name: information(found, label.is_click) for found in others}
    why = {f.name: _why_not(f, shares[f.name], doubles.get(f.name)) for f in others}
    kept = [found for found in others if not why[found.name]]
    names = _names(profiles)
    entries: dict[str, Entry] = {}
    for found, as_it_was in zip(others, columns, strict=True):
        if why[found.name]:
            entries[found.name] = Entry([], "", why[found.name])
            continue
        comment = _describe(found)
        if found.kind != as_it_was.kind:
            comment += "; seldom the same again, but their order tells of the label: no ids?"
        if shares[found.name] > _TELLS:
            share = f"{shares[found.name]:.0%}"
            comment += f"; tells {share} of the label: is it known before the click?"
        entries[found.name] = Entry(list(_features(found, kept, names)), comment)
    return entries


def _in_order(found: Profile, is_click: Array) -> Profile:
    """A column of integers that seldom come again, as numbers if their order tells of the label.

    Amounts are such, and ids, whose order hardly tells anything. A name that is one of an id, a
    user or an item says that they are ids; without gaps they count the rows.
    """
    if found.kind != "category" or found.distinct <= _SELDOM_AGAIN * found.present:
        return found
    numbers = found.numbers()
    are_ids = found.names_ids or group_of(found.name) in ("user", "item")
    if are_ids or not np.isfinite(numbers).all() or np.ptp(numbers) < 2 * found.distinct:
        return found
    in_order = dataclasses.replace(found, kind="number")
    return in_order if order_tells(in_order, is_click) else found


def _why_not(found: Profile, share: float, twin: str | None) -> str:
    """Why a column should be no feature."""
    if not found.name:
        return "has no name in the header"
    if not found.present:
        return "no value that a feature could take"
    if found.is_bracketed:
        return "lists in brackets: write their values with a separator, as in a|b|c"
    if found.unread_time:
        return found.unread_time
    if found.unread_number:
        return found.unread_number
    if names_splits(found):
        return "names the split of each row"
    if is_named_label(found):
        return "has the name of a label, too; to learn both, give `label` a list of them"
    if share > _LEAKS:
        return f"gives the label away: tells {share:.0%} of it"
    if found.distinct == 1 and not found.missing_share:
        return f"always {found.values[0][:40]!r}"
    if found.missing_share > _NEARLY_ALWAYS:
        return f"missing in {found.missing_share:.1%} of the rows"
    if found.kind == "category" and found.is_unique:
        return "another value in nearly every row"
    if found.kind == "time" and not time_parts(found):
        return "no hour or weekday comes again"
    if found.kind == "text":
        return "text, another one in nearly every row"
    return f"says the same as {yaml_line(twin)}" if twin else ""


def names_splits(found: Profile) -> bool:
    """Whether a column says of each row whether it is for training, validation or test."""
    if found.distinct > len(SPLITS) or found.missing_share:
        return False
    return sorted(map(splits_of, found.values)) == sorted([split] for split in SPLITS)


def _features(
    found: Profile, kept: Sequence[Profile], names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    name = names[found.name]
    column = {} if name == found.name else {"column": found.name}
    of_group = group_of(found.name)
    group = {"group": of_group} if of_group else {}
    if found.kind == "number":
        buckets = int(np.clip(found.present // _ROWS_OF_BUCKET, *_BUCKETS))
        scale = {"scale": "quantiles", "buckets": max(min(found.distinct, buckets), 2)}
        yield {"kind": "numeric", "name": name, **column, **scale, **group}
    elif found.kind == "time":
        others = [other for other in kept if other is not found]
        has_others = any(other.kind == "time" for other in others)
        for part in time_parts(found):
            is_taken = has_others or any(names[other.name] == part for other in others)
            of = {"column": found.name, "time_part": part}
            named = f"{name}_{part}" if is_taken else part
            yield {"kind": "categorical", "name": named, **of, "group": "context"}
    elif found.kind == "list":
        lengths = pc.add(pc.count_substring(found.strings, found.separator), 1)
        longest = int(np.ceil(pc.quantile(lengths, 0.95)[0].as_py() or 1))
        limits = {"separator": found.separator, "max_length": min(longest, _MAX_LIST)}
        if found.weight_separator:
            limits["weight_separator"] = found.weight_separator
        item = None if found.weight_separator else _items_of(found, kept)
        if item:
            owner = {"vocabulary_of": names[item.name]}
            yield {"kind": "sequence", "name": name, **column, **owner, **limits}
        else:
            yield {"kind": "multi_valued", "name": name, **column, **limits, **group}
    else:
        is_rare = found.distinct > _MANY and (found.counts == 1).mean() > _OFTEN_ONCE
        min_count = {"min_count": 2} if is_rare else {}
        yield {"kind": "categorical", "name": name, **column, **min_count, **group}


def _items_of(found: Profile, kept: Sequence[Profile]) -> Profile | None:
    """The column of categories that most items of a list are from."""
    items = pc.split_pattern(found.strings.drop_null(), found.separator).flatten()
    for other in kept:
        if other.kind == "category" and other.distinct > 20:
            is_one = pc.is_in(items, other.strings.unique().drop_null())
            if pc.mean(is_one.cast("int8")).as_py() > 0.5:
                return other
    return None


def _names(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Names of features for all columns: letters, digits and `_`, each once."""
    names: dict[str, str] = {}
    for place, column in enumerate(profiles):
        name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_")
        if not re.match("[A-Za-z_]", name) or name in PACKED_INPUTS:
            name = f"column_{name or place + 1}"
        while name in names.values():
            name += "_"
        names[column] = name
    return names


def _describe(found: Profile) -> str:
    if found.kind == "number":
        numbers = found.numbers()
        said = f"from {numbers.min():g} to {numbers.max():g}"
        largest = np.finfo("float32").max
        if np.abs(numbers).max() > largest:
            said += f", of which rows beyond {largest:.2g} are rejected"
    elif found.kind == "time":
        first, last = found.seconds.min(), found.seconds.max()
        said = f"from {spelled(first)} to {spelled(last)}"
    elif found.kind == "list":
        said = "lists, with weights" if found.weight_separator else "lists"
    else:
        said = f"{found.distinct:,} values"
    if found.kind == "category" and found.is_whole_float:
        said += f", with .0 at their ends: without it they would be others ({found.values[0]})"
    if found.may_measure:
        said += ", which may count or measure something: then let it be numeric"
    if found.missing_share:
        said += f", {found.missing_share:.2%} missing"
    if found.words:
        rows = f"{found.word_rows:,} row{'s' * (found.word_rows > 1)}"
        said += f"; {listed(found.words)} in {rows}: missing, or let it be categorical"
    if found.kind == "time" and found.unread_share:
        said += f"; {found.unread_share:.2%} cannot be read, and will be missing"
    return said


def time_parts(found: Profile) -> list[str]:
    """The parts of a time that differ between rows, and in a log so long that they come again: what
    was learned of the weekdays of three days says nothing of the fourth."""
    length = np.ptp(found.seconds)
    parts = (part for part, period in _PERIODS.items() if length > period)
    return [part for part in parts if len(np.unique(part_of(part, found.seconds))) > 1]


def spelled(time: float) -> str:
    """A time of a clock, or the day if it begins with it.

    Example:

    >>> spelled(86400), spelled(86460)
    ('1970-01-02', '1970-01-02 00:01:00')
    """
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return f"{moment:%Y-%m-%d}" if time % _DAY == 0 else f"{moment:%Y-%m-%d %H:%M:%S}"


def listed(names: Sequence[str]) -> str:
    """The first of some names, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(yaml_line, names[:3])) + more


def yaml_line(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if text.isprintable() else json.dumps(value)  # which YAML reads, too
