"""A block: some rows of a file as columns of strings. It is made, and rejected from, only here."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.types import Array

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class Block:
    """Some consecutive rows of a chunk.

    Attributes:
        line: (rows,) number of each row in its chunk, from 0.
        raw: (rows,) the rows as they stand in the file, bytes.
        columns: column name to (rows,) Arrow strings. Rejected rows may have null.
        reason: (rows,) why a row is bad, or None.
    """

    def __init__(
        self, first: int, raw: Sequence[bytes], columns: dict[str, pa.Array] | None = None
    ):
        self.line = np.arange(first, first + len(raw))
        self.raw = np.empty(len(raw), object)
        self.raw[:] = raw
        self.columns = columns or {}
        self.reason = np.full(len(raw), None, object)

    def __len__(self) -> int:
        return len(self.line)

    @property
    def is_good(self) -> Array:
        """(rows,) whether a row is not rejected."""
        is_good: Array = self.reason == None  # noqa: E711 (element-wise)
        return is_good

    def reject(self, is_bad: Array | list[bool], reason: str) -> None:
        """Gives a reason to the rows of a boolean mask that have none yet."""
        self.reason[is_bad & self.is_good] = reason

    def rejected(self) -> Iterator[tuple[int, str, bytes]]:
        """Line, reason and raw row of each bad row."""
        for row in np.flatnonzero(~self.is_good):
            yield int(self.line[row]), self.reason[row], self.raw[row]

    def numbers(self, name: str, strings: pa.Array, kind: pa.DataType) -> pa.Array:
        """Finite numbers, NaN where the string is empty. Rejects rows with another string."""
        strings = pc.if_else(pc.equal(strings, ""), None, strings)
        try:
            values = strings.cast(kind)
        except pa.ArrowInvalid:
            is_number = pc.match_substring_regex(strings, _NUMBER)
            self.reject(~mask(pc.fill_null(is_number, True)), f"{name} is not a number")
            values = pc.if_else(is_number, strings, None).cast(kind)
        values = values.to_numpy(zero_copy_only=False)
        is_finite = np.isfinite(values) | mask(pc.is_null(strings))
        self.reject(~is_finite, f"{name} is not a finite number")
        return pa.array(values, kind, from_pandas=False)


def mask(array: pa.Array) -> Array:
    """A boolean Arrow array for NumPy, with null as False."""
    values: Array = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
    return values
