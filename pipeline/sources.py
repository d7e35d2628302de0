"""Source files: found, opened, decompressed to their end, and the chunks that workers read.

A path may be anything that `ctr_keras.files` opens (local, `gs://`, ...), may end in `.gz`, `.bz2`,
`.xz` or `.zst`, and may name a member of a zip archive as `archive.zip!member`.
"""

import contextlib
import dataclasses
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from ctr_keras import files

_ARROW_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_COMPRESSED = (*_ARROW_CODECS, ".xz")
_READ_BYTES = 2**20
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # how Hive and Spark write a missing value


class SourceError(ValueError):
    """A source file that cannot be read as declared. The message is one line that names it."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A part of a source file, by default all of it."""

    path: str
    file: int  # its number among the source's files
    split: str | None  # that the file belongs to; None if its rows are split one by one
    index: int = 0  # of the chunk in its file
    start: int = 0  # in bytes, or row groups in a Parquet file
    stop: int | None = None  # None is the end
    names: tuple[str, ...] = ()  # of the file's columns, in order; read from it if there are none


class SourceFile(NamedTuple):
    """A file of a source. Of a member of an archive only the path is known."""

    path: str
    size: int = 0  # in bytes
    split: str | None = None  # that it belongs to; None if its rows are split one by one
    modified: int = 0  # nanoseconds since 1970


def find_files(source: str, pattern: str = "", split: str | None = None) -> list[SourceFile]:
    """The files that match a pattern below `source`, sorted; without one, of
    the source itself. What matches may be folders: then all files in them, at any depth.

    Names that begin with `_` or `.`, as those of `_SUCCESS` and checksums do, are passed over
    unless they are written out.
    """
    full = f"{source.rstrip('/')}/{pattern}" if pattern else source
    if ".zip!" in full:
        return [SourceFile(full, split=split)]
    matched = files.find(full) or files.find(f"{full.rstrip('/')}/**")
    found = [
        SourceFile(file.path, file.size, split, file.modified)
        for file in matched
        if not _is_hidden(file.path, full)
    ]
    if not found:
        hidden = " (names that begin with _ or . are passed over)" if matched else ""
        raise FileNotFoundError(f"no file matches {full!r}{hidden}")
    return sorted(found)


def _is_hidden(path: str, pattern: str) -> bool:
    written, *wild = re.split(r"[*?\[]", pattern)
    folder = os.path.dirname(written) if wild else written
    return any(part.startswith(("_", ".")) for part in path.removeprefix(folder).split("/"))


def name_below(source: str, path: str) -> str:
    """A file's path as seen from its source: the same wherever the source lies.

    Example:

    >>> name_below("/logs", "/logs/day-1.csv"), name_below("/logs/*.csv", "/logs/day-1.csv")
    ('day-1.csv', '../day-1.csv')
    """
    return os.path.relpath(path, source)


def partition_columns(path: str) -> dict[str, str]:
    """The columns that the folders of a path name, as Hive and Spark write partitions.

    Example:

    >>> partition_columns("/logs/day=2024-01-31/country=C%C3%B4te/part-0.parquet")
    {'day': '2024-01-31', 'country': 'Côte'}
    """
    parts = (folder.partition("=") for folder in path.split("/")[:-1])
    columns = {unquote(name): unquote(value) for name, equals, value in parts if name and equals}
    return {name: "" if value == _NO_PARTITION else value for name, value in columns.items()}


def member_path(source: str, name: str) -> str:
    """The path of a file in a folder or zip archive, at any depth in the archive."""
    if not source.endswith(".zip"):
        return f"{source.rstrip('/')}/{name}"
    with open_source(source) as file:
        for member in zipfile.ZipFile(file).namelist():
            if member.rpartition("/")[2] == name:
                return f"{source}!{member}"
    raise FileNotFoundError(f"{source} has no member {name}")


def is_compressed(path: str) -> bool:
    """Whether a file can only be read from its beginning."""
    return ".zip!" in path or path.endswith(_COMPRESSED)


def one_line(text: str) -> str:
    """A text for a message, with what would break its line, or do more to a terminal, spelled out.

    Example:

    >>> one_line("don't know what type: \\x0f\\n")
    "don't know what type: \\\\x0f"
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text.strip())


@contextlib.contextmanager
def open_source(path: str) -> Iterator[IO[bytes]]:
    """Opens a source file for reading bytes, decompressing by its name.

    Raises:
        SourceError: whenever reading fails inside the `with` block; also if a compressed file ends
            too early or is damaged.
    """
    archive, zipped, member = path.partition(".zip!")
    try:
        with files.open_input(archive + zipped.rstrip("!")) as file:
            if member:
                with zipfile.ZipFile(file) as members, members.open(member) as unzipped:
                    yield unzipped
            else:
                yield _decompressed(file, os.path.splitext(path)[1])
    except FileNotFoundError as error:
        raise SourceError(f"{path} is not there") from error
    except KeyError as error:
        raise SourceError(f"{path} is not there: the archive has no such member") from error
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        reason = one_line(getattr(error, "strerror", None) or str(error))
        what = "is cut off, damaged or not compressed" if is_compressed(path) else "cannot be read"
        raise SourceError(f"{path} {what}: {reason}") from error


def _decompressed(file: IO[bytes], ending: str) -> IO[bytes]:
    if ending not in _COMPRESSED:
        return file
    if not file.read(1):
        raise EOFError("it is empty")
    file.seek(0)
    if ending in _ARROW_CODECS:
        stream: IO[bytes] = pa.CompressedInputStream(file, _ARROW_CODECS[ending])
        return stream
    return io.BufferedReader(_Xz(file))


class _Xz(io.RawIOBase):
    """The streams of an xz file, one after the other. `lzma.LZMAFile` would pass over a damaged
    one and all that follow it."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._stream = lzma.LZMADecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data:
            given = b""
            if self._stream.eof:
                given = self._stream.unused_data or self._file.read(_READ_BYTES)
                if not given.strip(b"\0"):  # the end, or padding
                    return 0
                self._stream = lzma.LZMADecompressor()
            elif self._stream.needs_input:
                given = self._file.read(_READ_BYTES)
                if not given:
                    raise EOFError("the last stream has no end")
            data = self._stream.decompress(given, len(buffer))
        buffer[: len(data)] = data
        return len(data)
