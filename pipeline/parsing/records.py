"""Rows of delimited text: lines, and runs of lines that a quoted value with line breaks makes one.

A line with an odd number of quotes begins a row that ends in the next such line, if all from the
one to the other is a row by the letter of RFC 4180: quotes only around whole values, or doubled in
them. Otherwise it is a row of its own, and so is every other line. So a stray quote costs its own
line at most, whatever follows, and where rows begin depends on what is near, within
`MAX_LINE_BYTES`.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.parsing.lines import MAX_LINE_BYTES, cut, read_lines
from pipeline.sources import Chunk, open_source

_READ_BYTES = 2**20


class Records(NamedTuple):
    """Some consecutive rows of a chunk."""

    starts: Sequence[int]  # the bytes of the file before each
    rows: Sequence[bytes]  # without their line ends
    lines: Sequence[int]  # how many lines each takes

    def behind_first(self) -> "Records":
        """All but the first."""
        return Records(self.starts[1:], self.rows[1:], self.lines[1:])


def read_records(chunk: Chunk, encoding: str, delimiter: str | None) -> Iterator[Records]:
    """The rows that begin in a chunk, in blocks; with None for a delimiter, quotes mean nothing."""
    starts: list[int] = []
    lines: list[bytes] = []
    for more_starts, more in read_lines(chunk, encoding):
        starts, lines = starts + more_starts, lines + more
        spans = [1] * len(lines) if delimiter is None else _spans(starts, lines, delimiter)
        taken = sum(spans)
        if spans:
            yield _join(starts, lines, spans)
        starts, lines = starts[taken:], lines[taken:]
    if lines:
        yield _join(starts, lines, [1] * len(lines))


def record_chunks(whole: Chunk, chunks: list[Chunk], delimiter: str) -> list[Chunk]:
    """The chunks of a file in UTF-8, each moved to where a row begins.

    Reads the file, as only what comes before tells whether a line break is in quotes; next to
    parsing that is little.
    """
    wanted = np.array([chunk.start for chunk in chunks[1:]], np.int64)
    if not len(wanted) or not _has_quotes(whole.path):
        return chunks
    found: set[int] = set()
    for records in read_records(whole, "utf-8", delimiter):
        starts = np.array(records.starts)
        behind = np.searchsorted(starts, wanted)
        found.update(starts[behind[behind < len(starts)]].tolist())
        wanted = wanted[behind == len(starts)]
    return cut(whole, sorted(found))


def _has_quotes(path: str) -> bool:
    with open_source(path) as file:
        return any(b'"' in data for data in iter(functools.partial(file.read, _READ_BYTES), b""))


def is_strict(row: bytes, delimiter: str) -> bool:
    """Whether a row is one by RFC 4180, line breaks in quotes included."""
    return _patterns(delimiter.encode())[0].fullmatch(row) is not None


def is_open(row: bytes, delimiter: str) -> bool:
    """Whether a row ends in quotes, for a reader that takes quotes in a value as they are."""
    return b'"' in row and _patterns(delimiter.encode())[1].fullmatch(row) is not None


@functools.lru_cache
def _patterns(delimiter: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    end = re.escape(delimiter)
    begun = rb'"[^"]*(?:""[^"]*)*'
    strict = rb'(?:%b"|[^"\r\n%b]*)' % (begun, end)
    lenient = rb'(?:%b"(?!")|(?!"))[^%b]*' % (begun, end)
    return (
        re.compile(rb"(?:%b%b)*%b\r?" % (strict, end, strict)),
        re.compile(rb"(?:%b%b)*%b" % (lenient, end, begun)),
    )


def _spans(starts: list[int], lines: list[bytes], delimiter: str) -> list[int]:
    """The number of lines of each row, without lines at the end that may be one with what
    follows."""
    odd = [i for i, line in enumerate(lines) if line.count(b'"') % 2]
    spans: list[int] = []
    taken = 0
    for first, last in itertools.pairwise(odd):
        if first < taken or starts[last] - starts[first] > MAX_LINE_BYTES:
            continue
        if is_strict(b"\n".join(lines[first : last + 1]), delimiter):
            spans += [1] * (first - taken) + [last + 1 - first]
            taken = last + 1
    is_open = odd and odd[-1] >= taken and starts[-1] - starts[odd[-1]] <= MAX_LINE_BYTES
    return spans + [1] * ((odd[-1] if is_open else len(lines)) - taken)


def _join(starts: list[int], lines: list[bytes], spans: list[int]) -> Records:
    """The rows that some lines at the beginning are."""
    if len(spans) == sum(spans):
        rows = lines[: len(spans)]
    else:
        ends = itertools.accumulate(spans)
        rows = [b"\n".join(lines[end - n : end]) for end, n in zip(ends, spans, strict=True)]
        starts = [
            starts[end - n] for end, n in zip(itertools.accumulate(spans), spans, strict=True)
        ]
    return Records(starts[: len(rows)], [row.removesuffix(b"\r") for row in rows], spans)
