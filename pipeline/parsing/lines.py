"""Text files: chunks of about equal size, the lines that begin in each, and encodings.

Whatever a file's encoding, lines come as UTF-8. What cannot be decoded comes as bytes that are no
UTF-8, so that one check finds it.
"""

import codecs
import contextlib
import dataclasses
import io
import itertools
import math
from collections.abc import Iterator
from typing import IO

from pipeline.block import BLOCK_ROWS, Block
from pipeline.sources import Chunk, SourceError, is_compressed, open_source

CHUNK_BYTES = 4 * 2**20  # at most
MAX_LINE_BYTES = 2**20
_READ_BYTES = 2**20  # no more than MAX_LINE_BYTES

_SIGNATURES = {  # how files begin that are no text in UTF-8, and what to do with them
    codecs.BOM_UTF32_LE: "is UTF-32: declare `encoding: utf-32`",
    codecs.BOM_UTF16_LE: "is UTF-16: declare `encoding: utf-16`",
    codecs.BOM_UTF16_BE: "is UTF-16: declare `encoding: utf-16`",
    b"\x1f\x8b": "is compressed: its name must end in .gz",
    b"BZh": "is compressed: its name must end in .bz2",
    b"\xfd7zXZ\0": "is compressed: its name must end in .xz",
    b"\x28\xb5\x2f\xfd": "is compressed: its name must end in .zst",
    b"PK\x03\x04": "is a zip archive: unpack it, or name a member as archive.zip!member",
    b"PAR1": "is a Parquet file: declare `format: parquet`",
}
_MARK = "ctr_keras.mark"  # an error handler of decoding and encoding


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """Undecodable bytes become a lone surrogate, and that a byte which UTF-8 does not have."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    assert isinstance(error, UnicodeEncodeError)
    return b"\xff", error.end


codecs.register_error(_MARK, _mark)


def is_utf8(encoding: str) -> bool:
    """Whether an encoding is UTF-8, whose byte order mark is passed over in any case."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def check_text(path: str, encoding: str) -> None:
    """Raises a SourceError if a file begins as other than text in this encoding does."""
    with open_source(path) as file:
        beginning = file.read(8)
    if not is_utf8(encoding):
        return
    for signature, remedy in _SIGNATURES.items():
        if beginning.startswith(signature):
            raise SourceError(f"{path} {remedy}")
    for order, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(beginning) == 8 and not any(beginning[order::2]) and all(beginning[1 - order :: 2]):
            raise SourceError(f"{path} is UTF-16: declare `encoding: {name}`")


def line_chunks(whole: Chunk, size: int, encoding: str = "utf-8") -> list[Chunk]:
    """The chunks of a text file of `size` bytes, about equal so that workers have equal shares.
    Files that are compressed, or not in UTF-8, are one chunk."""
    if is_compressed(whole.path) or not is_utf8(encoding):
        return [whole]
    count = max(1, math.ceil(size / CHUNK_BYTES))
    return cut(whole, [size * i // count for i in range(1, count)])


def cut(whole: Chunk, starts: list[int]) -> list[Chunk]:
    """The chunks of a file of which all but the first begin at `starts`."""
    bounds = zip([whole.start, *starts], [*starts, whole.stop], strict=True)
    return [
        dataclasses.replace(whole, index=index, start=start, stop=stop)
        for index, (start, stop) in enumerate(bounds)
    ]


def read_lines(chunk: Chunk, encoding: str = "utf-8") -> Iterator[tuple[list[int], list[bytes]]]:
    """The lines that begin in a chunk, in blocks: the bytes of the file before each, and the lines
    without `\\n`.

    A line longer than `MAX_LINE_BYTES` comes cut to one byte more than that, so that a file without
    line ends cannot fill the memory; `reject_lines` rejects it.
    """
    starts: list[int] = []
    lines: list[bytes] = []
    with _open_text(chunk.path, encoding) as file:
        for some_starts, some in _lines(file, chunk.start, chunk.stop):
            if some and some_starts[0] == 0:
                some[0] = some[0].removeprefix(codecs.BOM_UTF8)
            starts += some_starts
            lines += some
            ready = len(lines) - len(lines) % BLOCK_ROWS
            for first in range(0, ready, BLOCK_ROWS):
                block = slice(first, first + BLOCK_ROWS)
                yield starts[block], lines[block]
            starts, lines = starts[ready:], lines[ready:]
    if lines:
        yield starts, lines


def reject_lines(block: Block, encoding: str = "utf-8") -> None:
    """Rejects the rows of a block that are no text: too long, undecodable or empty."""
    lines = block.raw.tolist()
    if max(map(len, lines)) > MAX_LINE_BYTES:
        block.reject([len(line) > MAX_LINE_BYTES for line in lines], "line too long")
    if not _is_decodable(b"\n".join(lines)):
        name = "UTF-8" if is_utf8(encoding) else encoding
        block.reject([not _is_decodable(line) for line in lines], f"invalid {name}")
    block.reject([not line for line in lines], "empty line")


def _is_decodable(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextlib.contextmanager
def _open_text(path: str, encoding: str) -> Iterator[IO[bytes]]:
    """A text file as UTF-8."""
    with open_source(path) as file:
        yield file if is_utf8(encoding) else _Recoded(file, encoding)  # type: ignore[misc]


class _Recoded:
    """Another encoding, read as UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str):
        self._text = io.TextIOWrapper(file, encoding, _MARK, newline="")

    def read(self, size: int) -> bytes:
        return self._text.read(size).encode("utf-8", _MARK)


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
