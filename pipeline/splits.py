"""How rows are divided into training, validation and test."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator

from ctr_keras.features.declarations import Spelling
from ctr_keras.features.hashing import fingerprints
from ctr_keras.features.times import SPELL, check_zone, read_time
from ctr_keras.settings import SettingError, TupleOf, check_settings
from ctr_keras.types import Array
from pipeline.block import NUMBER, Block, mask

SplitName: TypeAlias = Literal["train", "validation", "test"]
SPLITS = ("train", "validation", "test")
LEFT_OUT = -1  # instead of the index of a split


def _as_text(value: Any) -> Any:
    """YAML has dates and times, of which a string says as much."""
    return str(value) if isinstance(value, datetime.date) else value


Boundary: TypeAlias = Annotated[int | float | str, BeforeValidator(_as_text)]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclasses.dataclass(frozen=True)
class RandomSplit:
    """By a hash of where a row is (its file's name below the source, its place in the file), or
    of a column's value, which keeps the rows of a user or a session together.

    What a row says does not decide: equal rows fall into different splits as often as others, and
    a model is measured on what it will meet. A source that is prepared again is split the same way.
    Files that are added, and rows that are added at a file's end, leave the others where they are;
    rows of a file that is renamed, sorted anew or changed before them are drawn anew. With a `key`
    none of this matters.

    Args:
        validation, test: float. Shares of the rows (of the values of `key`). Default to `0.1`.
        seed: int. Another seed gives another split. Defaults to `0`.
        key: str. A column of the source; rows of one value fall into one split. Rows without a
            value are split one by one. Defaults to `""`: no column.

    Raises:
        ValueError: if there is no share left for training.

    Example:

    >>> keys = np.random.default_rng(0).integers(2**63, size=1000)
    >>> np.bincount(RandomSplit(0.2, 0.1).assign(keys, Block(0, [b""] * 1000)))
    array([703, 199,  98])
    >>> visits = Block(0, [b""] * 4, {"user": pa.array(["ann", "bob", "ann", "eve"])})
    >>> RandomSplit(0.2, 0.2, key="user").assign(keys[:4], visits)
    array([2, 1, 2, 0])
    """

    validation: int | float = 0.1
    test: int | float = 0.1
    seed: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ValueError(
                "validation and test must be shares that leave some rows for training, "
                f"got {self.validation} and {self.test}"
            )

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Index into `SPLITS` of each row. `missing` are strings that are no value of `key`."""
        if self.key:
            values = block.columns[self.key].fill_null("")  # in rejected rows
            has_value = ~mask(pc.is_in(values, pa.array(["", *missing])))
            keys = np.where(has_value, fingerprints(values.to_pylist()).view(np.int64), keys)
        share = drawn(keys, self.seed)
        return np.where(share < self.test, 2, np.where(share < self.test + self.validation, 1, 0))


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """By a time: train before `validation_from`, test from `test_from` on.

    Args:
        column: str. A column of times (see `ctr_keras.features.times`), or of numbers if the
            boundaries are numbers that are no times, such as the 7 of a seventh day. Rows in which
            it is missing or something else are rejected.
        validation_from, test_from: the first time of each split: a string, a number, or a date or
            time as YAML reads it.
        gap: str, int or float. How much before each boundary to leave out, so that what follows is
            not known from what is next to it: `"1d"`, or hours, minutes, seconds, weeks by their
            first letter; a number where the boundaries are numbers. Defaults to `0`.
        zone: str. The time zone on whose clock to compare. Defaults to `"UTC"`.

    Raises:
        ValueError: for a boundary that is no time, boundaries of two kinds or in the wrong order,
            and for a gap or a zone that is none.

    Example:

    >>> days = ["2024-01-30", "2024-01-31", "2024-02-01", "2024-12-01"]
    >>> split = TimeSplit("day", "2024-02-01", "2024-03-01", gap="1d")
    >>> split.assign(np.zeros(4), Block(0, [b""] * 4, {"day": pa.array(days)}))
    array([ 0, -1,  1,  2])
    """

    column: str
    validation_from: Boundary
    test_from: Boundary
    gap: int | float | str = 0
    zone: str = "UTC"

    def __post_init__(self) -> None:
        check_settings(self)
        check_zone(self.zone)
        validation, test = self._boundaries()
        self._gap()
        if validation > test:
            raise ValueError(
                "validation_from must not come after test_from, "
                f"got {self.validation_from} and {self.test_from}"
            )

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Index into `SPLITS` of each row, or `LEFT_OUT`. May reject rows."""
        del keys
        column = Values(block, self.column, missing)
        values = column.times(self.zone) if self.is_of_times else column.numbers()
        validation, test = self._boundaries()
        split = np.where(values >= test, 2, np.where(values >= validation, 1, 0))
        for boundary in (validation, test):
            is_in_gap = (values >= boundary - self._gap()) & (values < boundary)
            split[is_in_gap] = LEFT_OUT
        return split

    @property
    def is_of_times(self) -> bool:
        """Whether rows are compared by time rather than by number."""
        return None not in self._times()

    def _times(self) -> list[float | None]:
        times = (read_time(str(b), self.zone) for b in (self.validation_from, self.test_from))
        return [None if time is None else float(time.seconds) for time in times]

    def _boundaries(self) -> list[float]:
        boundaries = {"validation_from": self.validation_from, "test_from": self.test_from}
        numbers = [float(b) for b in boundaries.values() if isinstance(b, int | float)]
        times = self._times()
        if None in times and len(numbers) == len(times):
            return numbers
        for (name, boundary), time in zip(boundaries.items(), times, strict=True):
            if time is None:
                raise SettingError(f"{name} is no time: {boundary!r}; {SPELL}", name)
        return [time for time in times if time is not None]

    def _gap(self) -> float:
        if not self.is_of_times and not isinstance(self.gap, str) and self.gap >= 0:
            return self.gap
        length = re.fullmatch(r"(\d+) ?([smhdw])", str(self.gap))
        if self.is_of_times and (length or self.gap == 0):
            return int(length[1]) * _SECONDS[length[2]] if length else 0
        expected = 'a time such as "1d" or "12h"' if self.is_of_times else "a number of at least 0"
        raise SettingError(f"gap must be {expected}, got {self.gap!r}", "gap")


@dataclasses.dataclass(frozen=True)
class ColumnSplit:
    """By a column that names the split of each row.

    Args:
        column: str. A column of the source. Rows with any other value are rejected.
        train, validation, test: list of str. The values that mean each split. Default to
            `("train",)`, `("validation", "valid", "val", "dev")` and `("test",)`.

    Raises:
        ValueError: if there is no value for training, or one for two splits.

    Example:

    >>> folds = Block(0, [b""] * 3, {"fold": pa.array(["0", "8", "9"])})
    >>> split = ColumnSplit("fold", train=list("01234567"), validation=["8"], test=["9"])
    >>> split.assign(np.zeros(3), folds)
    array([0, 1, 2])
    """

    column: str
    train: TupleOf[Spelling] = ("train",)
    validation: TupleOf[Spelling] = ("validation", "valid", "val", "dev")
    test: TupleOf[Spelling] = ("test",)

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.train:
            raise SettingError("a split by a column needs values for train", "train")
        values = [*self.train, *self.validation, *self.test]
        for value in values:
            if values.count(value) > 1:
                raise SettingError(f"{value!r} cannot be in two splits, or twice in one")

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Index into `SPLITS` of each row. May reject rows."""
        del keys
        splits = enumerate((self.train, self.validation, self.test))
        named = {value: index for index, values in splits for value in values}
        return (
            Values(block, self.column, missing).each(named.get, "which names no split").astype(int)
        )


@dataclasses.dataclass(frozen=True)
class FileSplit:
    """By file: each split has its own.

    Args:
        train, validation, test: str. A file or pattern relative to the source; `validation` and
            `test` may be empty. `validation` may be a share instead, of the rows of the files for
            training, drawn as `RandomSplit` draws them.

    Example:

    >>> split = FileSplit("train.csv", validation=0.2, test="test.csv")
    >>> keys = np.random.default_rng(0).integers(2**63, size=1000)
    >>> np.bincount(split.assign_of_file("train", keys))
    array([803, 197])
    """

    train: str
    validation: int | float | str = ""
    test: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.train:
            raise ValueError("a split by files needs files for train")
        if not 0 <= self._share < 1:
            expected = "files, or a share that leaves some rows for training"
            raise SettingError(f"validation must be {expected}, got {self._share}", "validation")

    @property
    def patterns(self) -> dict[str, str]:
        """The files of each split that has some."""
        validation = "" if isinstance(self.validation, int | float) else self.validation
        patterns = zip(SPLITS, (self.train, validation, self.test), strict=True)
        return {split: pattern for split, pattern in patterns if pattern}

    def assign_of_file(self, split: str | None, keys: Array) -> Array:
        """Index into `SPLITS` of each row of a file that is for `split`."""
        is_drawn = (split == "train") & (drawn(keys, 0) < self._share)
        return np.where(is_drawn, SPLITS.index("validation"), SPLITS.index(split))

    @property
    def _share(self) -> float:
        return self.validation if isinstance(self.validation, int | float) else 0


@dataclasses.dataclass(frozen=True)
class OneSplit:
    """All rows in one split: a new day to score, or to learn from as a whole.

    Args:
        split: str. One of `SPLITS`.

    Example:

    >>> OneSplit("test").assign(np.zeros(2), Block(0, [b""] * 2))
    array([2, 2])
    """

    split: SplitName

    def __post_init__(self) -> None:
        check_settings(self)

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Index into `SPLITS` of each row."""
        del keys, missing
        return np.full(len(block), SPLITS.index(self.split))


@dataclasses.dataclass(frozen=True)
class LastSplit:
    """Leave one out: the last row of each user is for test, the one before it for validation.

    A user of fewer than three rows, and rows without a user, stay in training.

    Args:
        user: str. A column of the source.
        time: str. A column by which the rows of a user are ordered: numbers, or times in any
            spelling. Rows in which it is missing or something else are rejected; rows of one time
            keep the order of the files.

    Example:

    >>> users, times = np.array(["ann", "bob", "ann", "bob", "ann"]), np.array([3, 9, 1, 8, 2])
    >>> LastSplit("user", "time").assign_by_user(users, times, np.arange(5))
    array([2, 0, 0, 0, 1])
    """

    user: str
    time: str

    def __post_init__(self) -> None:
        check_settings(self)

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Zeros: rows of other blocks decide, too."""
        del block, missing
        return np.zeros(len(keys), np.int64)

    def assign_by_user(self, users: Array, times: Array, order: Array) -> Array:
        """Index into `SPLITS` of each row, of all rows of some users, `""` for no user."""
        rows = np.lexsort((order, times, users))
        names, starts, counts = np.unique(users[rows], return_index=True, return_counts=True)
        is_split = (counts >= len(SPLITS)) & (names != "")
        ends = (starts + counts)[is_split]
        split = np.zeros(len(rows), np.int64)
        split[rows[ends - 1]], split[rows[ends - 2]] = 2, 1
        return split


Split: TypeAlias = RandomSplit | TimeSplit | ColumnSplit | LastSplit | FileSplit | OneSplit


def drawn(keys: Array, seed: int) -> Array:
    """(rows,) numbers from 0 to 1 for keys of rows, others for another seed. The keys also order
    the rows inside a shard, so they are mixed anew."""
    mixed = (keys.astype(np.uint64) ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / 2**53)


class Values:
    """The values of a column of a block that rows cannot do without."""

    def __init__(self, block: Block, name: str, missing: Sequence[str] = ()):
        strings = pc.fill_null(block.columns[name], "")  # in rejected rows
        self._block, self._name, self._strings = block, name, strings
        self._is_missing = mask(pc.is_in(strings, pa.array(["", *missing])))

    def each(self, read: Callable[[str], float | None], wrong: str) -> Array:
        """(rows,) what a function makes of each distinct value. Rejects rows in which that is
        `None`, or the value is missing; they have a 0."""
        coded = self._strings.dictionary_encode()
        of_values = np.array([read(value) for value in coded.dictionary.to_pylist()], np.float64)
        values: Array = of_values[coded.indices]
        self._reject_missing()
        is_bad = np.isnan(values)
        self._block.reject_values(is_bad, self._strings, f"{self._name} is {{}}, {wrong}")
        return np.where(is_bad | self._is_missing, 0, values)

    def times(self, zone: str) -> Array:
        """(rows,) seconds since 1970 on the clock of a zone."""

        def read(value: str) -> int | None:
            time = read_time(value, zone)
            return None if time is None else time.seconds

        return self.each(read, f"which is no time: {SPELL}")

    def numbers(self) -> Array:
        """(rows,) numbers."""
        self._reject_missing()
        present = pc.if_else(pa.array(self._is_missing), "", self._strings)
        numbers = np.asarray(self._block.numbers(self._name, present, pa.float64()))
        self._block.reject(np.isnan(numbers), f"{self._name} is not a number")
        return np.asarray(np.nan_to_num(numbers))

    def order(self) -> Array:
        """(rows,) what orders rows: numbers as they are, else times."""
        if mask(pc.match_substring_regex(self._strings, NUMBER)).all():
            return np.asarray(self._strings.cast(pa.float64()))

        def read(value: str) -> float | None:
            if re.match(NUMBER, value):
                return float(value)
            time = read_time(value)
            return None if time is None else time.seconds

        return self.each(read, f"which is no time: {SPELL}")

    def _reject_missing(self) -> None:
        self._block.reject(self._is_missing, f"{self._name} is missing")
