"""Counts of a feature's values, by split and labels, that are merged within a bounded memory.

They are exact while a feature has at most `HELD` distinct values. Beyond that the most frequent
values stay (strings), or neighbours become one (numbers), and each says its error. How many
distinct values there are is then estimated from those whose hashes are smallest, which are a
random sample of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.types import Array
from pipeline.splits import SPLITS

HELD = 2**13  # distinct values that are told apart
_KEPT = 2**12  # of more
_HASHES = 2**63  # that there are
_MANTISSA_BITS, _LEAST_EXPONENT = 24, -148  # of float32, as `np.frexp` splits it
_UNIT = Fraction(1, 2 ** (_MANTISSA_BITS - _LEAST_EXPONENT))

Values: TypeAlias = pa.StringArray | Array


@dataclasses.dataclass(frozen=True)
class Counts:
    """How often each value occurs.

    Attributes:
        values: (values,) strings, or numbers in rising order.
        counts: (values, splits, 1 + labels) int64. Rows, and those of them with each label; once
            the label is chosen (`of_label`), `(values, splits, 2)`, without it and with it.
        total: (splits, 1 + labels) int64. The same of all values, also those that are not told
            apart.
        error: float. Of strings, rows that a value may have more, and that one that is not among
            them may have. Of numbers, the share of the rows by which a rank may be wrong. 0 says
            that all values are there, with their exact counts.
    """

    values: Values
    counts: Array
    total: Array
    error: float = 0.0

    def __len__(self) -> int:
        return len(self.counts)

    def of_label(self, place: int) -> Counts:
        """Those of one of the labels."""
        counts, total = (without_and_with(of, place) for of in (self.counts, self.total))
        return Counts(self.values, counts, total, self.error)


def without_and_with(counts: Array, place: int) -> Array:
    """(..., 1 + labels) rows, and those with each label, as (..., 2): without one, and with it."""
    clicks = counts[..., 1 + place]
    return np.stack([counts[..., 0] - clicks, clicks], axis=-1)


def count(values: Values, rows: Array) -> Counts:
    """Counts the values of rows. `rows` says of each its split, and its labels."""
    distinct, codes = _coded(values)
    counts = count_rows(rows, codes, len(distinct))
    return Counts(distinct, counts, counts.sum(0))


def count_rows(rows: Array, codes: Array, size: int) -> Array:
    """(size, splits, 1 + labels) int64 of rows, each with its split and labels, by their codes."""
    places = codes * len(SPLITS) + rows[:, 0]
    labels = [None, *rows[:, 1:].T]
    columns = [np.bincount(places, label, size * len(SPLITS)) for label in labels]
    return np.stack(columns, axis=1).astype(np.int64).reshape(size, len(SPLITS), len(labels))


def merge(parts: Sequence[Counts]) -> Counts:
    """The counts of all rows, bounded."""
    if len(parts) == 1:
        return _bounded(parts[0])
    is_text = isinstance(parts[0].values, pa.Array)
    together = pa.concat_arrays if is_text else np.concatenate
    values, codes = _coded(together([part.values for part in parts]))
    counts = _added(np.concatenate([part.counts for part in parts]), codes, len(values))
    total = np.sum([part.total for part in parts], axis=0)
    errors = [part.error for part in parts]
    return _bounded(Counts(values, counts, total, sum(errors) if is_text else max(errors)))


def _coded(values: Values) -> tuple[Values, Array]:
    """The distinct values, numbers in rising order, and the place of each value among them."""
    if isinstance(values, pa.Array):
        encoded = values.dictionary_encode()
        return encoded.dictionary, np.asarray(encoded.indices, np.int64)
    return np.unique(values, return_inverse=True)


def _added(counts: Array, codes: Array, size: int) -> Array:
    """(size, ...) the sums of the rows of each code."""
    columns = counts.reshape(len(counts), math.prod(counts.shape[1:])).T
    added = np.stack([np.bincount(codes, column, size) for column in columns], axis=1)
    return added.astype(np.int64).reshape(size, *counts.shape[1:])


def _bounded(counts: Counts) -> Counts:
    if len(counts) <= HELD:
        return counts
    return _most_frequent(counts) if isinstance(counts.values, pa.Array) else _coarser(counts)


def _most_frequent(counts: Counts) -> Counts:
    rows = counts.counts[..., 0].sum(1)
    order = np.argsort(-rows, kind="stable")
    kept = np.sort(order[:_KEPT])
    error = counts.error + int(rows[order[_KEPT]])
    return Counts(counts.values.take(pa.array(kept)), counts.counts[kept], counts.total, error)


def _coarser(counts: Counts) -> Counts:
    """Neighbours become one, which takes the value in their middle, about as many rows in each."""
    rows = counts.counts[..., 0].sum(1)
    after = np.cumsum(rows)
    bins = np.minimum((after - rows / 2) * _KEPT // after[-1], _KEPT - 1)
    _, first, bins = np.unique(bins, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(rows)) - 1
    added = _added(counts.counts, bins, len(first))
    values = counts.values[(first + last) // 2]
    return Counts(values, added, counts.total, counts.error + 1 / _KEPT)


@dataclasses.dataclass(frozen=True)
class DistinctSample:
    """The values whose hashes are smallest, with the rows of each split that have them.

    Attributes:
        hashes: (values,) int64, rising: all that are below `limit`.
        rows: (values, splits) int64.
        limit: int. At most 2**63, which says that all values are there.
    """

    hashes: Array
    rows: Array
    limit: int = _HASHES

    @classmethod
    def of(cls, counted: Counts) -> DistinctSample:
        """That of the values of some rows, all of which must be there."""
        hashes = _hashes(counted.values)
        order = np.argsort(hashes)
        return cls(hashes[order], counted.counts[order, :, 0])._bounded()

    @classmethod
    def merge(cls, parts: Sequence[DistinctSample]) -> DistinctSample:
        """That of all rows."""
        hashes, codes = np.unique(np.concatenate([p.hashes for p in parts]), return_inverse=True)
        rows = _added(np.concatenate([part.rows for part in parts]), codes, len(hashes))
        limit = min(part.limit for part in parts)
        is_below = hashes < limit
        return cls(hashes[is_below], rows[is_below], limit)._bounded()

    def _bounded(self) -> DistinctSample:
        if len(self.hashes) <= HELD:
            return self
        return DistinctSample(self.hashes[:_KEPT], self.rows[:_KEPT], int(self.hashes[_KEPT]))

    @property
    def share(self) -> float:
        """The share of all values that are in the sample."""
        return self.limit / _HASHES

    def distinct(self, split: int) -> tuple[int, float]:
        """How many values a split has, and the standard error of that as a share of it."""
        found = int((self.rows[:, split] > 0).sum())
        error = 0.0 if self.share == 1 or not found else 1 / np.sqrt(found)
        return round(found / self.share), float(error)

    def unseen(self, split: int) -> tuple[int, int]:
        """How many values of a split the training split has not, and in how many rows they are."""
        rows = self.rows[(self.rows[:, 0] == 0) & (self.rows[:, split] > 0), split]
        return round(len(rows) / self.share), round(int(rows.sum()) / self.share)


def _hashes(values: Values) -> Array:
    """(values,) a hash of each, from 0 to 2**63."""
    import tensorflow as tf  # slow to import, and what is merged has its hashes

    strings = values if isinstance(values, pa.Array) else pc.cast(pa.array(values), pa.string())
    hashed = tf.strings.to_hash_bucket_fast(strings.to_numpy(zero_copy_only=False), 2**63 - 1)
    return np.asarray(hashed)


@dataclasses.dataclass(frozen=True)
class Moments:
    """What is known of numbers without keeping them, by split.

    Sums are exact, as whole numbers of a unit that divides every float32, so that they do not
    depend on the order in which rows are added.

    Attributes:
        rows: (splits,) their number.
        sums, squares: lists of int. The sum of the numbers in units of 2**-172, and that of their
            squares in units of 2**-344.
        low, high: (splits,) the extremes; infinite where there is no number.
        zeros: (splits,) how many are 0.
    """

    rows: Array
    sums: list[int]
    squares: list[int]
    low: Array
    high: Array
    zeros: Array

    @classmethod
    def of(cls, numbers: Array, splits: Array) -> Moments:
        """Those of some float32, by the split of each."""
        parts = [numbers[splits == split] for split in range(len(SPLITS))]
        sums, squares = zip(*map(_exact_sums, parts), strict=True)
        return cls(
            np.array([len(part) for part in parts]),
            list(sums),
            list(squares),
            np.array([part.min(initial=np.inf) for part in parts]),
            np.array([part.max(initial=-np.inf) for part in parts]),
            np.array([(part == 0).sum() for part in parts]),
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.rows + other.rows,
            [one + more for one, more in zip(self.sums, other.sums, strict=True)],
            [one + more for one, more in zip(self.squares, other.squares, strict=True)],
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.zeros + other.zeros,
        )

    def moved(self, targets: Sequence[int | None]) -> Moments:
        """Those of the same numbers in other splits; `targets` has that of each one, or None."""
        none = np.array([], float)
        moved = Moments.of(none, none)
        for source, target in enumerate(targets):
            if target is not None:
                one = Moments.of(none, none)
                for name, values in vars(one).items():
                    values[target] = getattr(self, name)[source]
                moved += one
        return moved

    @property
    def mean(self) -> Array:
        """That of each split's numbers, 0 where there is none."""
        return np.array([float(mean) for mean in self._means(self.sums, _UNIT)])

    @property
    def deviation(self) -> Array:
        """The standard deviation of each split's numbers, as of all there are."""
        means = zip(self._means(self.squares, _UNIT**2), self._means(self.sums, _UNIT), strict=True)
        return np.array([math.sqrt(of_squares - mean**2) for of_squares, mean in means])

    def _means(self, sums: list[int], unit: Fraction) -> list[Fraction]:
        return [unit * of / max(int(rows), 1) for of, rows in zip(sums, self.rows, strict=True)]


def _exact_sums(numbers: Array) -> tuple[int, int]:
    """The sum of float32 and that of their squares, in whole units."""
    mantissas, exponents = np.frexp(numbers)
    mantissas = (mantissas * 2**_MANTISSA_BITS).astype(np.int64)
    total = squares = 0
    for exponent in np.unique(exponents):
        of = mantissas[exponents == exponent]
        shift = int(exponent) - _LEAST_EXPONENT
        high, low = np.divmod(of**2, 2**_MANTISSA_BITS)  # sums of squares may take over 64 bits
        total += int(of.sum()) << shift
        squares += ((int(high.sum()) << _MANTISSA_BITS) + int(low.sum())) << 2 * shift
    return total, squares
