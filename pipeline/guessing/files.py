"""Some bytes of some files: from all over a source, however large it is."""

import bz2
import fnmatch
import gzip
import io
import lzma
import os
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

MAX_FILES = 16  # that are looked into
_SAMPLE_BYTES = 16 * 2**20  # of all files together, decompressed
_PLACES = 4  # in a file from which bytes are taken
_READ_THROUGH = 4  # times as much is decompressed as is kept
_COMPRESSIONS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file: pa.CompressedInputStream(file, "zstd"),
}


class Files:
    """The files of a source.

    Args:
        source: str. A file, a folder with all below it, or a pattern; local, or a URI that Arrow
            opens (`gs://`, `s3://`, `hdfs://`).

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for an archive.
    """

    def __init__(self, source: str):
        self.source = source
        self._system, path = _file_system(source)
        whole = self._system.get_file_info(path)
        if whole.type == fs.FileType.Directory:
            self.root, found = path, self._below(path)
        elif whole.type == fs.FileType.File:
            self.root, found = os.path.dirname(path), [whole]
        else:
            self.root = _folder_before_pattern(path)
            found = [info for info in self._below(self.root) if fnmatch.fnmatch(info.path, path)]
        self.sizes = {info.path: info.size for info in found if info.size}
        if not self.sizes:
            raise FileNotFoundError(f"there is no file with data at {source!r}")
        self.paths = sorted(self.sizes)
        for path in self.paths:
            if path.endswith((".zip", ".tar", ".tgz", ".tar.gz")):
                raise ValueError(f"{path} is an archive: unpack it, and name the file inside")

    def _below(self, folder: str) -> list[fs.FileInfo]:
        """All files below a folder but those that mean no data, such as `_SUCCESS`."""
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        found = self._system.get_file_info(selector)
        return [
            info
            for info in found
            if info.type == fs.FileType.File
            and not info.path.endswith(".crc")
            and not any(part.startswith(("_", ".")) for part in _parts(info.path, folder))
        ]

    def names(self, paths: Sequence[str]) -> list[str]:
        """Paths as seen from the source's folder."""
        return ["/".join(_parts(path, self.root)) for path in paths]

    def open(self, path: str) -> pa.NativeFile:
        """A file for reading at any place, as it lies there."""
        return self._system.open_input_file(path)

    def pieces(self, path: str, files: int) -> list[bytes]:
        """Whole lines from several places of a file: its share if so many files are read."""
        budget = max(_SAMPLE_BYTES // files, 2**18)
        opened = _COMPRESSIONS.get(os.path.splitext(path)[1])
        with self.open(path) as raw:
            if opened is None:
                return _pieces(raw, self.sizes[path], budget)
            try:
                # How long it is, only its end says: what is far into it is left alone.
                data = opened(raw).read(budget * _READ_THROUGH)
            except (EOFError, OSError, lzma.LZMAError) as error:
                raise ValueError(f"{path} cannot be decompressed: {error}") from error
        return _pieces(io.BytesIO(data), len(data), budget)


def _pieces(file: IO[bytes], file_bytes: int, budget: int) -> list[bytes]:
    if file_bytes <= budget:
        return [file.read()]
    size = budget // _PLACES
    pieces = []
    for place in np.linspace(0, file_bytes - size, _PLACES).astype(int).tolist():
        file.seek(place)
        data = file.read(size)
        first = data.find(b"\n") + 1 if place else 0
        pieces.append(data[first : data.rfind(b"\n") + 1] or data)  # one line may be longer
    return pieces


def some_of(paths: Sequence[str]) -> list[str]:
    """At most `MAX_FILES` of them, the first and the last among them."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_FILES)).astype(int)
    return [paths[place] for place in places]


def _file_system(source: str) -> tuple[fs.FileSystem, str]:
    if "://" not in source:
        return fs.LocalFileSystem(), os.path.abspath(source)
    try:
        return fs.FileSystem.from_uri(source)  # type: ignore[no-any-return]
    except pa.ArrowException as error:
        raise ValueError(f"{source}: {error}") from error


def _folder_before_pattern(path: str) -> str:
    parts = path.split("/")
    plain = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts) - 1)
    return "/".join(parts[:plain])


def _parts(path: str, folder: str) -> list[str]:
    return path[len(folder) :].strip("/").split("/")
