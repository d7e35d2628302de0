"""A block of rows on its way from a file to record batches, with the bad rows set aside."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclasses.dataclass
class Block:
    """Some consecutive rows of a chunk.

    Attributes:
        line: (rows,) number of each row in its chunk, from 0.
        text: (rows,) the rows as they stand in the file, bytes.
        columns: column name to (rows,) Arrow strings. Rejected rows have null.
        reason: (rows,) why a row is bad, or None.
    """

    line: np.ndarray
    text: np.ndarray
    columns: dict[str, pa.Array]
    reason: np.ndarray

    def reject(self, is_bad: np.ndarray, reason: str) -> None:
        """Gives a reason to the rows of a boolean mask that have none yet."""
        self.reason[is_bad & (self.reason == None)] = reason  # noqa: E711 (element-wise)


def numbers(block: Block, name: str, text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Finite numbers, NaN where the text is empty. Rejects rows with another text."""
    text = pc.if_else(pc.equal(text, ""), None, text)
    try:
        values = text.cast(kind)
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(text, _NUMBER)
        block.reject(~mask(pc.fill_null(is_number, True)), f"{name} is not a number")
        values = pc.if_else(is_number, text, None).cast(kind)
    values = values.to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(values) | mask(pc.is_null(text))
    block.reject(~is_finite, f"{name} is not a finite number")
    return pa.array(values, kind, from_pandas=False)


def mask(array: pa.Array) -> np.ndarray:
    """A boolean Arrow array for NumPy, with null as False."""
    return pc.fill_null(array, False).to_numpy(zero_copy_only=False)
