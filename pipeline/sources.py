"""Source files, cut into chunks that workers read on their own, and the lines in them.

A path may be anything Beam's file systems open (local, `gs://`, ...), may end in `.gz`, and may
name a member of a zip archive as `archive.zip!member`. Compressed files are one chunk.
"""

import dataclasses
import os
import zipfile
from collections.abc import Iterator

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

CHUNK_BYTES = 16 * 2**20
BLOCK_LINES = 4096
MAX_LINE_BYTES = 2**20
_READ_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A part of a source file.

    Attributes:
        path: the file.
        file: its number among the source's files.
        split: split that the file belongs to, or None if its rows are split one by one.
        index: position of the chunk in its file.
        start, stop: range of bytes, or of row groups in a Parquet file; a stop of None is the end.
    """

    path: str
    file: int
    split: str | None
    index: int
    start: int
    stop: int | None


def find_files(source: str, pattern: str = "") -> list[tuple[str, int]]:
    """Paths and sizes in bytes of files, sorted.

    Args:
        source: a file, a folder, or a pattern.
        pattern: what to match below `source`. Empty: the source itself, or all files in it.

    Raises:
        FileNotFoundError: if nothing matches, naming what was looked for.
    """
    tried = [FileSystems.join(source, pattern)] if pattern else [source, f"{source}/*"]
    for full in tried:
        matches = FileSystems.match([full])[0].metadata_list
        found = sorted((match.path, match.size_in_bytes) for match in matches)
        if found and not os.path.isdir(found[0][0]):
            return found
    raise FileNotFoundError(f"no file matches {' or '.join(map(repr, tried))}")


def member_path(source: str, name: str) -> str:
    """The path of a file in a folder or zip archive, at any depth in the archive.

    Raises:
        FileNotFoundError: if the archive has no such member.
    """
    if not source.endswith(".zip"):
        return FileSystems.join(source, name)
    with FileSystems.open(source, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        for member in zipfile.ZipFile(file).namelist():
            if member.rpartition("/")[2] == name:
                return f"{source}!{member}"
    raise FileNotFoundError(f"{source} has no member {name}")


def whole_file(path: str, file: int, split: str | None) -> Chunk:
    """A file as one chunk."""
    return Chunk(path, file, split, 0, 0, None)


def line_chunks(whole: Chunk, size: int) -> list[Chunk]:
    """The chunks of a text file of `size` bytes."""
    compression = CompressionTypes.detect_compression_type(whole.path)
    if "!" in whole.path or compression != CompressionTypes.UNCOMPRESSED:
        return [whole]
    return [
        dataclasses.replace(whole, index=index, start=start, stop=start + CHUNK_BYTES)
        for index, start in enumerate(range(0, max(size, 1), CHUNK_BYTES))
    ]


def open_source(path: str):
    """Opens a source file for reading bytes, decompressing by its name."""
    archive, bang, member = path.partition("!")
    if not bang:
        return FileSystems.open(path)
    raw = FileSystems.open(archive, compression_type=CompressionTypes.UNCOMPRESSED)
    return zipfile.ZipFile(raw).open(member)


def read_lines(chunk: Chunk) -> Iterator[list[bytes]]:
    """The lines that begin in a chunk, without their ends, in blocks.

    A line longer than `MAX_LINE_BYTES` comes cut to one byte more than that, so that a file without
    line ends cannot fill the memory; callers reject such lines.
    """
    lines: list[bytes] = []
    with open_source(chunk.path) as file:
        for start, line in _numbered_lines(file, chunk.start):
            if chunk.stop is not None and start >= chunk.stop:
                break
            lines.append(line[:-1] if line.endswith(b"\r") else line)
            if len(lines) == BLOCK_LINES:
                yield lines
                lines = []
    if lines:
        yield lines


def _numbered_lines(file, start: int) -> Iterator[tuple[int, bytes]]:
    """Offset and text of every line that begins at or after `start`."""
    position = start
    skips_first = start > 0
    if skips_first:
        position -= 1  # a line begins at `start` only if the byte before it ends one
        file.seek(position)
    rest, rest_length = b"", 0
    while data := file.read(_READ_BYTES):
        *complete, rest_of_data = data.split(b"\n")
        for line in complete:
            length = rest_length + len(line)
            if skips_first:
                skips_first = False
            else:
                yield position, (rest + line)[: MAX_LINE_BYTES + 1]
            position += length + 1
            rest, rest_length = b"", 0
        rest_length += len(rest_of_data)
        rest = (rest + rest_of_data)[: MAX_LINE_BYTES + 1]
    if rest_length and not skips_first:
        yield position, rest
