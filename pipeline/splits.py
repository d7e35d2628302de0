"""How rows are divided into training, validation and test."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features.hashing import fingerprints
from ctr_keras.settings import check_settings
from ctr_keras.types import Array
from pipeline.block import Block, mask

SPLITS = ("train", "validation", "test")


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
        # The keys also order the rows inside a shard, so the split mixes them anew.
        mixed = (keys.astype(np.uint64) ^ np.uint64(self.seed)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        share = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
        return np.where(share < self.test, 2, np.where(share < self.test + self.validation, 1, 0))


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """By the value of a column: train before `validation_from`, test from `test_from` on.

    Args:
        column: str. A column of the source. Compared as numbers if the boundaries are numbers, else
            as strings (which orders ISO dates).
        validation_from, test_from: the first value of each split.

    Raises:
        ValueError: if these are of two types or in the wrong order.

    Example:

    >>> block = Block(0, [b""] * 3, {"day": pa.array(["2024-01-31", "2024-02-01", "2024-12-01"])})
    >>> TimeSplit("day", "2024-02-01", "2024-03-01").assign(np.zeros(3), block)
    array([0, 1, 2])
    """

    column: str
    validation_from: int | float | str
    test_from: int | float | str

    def __post_init__(self) -> None:
        check_settings(self)
        if isinstance(self.validation_from, str) != isinstance(self.test_from, str):
            raise ValueError("validation_from and test_from must both be numbers or both strings")
        if self.validation_from > self.test_from:  # type: ignore[operator]
            raise ValueError(
                "validation_from must not come after test_from, "
                f"got {self.validation_from!r} and {self.test_from!r}"
            )

    def assign(self, keys: Array, block: Block, missing: Sequence[str] = ()) -> Array:
        """Index into `SPLITS` of each row. May reject rows."""
        del keys, missing
        if isinstance(self.validation_from, str):
            values = block.columns[self.column]
        else:
            values = block.numbers(self.column, block.columns[self.column], pa.float64())
        values = values.to_numpy(zero_copy_only=False)
        is_test, is_later = values >= self.test_from, values >= self.validation_from
        return np.where(is_test, 2, np.where(is_later, 1, 0))


@dataclasses.dataclass(frozen=True)
class FileSplit:
    """By file: each split has its own.

    Args:
        train, validation, test: str. A file or pattern relative to the source; `validation` and
            `test` may be empty.
    """

    train: str
    validation: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.train:
            raise ValueError("a split by files needs files for train")


Split: TypeAlias = RandomSplit | TimeSplit | FileSplit
