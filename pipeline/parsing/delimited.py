"""Delimited text: what the format forbids is rejected here.

Only what a format itself forbids is bad here (column count, length, UTF-8). What a column's value
must look like is the data set's matter.
"""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline.block import Block
from pipeline.sources import MAX_LINE_BYTES, Chunk, line_chunks, read_lines

_OPEN_QUOTE = -1  # instead of a number of columns


@dataclasses.dataclass(frozen=True)
class Delimited:
    """Text with one row a line.

    Args:
        columns: names of all columns in order.
        delimiter: what stands between two values; more than one character only if not quoted.
        quoted: whether values may stand in double quotes (CSV).
        header: whether each file begins with a line of column names, which has to be `columns`.
    """

    columns: tuple[str, ...]
    delimiter: str = ","
    quoted: bool = True
    header: bool = True

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """The chunks of one file."""
        return line_chunks(whole, size)

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        first = 0
        for lines in read_lines(chunk):
            if self.header and first == 0 and chunk.index == 0:
                self._check_header(chunk.path, lines[0])
                lines = lines[1:]
                first = 1
            if lines:
                yield self._parse(np.arange(first, first + len(lines)), lines)
            first += len(lines)

    def _check_header(self, path: str, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").removeprefix("\ufeff")
        names = tuple(name.strip('"') for name in text.split(self.delimiter))
        if names != self.columns:
            missing = [name for name in self.columns if name not in names]
            raise ValueError(
                f"{path}: the header is not as declared"
                + (f", without {', '.join(missing)}" if missing else "")
                + f". Expected: {', '.join(self.columns)}. Received: {', '.join(names)}"
            )

    def _parse(self, line: np.ndarray, lines: list[bytes]) -> Block:
        reason = np.full(len(lines), None, object)
        if max(map(len, lines)) > MAX_LINE_BYTES:
            reason[[len(text) > MAX_LINE_BYTES for text in lines]] = "line too long"
        if not _is_utf8(b"\n".join(lines)):
            reason[[not _is_utf8(text) for text in lines]] = "invalid UTF-8"
        reason[[not text for text in lines]] = "empty line"
        is_good = np.array([r is None for r in reason])
        table, counts = self._parse_lines([lines[i] for i in np.flatnonzero(is_good)])
        wanted = len(self.columns)
        bad = np.flatnonzero(counts != wanted)
        at = np.flatnonzero(is_good)
        for i in bad:
            is_open = counts[i] == _OPEN_QUOTE
            reason[at[i]] = (
                "a quote is not closed" if is_open else f"{counts[i]} columns instead of {wanted}"
            )
        if table.num_rows < len(lines):
            # Where each line's row is in the table: null for a rejected line.
            row = np.full(len(lines), -1)
            row[at[counts == wanted]] = np.arange(table.num_rows)
            table = table.take(pa.array(row, mask=row < 0))
        columns = {name: _flat(table[name]) for name in self.columns}
        return Block(line, _object_array(lines), columns, reason)

    def _parse_lines(self, lines: list[bytes]) -> tuple[pa.Table, np.ndarray]:
        """A table of the good lines, and each line's number of columns or `_OPEN_QUOTE`."""
        counts = np.full(len(lines), len(self.columns))
        invalid = []
        text, delimiter = b"\n".join([*lines, b""]), self.delimiter
        if len(delimiter) > 1:
            text, delimiter = text.replace(delimiter.encode(), b"\x1f"), "\x1f"

        def skip(row):
            invalid.append(row)
            return "skip"

        table = (
            pyarrow.csv.read_csv(
                io.BytesIO(text),
                pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=2**31 - 1,
                    column_names=self.columns,
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if self.quoted else False,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in self.columns},
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
            if lines
            else pa.table({name: pa.array([], pa.string()) for name in self.columns})
        )
        for row in invalid:
            counts[row.number - 1] = row.actual_columns
        last_cell = table[self.columns[-1]][-1].as_py() if table.num_rows else ""
        is_swallowed = table.num_rows + len(invalid) < len(lines) or last_cell.endswith("\n")
        if not is_swallowed:
            return table, counts
        # A quote that is not closed has swallowed line ends: look for the line by halves.
        if len(lines) == 1:
            return table.slice(0, 0), np.array([_OPEN_QUOTE])
        middle = len(lines) // 2
        parts = [self._parse_lines(half) for half in (lines[:middle], lines[middle:])]
        return pa.concat_tables([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _object_array(values: list) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
