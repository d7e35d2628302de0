"""Delimited text with a header or without, quoted (CSV) or not."""

import codecs
import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline.block import Block
from pipeline.parsing.columns import add_partition_columns, check_columns, shortened
from pipeline.parsing.lines import check_text, line_chunks, reject_lines
from pipeline.parsing.records import Records, is_open, is_strict, read_records, record_chunks
from pipeline.sources import Chunk, SourceError

_DELIMITERS = (";", "\t", "|", ",")  # that a file may have other than declared
_UNIT_SEPARATOR = b"\x1f"  # instead of a delimiter that Arrow does not take


@dataclasses.dataclass(frozen=True)
class Delimited:
    """Text with one row a line, or more where a quoted value holds line breaks.

    A file's columns are those of its header, in any order, unless `names` says otherwise.

    Args:
        columns: tuple of str. Those to read; without a header and `names`, all of a file in order.
        delimiter: str. More than one byte only if not quoted. Defaults to `","`.
        quoted: bool. Whether values may stand in double quotes. Defaults to `True`.
        header: bool. Whether each file begins with a row of column names. Defaults to `True`.
        names: tuple of str. Names of all columns of a file, in order, which count instead of those
            of a header. Defaults to `()`.
        encoding: str. As Python calls it. Defaults to `"utf-8"`.
        decimal: str. What stands before the decimals of a number. Defaults to `"."`.
    """

    columns: tuple[str, ...]
    delimiter: str = ","
    quoted: bool = True
    header: bool = True
    names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    decimal: str = "."

    def check(self, path: str) -> None:
        """Raises a SourceError if a file does not have the columns to read."""
        check_text(path, self.encoding)
        first = self._first_row(path)
        if not first:
            return  # an empty file has no rows
        other = next((mark for mark in _DELIMITERS if mark in first[0]), None)
        if other and len(first) == 1 < len(self.names or self.columns):
            raise SourceError(
                f"{path} has a single column: declare `delimiter: {json.dumps(other)}`"
            )
        names = self._names(first)
        if self.header and len(first) != len(names):
            count = f"{len(first)} columns, and {len(names)} are declared"
            raise SourceError(f"{path} has {count}: {shortened(', '.join(first))}")
        if not self.header and tuple(first) == names:
            raise SourceError(f"{path} begins with the names of its columns: omit `header: false`")
        check_columns(path, names, self.columns)
        if not self.header and not self._begins_well(path):
            wrong = f"no row with the {len(names)} columns that are declared"
            raise SourceError(f"{path} begins with {wrong}: {shortened(', '.join(first))}")

    def _begins_well(self, path: str) -> bool:
        """Whether any of the first rows is one. A block ends where a quote may be open."""
        blocks = itertools.islice(self.read(Chunk(path, 0, None)), 2)
        return any(block.is_good.any() for block in blocks)

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """The chunks of one file."""
        whole = dataclasses.replace(whole, names=self._names(self._first_row(whole.path)))
        chunks = line_chunks(whole, size, self.encoding)
        return record_chunks(whole, chunks, self.delimiter) if self.quoted else chunks

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        names = chunk.names or self._names(self._first_row(chunk.path))
        first = 0
        for records in self._records(chunk):
            if self.header and first == chunk.index == 0:
                first, records = records.lines[0], records.behind_first()
            if records.rows:
                block = Block(
                    first,
                    records.rows,
                    positions=records.starts,
                    lines=records.lines,
                    decimal=self.decimal,
                )
                yield self._parse(block, names, chunk.path)
                first = block.next_line

    def _records(self, chunk: Chunk) -> Iterator[Records]:
        return read_records(chunk, self.encoding, self.delimiter if self.quoted else None)

    def _first_row(self, path: str) -> list[str]:
        """The values in the first row of a file; none if it is empty."""
        records = next(self._records(Chunk(path, 0, None)), None)
        if records is None:
            return []
        row = records.rows[0]
        if self.header and b"\r" in row and not (self.quoted and is_strict(row, self.delimiter)):
            raise SourceError(
                f"{path} has carriage returns without line feeds: convert its line ends"
            )
        text = row.decode("utf-8", "backslashreplace")
        if not self.quoted:
            return text.split(self.delimiter)
        values = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter), [])
        return values or [""]  # an empty line

    def _names(self, first: list[str]) -> tuple[str, ...]:
        """The names of all columns of a file, in order, by its first row."""
        return self.names or (tuple(first) if self.header else self.columns)

    def _parse(self, block: Block, names: tuple[str, ...], path: str) -> Block:
        reject_lines(block, self.encoding)
        self._reject_characters(block)
        table, invalid = self._read_csv(block, names)
        if table.num_rows + len(invalid) <= block.is_good.sum():
            self._reject_open_quotes(block)  # one has swallowed the ends of rows
            table, invalid = self._read_csv(block, names)
        good = np.flatnonzero(block.is_good)
        for row in invalid:
            reason = f"expected {len(names)} columns, got {row.actual_columns}"
            block.reason[good[row.number - 1]] = reason
        if table.num_rows > len(block):  # with the empty row
            table = table.slice(0, len(block))
        else:  # the good rows to their places, null for the bad
            places = np.cumsum(block.is_good) - 1
            table = table.take(pa.array(places, mask=~block.is_good))
        block.columns = {name: table[name].combine_chunks() for name in table.column_names}
        add_partition_columns(block, path, self.columns)
        return block

    def _reject_characters(self, block: Block) -> None:
        """Rejects rows with what ends a row or a value for Arrow, and does not here."""
        rows = block.raw.tolist()
        text = b"\n".join(rows)
        if b"\r" in text:
            is_bad = [
                b"\r" in r and not (self.quoted and is_strict(r, self.delimiter)) for r in rows
            ]
            block.reject(is_bad, "a carriage return in a line")
        if b"\r" in text or text.count(b"\n") >= len(rows):
            self._reject_open_quotes(block)  # behind one, what is in quotes would not be
        if _is_long(self.delimiter) and _UNIT_SEPARATOR in text:
            block.reject([_UNIT_SEPARATOR in row for row in rows], "a unit separator in a line")

    def _reject_open_quotes(self, block: Block) -> None:
        rows = block.raw.tolist()
        is_bad = [self.quoted and is_open(row, self.delimiter) for row in rows]
        block.reject(is_bad, "a quote is not closed")

    def _read_csv(
        self, block: Block, names: tuple[str, ...]
    ) -> tuple[pa.Table, list[pyarrow.csv.InvalidRow]]:
        """What Arrow makes of the good rows and of an empty one behind them, and those with another
        number of columns. There are fewer in all if a quote has swallowed the ends of rows."""
        delimiter = self.delimiter.encode()
        text = b"\n".join([*block.raw[block.is_good], delimiter * (len(names) - 1), b""])
        text = codecs.BOM_UTF8 + text  # which Arrow removes, and would from the first value
        if _is_long(self.delimiter):
            text, delimiter = text.replace(delimiter, _UNIT_SEPARATOR), _UNIT_SEPARATOR
        invalid: list[pyarrow.csv.InvalidRow] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            invalid.append(row)
            return "skip"

        indices = {name: str(names.index(name)) for name in self.columns if name in names}
        table = pyarrow.csv.read_csv(
            io.BytesIO(text),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=2**31 - 1,
                column_names=[str(i) for i in range(len(names))],
            ),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter.decode(),
                quote_char='"' if self.quoted else False,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            pyarrow.csv.ConvertOptions(
                column_types={index: pa.string() for index in indices.values()},
                include_columns=list(indices.values()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        return table.rename_columns(list(indices)), invalid


def _is_long(delimiter: str) -> bool:
    """Whether a delimiter is more than the one byte that Arrow takes."""
    return len(delimiter.encode()) > 1
