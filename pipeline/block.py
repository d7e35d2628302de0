"""A block: some rows of a file as columns of strings. It is made, and rejected from, only here."""

import collections
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.types import Array

BLOCK_ROWS = 4096  # about as many as a block has at most
_NOT_FINITE = r"(?i)^([+-]?(nan|inf|infinity))$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

_NAMED_VALUES = 3  # in reasons, of a block
_SHOWN = 30  # characters of a value


class Block:
    """Some consecutive rows of a chunk: as they stand in the file, and their columns by name.

    Args:
        first: int. Number in the chunk of the first row's line, from 0.
        raw: list of bytes. The rows.
        columns: dict. Arrays of strings. Defaults to none yet.
        positions: list of int. Where in the file each row is, however that is cut into chunks.
        lines: list of int. How many lines each row takes. Defaults to one.
        decimal: str. What stands before the decimals of a number. Defaults to `"."`.
    """

    def __init__(
        self,
        first: int,
        raw: Sequence[bytes],
        columns: dict[str, pa.Array] | None = None,
        positions: Sequence[int] | Array = (),
        lines: Sequence[int] = (),
        decimal: str = ".",
    ):
        taken = np.array(lines or [1] * len(raw), np.int64)
        self.line = first + np.cumsum(taken) - taken  # numbers in the chunk, from 0
        self.next_line = first + int(taken.sum())  # behind the block
        self.position = np.array(positions, np.int64)
        self.raw = np.array(raw, object)  # bytes as they stand in the file
        self.columns = columns or {}  # strings; null in some rejected rows
        self.reason = np.full(len(raw), None, object)  # why a row is bad
        self._decimal = decimal

    def __len__(self) -> int:
        return len(self.line)

    @property
    def is_good(self) -> Array:
        """(rows,) whether a row is not rejected."""
        return np.asarray(self.reason == None)  # noqa: E711 (element-wise)

    def reject(self, is_bad: Array | list[bool], reason: str) -> None:
        """Gives a reason to the rows of a boolean mask that have none yet."""
        self.reason[is_bad & self.is_good] = reason

    def reject_values(self, is_bad: Array, values: pa.Array, reason: str) -> None:
        """As `reject`, with a reason in which `{}` stands for the row's value. Reasons are counted:
        of many values only the most frequent are named."""
        is_bad = is_bad & self.is_good
        bad = np.array(values.filter(pa.array(is_bad)).to_pylist(), object)
        reasons = np.full(len(bad), reason.replace("{}", "another value"), object)
        for value, _ in collections.Counter(bad.tolist()).most_common(_NAMED_VALUES):
            reasons[bad == value] = reason.replace("{}", _shown(value))
        self.reason[is_bad] = reasons

    def rejected(self) -> list[tuple[int, str, bytes]]:
        """Line, reason and raw row of each bad row."""
        bad = ~self.is_good
        columns = (self.line[bad].tolist(), self.reason[bad], self.raw[bad])
        return list(zip(*columns, strict=True))

    def numbers(self, name: str, strings: pa.Array, kind: pa.DataType) -> pa.Array:
        """Finite numbers, NaN where the string is empty or, as servers take them, `NaN` or `inf`.
        Rejects rows with another string."""
        strings = pc.if_else(pc.equal(strings, ""), None, strings)
        if self._decimal != ".":  # then points are for thousands, which no number here has
            strings = pc.replace_substring(pc.replace_substring(strings, ".", " "), ",", ".")
        try:
            values = strings.cast(kind)
        except pa.ArrowInvalid:
            is_number = pc.match_substring_regex(strings, f"{NUMBER}|{_NOT_FINITE}")
            self.reject(~mask(pc.fill_null(is_number, True)), f"{name} is not a number")
            values = pc.if_else(is_number, strings, None).cast(kind)
        numbers = np.array(values)
        is_infinite = np.isinf(numbers)
        if is_infinite.any():
            is_too_large = is_infinite & ~mask(pc.match_substring_regex(strings, _NOT_FINITE))
            largest = np.finfo(numbers.dtype).max
            self.reject(
                is_too_large, f"{name} is beyond {largest:.2g}, the largest {numbers.dtype}"
            )
            numbers[is_infinite] = np.nan
        return pa.array(numbers, kind, from_pandas=False)


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")


def mask(array: pa.Array) -> Array:
    """A boolean Arrow array for NumPy, with null as False."""
    return np.asarray(pc.fill_null(array, False))
