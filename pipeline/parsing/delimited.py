"""Delimited text with one row a line."""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ctr_keras.types import Array
from pipeline.block import Block
from pipeline.sources import MAX_LINE_BYTES, Chunk, line_chunks, read_lines

_OPEN_QUOTE = -1  # instead of a number of columns


@dataclasses.dataclass(frozen=True)
class Delimited:
    """Text with one row a line."""

    columns: tuple[str, ...]  # the names of all, in order
    delimiter: str = ","  # more than one character only if not quoted
    quoted: bool = True  # whether values may stand in double quotes (CSV)
    header: bool = True  # whether each file begins with a line of column names: `columns`

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """The chunks of one file."""
        return line_chunks(whole, size)

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        first = 0
        for starts, lines in read_lines(chunk):
            if self.header and first == 0 and chunk.index == 0:
                header, *lines = lines
                self._check_header(chunk.path, header)
                first, starts = 1, starts[1:]
            if lines:
                yield self._parse(Block(first, lines, positions=starts), lines)
            first += len(lines)

    def _check_header(self, path: str, line: bytes) -> None:
        names = header_names(line, self.delimiter)
        if names != self.columns:
            missing = [name for name in self.columns if name not in names]
            without = f", without {', '.join(missing)}" if missing else ""
            raise ValueError(
                f"{path}: the header is not as declared{without}: expected "
                f"{', '.join(self.columns)}, got {', '.join(names)}"
            )

    def _parse(self, block: Block, lines: list[bytes]) -> Block:
        if max(map(len, lines)) > MAX_LINE_BYTES:
            block.reject([len(line) > MAX_LINE_BYTES for line in lines], "line too long")
        if not _is_utf8(b"\n".join(lines)):
            block.reject([not _is_utf8(line) for line in lines], "invalid UTF-8")
        block.reject([not line for line in lines], "empty line")

        expected = len(self.columns)
        counts = np.full(len(lines), expected)
        good = np.flatnonzero(block.is_good)
        table, counts[good] = self._parse_lines([lines[i] for i in good])
        for count in set(counts[counts != expected].tolist()):
            is_open = count == _OPEN_QUOTE
            reason = f"expected {expected} columns, got {count}"
            block.reject(counts == count, "a quote is not closed" if is_open else reason)
        if table.num_rows < len(lines):  # the good lines' rows to their places, null for the bad
            row = np.cumsum(block.is_good) - 1
            table = table.take(pa.array(row, mask=~block.is_good))
        block.columns = {name: table[name].combine_chunks() for name in self.columns}
        return block

    def _parse_lines(self, lines: list[bytes]) -> tuple[pa.Table, Array]:
        """A table of the good lines, and each line's number of columns or `_OPEN_QUOTE`."""
        table, invalid = self._read_csv(lines)
        last_cell = table[self.columns[-1]][-1].as_py() if table.num_rows else ""
        if table.num_rows + len(invalid) == len(lines) and not last_cell.endswith("\n"):
            counts = np.full(len(lines), len(self.columns))
            for row in invalid:
                counts[row.number - 1] = row.actual_columns
            return table, counts
        # A quote that is not closed has swallowed line ends: look for the line by halves.
        if len(lines) == 1:
            return table.slice(0, 0), np.array([_OPEN_QUOTE])
        middle = len(lines) // 2
        first, first_counts = self._parse_lines(lines[:middle])
        second, second_counts = self._parse_lines(lines[middle:])
        return pa.concat_tables([first, second]), np.concatenate([first_counts, second_counts])

    def _read_csv(self, lines: list[bytes]) -> tuple[pa.Table, list[pyarrow.csv.InvalidRow]]:
        """What Arrow makes of the lines, and the rows with another number of columns."""
        if not lines:
            return pa.table({name: pa.array([], pa.string()) for name in self.columns}), []
        text, delimiter = b"\n".join([*lines, b""]), self.delimiter
        if len(delimiter) > 1:
            text, delimiter = text.replace(delimiter.encode(), b"\x1f"), "\x1f"
        invalid: list[pyarrow.csv.InvalidRow] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        table = pyarrow.csv.read_csv(
            io.BytesIO(text),
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=2**31 - 1, column_names=self.columns
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
        return table, invalid


def header_names(line: bytes, delimiter: str) -> tuple[str, ...]:
    """The column names in a header."""
    header = line.decode("utf-8", "backslashreplace").removeprefix("\ufeff")
    return tuple(name.strip('"') for name in header.split(delimiter))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
