"""Source files, cut into chunks that workers read on their own, and the lines in them.

A path may be anything that `ctr_keras.files` opens (local, `gs://`, ...), may end in `.gz`, `.bz2`,
`.xz` or `.zst`, and may name a member of a zip archive as `archive.zip!member`. Compressed files
are one chunk.
"""

import bz2
import dataclasses
import gzip
import itertools
import lzma
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa

from ctr_keras import files

CHUNK_BYTES = 4 * 2**20  # at most
BLOCK_LINES = 4096
MAX_LINE_BYTES = 2**20
_READ_BYTES = 2**20  # no more than MAX_LINE_BYTES
_DECOMPRESSED: dict[str, Callable[[Any], Any]] = {  # by the end of a file's name
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file: pa.CompressedInputStream(file, "zstd"),
}


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A part of a source file, by default all of it."""

    path: str
    file: int  # its number among the source's files
    split: str | None  # that the file belongs to; None if its rows are split one by one
    index: int = 0  # of the chunk in its file
    start: int = 0  # in bytes, or row groups in a Parquet file
    stop: int | None = None  # None is the end


def find_files(source: str, pattern: str = "") -> list[tuple[str, int]]:
    """Paths and sizes in bytes of the files that match a pattern below `source`, sorted; without
    one, of the source itself (a file or a pattern), or all files in it."""
    tried = [os.path.join(source, pattern)] if pattern else [source, f"{source}/*"]
    for full in tried:
        if found := files.find(full):
            return [(file.path, file.size) for file in found]
    raise FileNotFoundError(f"no file matches {' or '.join(map(repr, tried))}")


def name_below(source: str, path: str) -> str:
    """A file's path as seen from its source: the same wherever the source lies.

    Example:

    >>> name_below("/logs", "/logs/day-1.csv"), name_below("/logs/*.csv", "/logs/day-1.csv")
    ('day-1.csv', '../day-1.csv')
    """
    return os.path.relpath(path, source)


def member_path(source: str, name: str) -> str:
    """The path of a file in a folder or zip archive, at any depth in the archive."""
    if not source.endswith(".zip"):
        return os.path.join(source, name)
    with files.open_input(source) as file:
        for member in zipfile.ZipFile(file).namelist():
            if member.rpartition("/")[2] == name:
                return f"{source}!{member}"
    raise FileNotFoundError(f"{source} has no member {name}")


def line_chunks(whole: Chunk, size: int) -> list[Chunk]:
    """The chunks of a text file of `size` bytes, about equal so that workers have equal shares."""
    if "!" in whole.path or whole.path.endswith(tuple(_DECOMPRESSED)):
        return [whole]
    count = max(1, math.ceil(size / CHUNK_BYTES))
    starts = [size * i // count for i in range(count)]
    stops = [*starts[1:], None]
    return [
        dataclasses.replace(whole, index=index, start=start, stop=stop)
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def open_source(path: str) -> IO[bytes]:
    """Opens a source file for reading bytes, decompressing by its name."""
    archive, _, member = path.partition("!")
    file = files.open_input(archive)
    if member:
        return zipfile.ZipFile(file).open(member)
    decompressed = _DECOMPRESSED.get(os.path.splitext(path)[1])
    return decompressed(file) if decompressed else file


def read_lines(chunk: Chunk) -> Iterator[tuple[list[int], list[bytes]]]:
    """The lines that begin in a chunk, in blocks: the bytes of the file before each, and the lines
    without their ends.

    A line longer than `MAX_LINE_BYTES` comes cut to one byte more than that, so that a file without
    line ends cannot fill the memory; callers reject such lines.
    """
    starts: list[int] = []
    lines: list[bytes] = []
    with open_source(chunk.path) as file:
        for some_starts, some in _lines(file, chunk.start, chunk.stop):
            starts += some_starts
            lines += [line.removesuffix(b"\r") for line in some]
            ready = len(lines) - len(lines) % BLOCK_LINES
            for first in range(0, ready, BLOCK_LINES):
                block = slice(first, first + BLOCK_LINES)
                yield starts[block], lines[block]
            starts, lines = starts[ready:], lines[ready:]
    if lines:
        yield starts, lines


def _lines(
    file: IO[bytes], start: int, stop: int | None
) -> Iterator[tuple[list[int], list[bytes]]]:
    """The lines that begin at or after `start` and before `stop`, and where, some at a time."""
    # A line begins behind the end of another, so the byte before a range belongs to it, and the
    # last byte of the range does not.
    is_cut = start > 0
    position = max(start - 1, 0)
    if is_cut:
        file.seek(position)
    begin, rest = position, b""
    for data in _read(file, None if stop is None else stop - 1 - position):
        first, *others = data.split(b"\n")
        rest = (rest + first)[: MAX_LINE_BYTES + 1]
        if others:
            *complete, last = rest, *others
            lengths = (len(piece) + 1 for piece in (first, *others[:-1]))
            *starts, begin = begin, *(position + n for n in itertools.accumulate(lengths))
            yield starts[is_cut:], complete[is_cut:]
            is_cut, rest = False, last
        position += len(data)
    if is_cut:
        return  # no line begins here
    for data in _read(file, None):
        first, end, _ = data.partition(b"\n")
        rest = (rest + first)[: MAX_LINE_BYTES + 1]
        if end:
            yield [begin], [rest]
            return
    if rest:
        yield [begin], [rest]


def _read(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    """The next `size` bytes, or all until the file ends, in pieces."""
    while data := file.read(_READ_BYTES if size is None else min(size, _READ_BYTES)):
        yield data
        size = None if size is None else size - len(data)
