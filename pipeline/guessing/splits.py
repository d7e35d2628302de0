"""How a log may be divided: by its files, by time, or at random."""

import fnmatch
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctr_keras.types import Array
from pipeline.guessing.profiles import Profile

_SHARES = (0.8, 0.9)  # of the rows, before validation and before test
_FILE_WORDS = {
    "train": ("train", "training", "tr"),
    "validation": ("valid", "validation", "val", "dev", "eval"),
    "test": ("test", "testing", "holdout"),
}
_EPOCHS = {"epoch in seconds": 1, "epoch in milliseconds": 10**3, "epoch in microseconds": 10**6}
_DIGITS = {"YYYYMMDD": ("", 4, 2, 2, 0), "YYMMDDHH": ("20", 2, 2, 2, 2)}
_DAY = np.timedelta64(1, "D")

Settings = dict[str, Any]


def by_files(names: Sequence[str]) -> tuple[Settings, list[str]] | None:
    """A split by files that are named for it, and the names it uses; None if they are not.

    Example:

    >>> by_files(["test.csv", "train/a.csv", "train/b.csv", "readme"])[0]
    {'by': 'files', 'train': 'train/*', 'test': 'test.csv'}
    >>> by_files(["valid.csv", "test.csv"])[0]  # nothing else to learn from
    {'by': 'files', 'train': 'valid.csv', 'test': 'test.csv'}
    """
    members: dict[str, list[str]] = {split: [] for split in _FILE_WORDS}
    for name in names:
        found = set(re.findall("[a-z]+", name.lower()))
        splits = [split for split, of_split in _FILE_WORDS.items() if found & set(of_split)]
        if len(splits) == 1:
            members[splits[0]].append(name)
    if not members["train"]:
        members["train"], members["validation"] = members["validation"], []
    patterns = {split: _pattern(of, names) for split, of in members.items() if of}
    if "train" not in patterns or len(patterns) < 2 or not all(patterns.values()):
        return None
    return {"by": "files", **patterns}, sorted(name for of in members.values() for name in of)


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


def by_time(found: Profile, is_click: Array) -> Settings | None:
    """A split by a time: the last tenth is tested, the one before it is for validation.

    None if a split would have rows of one kind only.
    """
    if found.missing_share > 0.01:
        return None
    times = moments(found)
    order = np.argsort(times, kind="stable")
    rows = np.cumsum(found.counts[order])
    places = np.searchsorted(rows, [share * rows[-1] for share in _SHARES], side="right")
    bounds = times[order][np.minimum(places, len(times) - 1)]
    if times.max() - times.min() > 20 * _DAY:
        bounds = bounds.astype("datetime64[D]").astype(times.dtype)
    split = np.append((times[:, None] >= bounds).sum(1), -1)[found.codes]
    for index in range(len(bounds) + 1):
        clicks = is_click[split == index]
        if not clicks.size or clicks.all() or not clicks.any():
            return None
    validation, test = (_spelled(bound, found) for bound in bounds)
    return {"by": "time", "column": found.name, "validation_from": validation, "test_from": test}


def _spelled(moment: np.datetime64, found: Profile) -> int | str:
    """A moment as the column would have it, a day where that is exact."""
    if found.spelling in _EPOCHS:
        return int(moment.astype("datetime64[s]").astype(int)) * _EPOCHS[found.spelling]
    day, _, clock = str(moment.astype("datetime64[s]")).partition("T")
    if found.spelling == "YYMMDDHH":
        return int(day[2:].replace("-", "") + clock[:2])
    if found.spelling == "YYYYMMDD":
        return int(day.replace("-", ""))
    if clock == "00:00:00":
        return day
    return day + ("T" if "T" in found.values[0] else " ") + clock


def moments(found: Profile) -> Array:
    """(distinct,) the values of a column of times, to the second; without their zones."""
    if found.spelling in _EPOCHS:
        seconds = found.numbers() // _EPOCHS[found.spelling]
        return seconds.astype("datetime64[s]")
    return np.array([_iso(value, found.spelling) for value in found.values], "datetime64[s]")


def _iso(value: str, spelling: str) -> str:
    if spelling in _DIGITS:
        century, *widths = _DIGITS[spelling]
        ends = np.cumsum(widths)
        year, month, day, hour = (value[e - w : e] for e, w in zip(ends, widths, strict=True))
        return f"{century}{year}-{month}-{day}T{hour or '00'}"
    numbers = re.findall(r"\d+", value)
    year, month, day = numbers[:3] if len(numbers[0]) == 4 else numbers[2::-1]
    clock = [*numbers[3:6], "0", "0", "0"][:3]
    hour, minute, second = (part.zfill(2) for part in clock)
    return f"{year}-{month.zfill(2)}-{day.zfill(2)}T{hour}:{minute}:{second}"


def time_parts(found: Profile) -> list[str]:
    """The parts of a time that differ between rows."""
    times = moments(found)
    days = times.astype("datetime64[D]")
    parts = []
    if len(np.unique(times.astype("datetime64[h]") - days)) > 1:
        parts.append("hour")
    if len(np.unique(days)) > 1:
        parts.append("weekday")
    return parts
