"""How a log may be divided: by its files, by a column, by time, or at random."""

import fnmatch
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctr_keras.features.guessing.features import names_splits, spelled
from ctr_keras.features.guessing.names import SPLITS, splits_of
from ctr_keras.features.guessing.profiles import Profile
from ctr_keras.types import Array

_SHARES = (0.8, 0.9)  # of the rows, before validation and before test
_VALIDATION = 0.1  # of the rows to learn from, where no file is for it
_DAY = 86400
_LONG = 20 * _DAY  # from which on splits begin with a day

Settings = dict[str, Any]


def by_files(names: Sequence[str]) -> tuple[Settings, list[str]] | None:
    """A split by files that are named for it, and the names it uses; None if they are not.

    Example:

    >>> by_files(["test.csv", "train/a.csv", "train/b.csv", "readme"])[0]
    {'by': 'files', 'train': 'train/*', 'validation': 0.1, 'test': 'test.csv'}
    >>> by_files(["valid.csv", "test.csv"])[0]  # nothing else to learn from
    {'by': 'files', 'train': 'valid.csv', 'validation': 0.1, 'test': 'test.csv'}
    """
    members: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        splits = splits_of(name)
        if len(splits) == 1:
            members[splits[0]].append(name)
    if not members["train"]:
        members["train"], members["validation"] = members["validation"], []
    patterns = {split: _pattern(of, names) for split, of in members.items() if of}
    if "train" not in patterns or len(patterns) < 2 or not all(patterns.values()):
        return None
    used = sorted(name for of in members.values() for name in of)
    train = {"train": patterns.pop("train"), "validation": _VALIDATION}
    return {"by": "files", **train, **patterns}, used


def _pattern(members: Sequence[str], names: Sequence[str]) -> str:
    """A name or pattern that matches these of all names, or nothing."""
    if len(members) == 1:
        return members[0]
    start = _common_start(members)
    end = _common_start([name[::-1] for name in members])[::-1]
    folder = start.rpartition("/")[0]
    for pattern in (f"{folder}/*" if folder else "", f"{start}*{end}"):
        if pattern and fnmatch.filter(names, pattern) == list(members):
            return pattern
    return ""


def _common_start(names: Sequence[str]) -> str:
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def by_column(found: Profile) -> Settings | None:
    """A split by a column that names the split of each row; None if it does not."""
    if not names_splits(found):
        return None
    values = {split: [v for v in found.values if splits_of(v) == [split]] for split in SPLITS}
    return {"by": "column", "column": found.name, **values}


def by_time(found: Profile, is_click: Array) -> Settings | None:
    """A split by a time: the last tenth is tested, the one before it is for validation.

    None if a split would have rows of one kind only, or too many rows have no time.
    """
    if found.missing_share + found.unread_share > 0.01:
        return None
    times = found.seconds
    order = np.argsort(times, kind="stable")
    rows = np.cumsum(found.counts[order])
    places = np.searchsorted(rows, [share * rows[-1] for share in _SHARES], side="right")
    bounds = times[order][np.minimum(places, len(times) - 1)]
    if np.ptp(times) > _LONG:
        bounds = bounds // _DAY * _DAY
    split = np.append((times[:, None] >= bounds).sum(1), -1)[found.codes]
    for index in range(len(bounds) + 1):
        clicks = is_click[split == index]
        if not clicks.size or clicks.all() or not clicks.any():
            return None
    validation, test = (spelled(bound) for bound in bounds.tolist())
    return {"by": "time", "column": found.name, "validation_from": validation, "test_from": test}
