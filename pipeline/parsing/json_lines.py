"""JSON lines: an object a line."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.block import Block
from pipeline.parsing.columns import (
    check_columns,
    item_with_separator,
    unexpected_list,
    unexpected_weights,
)
from pipeline.parsing.lines import check_text, line_chunks, reject_lines
from pipeline.parsing.records import read_records
from pipeline.sources import Chunk, partition_columns


class _BadRowError(ValueError):
    """Why a row cannot be read."""


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """Text with a JSON object a line. A key that an object does not have, or null, is "".

    Numbers keep the spelling that they have in the file, true and false become 1 and 0, a list's
    values but null are joined by a separator. Objects in objects are rejected, but those of values
    and their weights.

    Args:
        columns: tuple of str. The keys to read.
        separators: tuple of (str, str). For each column that may have lists, what joins their
            values. Defaults to `()`.
        encoding: str. As Python calls it. Defaults to `"utf-8"`.
        weight_separators: tuple of (str, str). For each column whose lists may have weights, what
            joins a value and its weight. Defaults to `()`.
    """

    columns: tuple[str, ...]
    separators: tuple[tuple[str, str], ...] = ()
    encoding: str = "utf-8"
    weight_separators: tuple[tuple[str, str], ...] = ()

    def check(self, path: str) -> None:
        """Raises a SourceError if none of a file's first objects has a column to read."""
        check_text(path, self.encoding)
        records = next(read_records(Chunk(path, 0, None), self.encoding, None), None)
        found: dict[str, None] = {}
        for line in records.rows if records else ():
            try:
                found |= dict.fromkeys(_read_object(line))
            except _BadRowError:
                continue  # rejected when it is read
        if found:
            check_columns(path, list(found), self.columns)

    def chunks(self, whole: Chunk, size: int) -> list[Chunk]:
        """The chunks of one file."""
        return line_chunks(whole, size, self.encoding)

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The rows of one chunk."""
        first = 0
        for starts, lines, _ in read_records(chunk, self.encoding, None):
            block = Block(first, lines, positions=starts)
            reject_lines(block, self.encoding)
            yield self._parse(block, chunk.path)
            first = block.next_line

    def _parse(self, block: Block, path: str) -> Block:
        absent = partition_columns(path)
        rows: list[list[str | None]] = [[None] * len(self.columns)] * len(block)
        for i in np.flatnonzero(block.is_good):
            try:
                rows[i] = self._row(block.raw[i], absent)
            except _BadRowError as error:
                block.reason[i] = str(error)
        columns = zip(*rows, strict=True)
        for name, values in zip(self.columns, columns, strict=True):
            block.columns[name] = pa.array(values, pa.string())
        return block

    def _row(self, line: bytes, absent: dict[str, str]) -> list[str | None]:
        row = _read_object(line)
        return [self._cell(name, row.get(name, absent.get(name))) for name in self.columns]

    def _cell(self, name: str, value: Any) -> str:
        separator = dict(self.separators).get(name)
        if isinstance(value, dict) and separator is not None:
            value = self._weighted(name, value)
        if not isinstance(value, list):
            return _text(name, value)
        if separator is None:
            raise _BadRowError(unexpected_list(name))
        items = [_text(name, item) for item in value if item is not None]
        if any(separator in item for item in items):
            raise _BadRowError(item_with_separator(name, separator))
        return separator.join(items)

    def _weighted(self, name: str, weights: dict[str, Any]) -> list[str]:
        """Values, each with its weight."""
        separator = dict(self.weight_separators).get(name)
        if separator is None:
            raise _BadRowError(unexpected_weights(name))
        pairs = ((_text(name, value), _text(name, weight)) for value, weight in weights.items())
        return [f"{value}{separator}{weight}" for value, weight in pairs]


def _read_object(line: bytes) -> dict[str, Any]:
    """An object with its numbers as text."""
    try:
        value = _DECODER.decode(line.decode())
    except json.JSONDecodeError as error:
        raise _BadRowError(f"no JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise _BadRowError("invalid UTF-8") from error
    except RecursionError as error:
        raise _BadRowError("no JSON: nested too deeply") from error
    if not isinstance(value, dict):
        raise _BadRowError("no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _BadRowError("a key is there twice")
    return members


_DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_unique
)


def _text(name: str, value: Any) -> str:
    """A single value as text."""
    if isinstance(value, str):
        if not value.isascii() and not _is_unicode(value):
            raise _BadRowError(f"{name} is half a character")
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    kind = "an object" if isinstance(value, dict) else "a list of lists"
    raise _BadRowError(f"{name} is {kind}: flatten it")


def _is_unicode(text: str) -> bool:
    """Whether a text is free of lone surrogates, which JSON can spell."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
