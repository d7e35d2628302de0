"""Some bytes of some files: from all over a source, however large it is."""

import io
import os
from collections.abc import Sequence
from typing import IO, TypeVar

import numpy as np

from pipeline.sources import SourceError, find_files, is_compressed, open_source

T = TypeVar("T")

MAX_FILES = 16  # that are looked into
_SAMPLE_BYTES = 16 * 2**20  # of all files together, decompressed
_PLACES = 4  # in a file from which bytes are taken
_READ_THROUGH = 4  # times as much is decompressed as is kept
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


def find_paths(source: str) -> list[str]:
    """Paths of the files of a source that have something in them.

    Raises:
        FileNotFoundError: if there is none.
        SourceError: for an archive.
    """
    paths = [file.path for file in find_files(source) if file.size or ".zip!" in file.path]
    if not paths:
        raise FileNotFoundError(f"all files at {source!r} are empty")
    for path in paths:
        if path.endswith(_ARCHIVES):
            hint = f"as --source '{path}!NAME'" if path.endswith(".zip") else "once it is unpacked"
            raise SourceError(f"{path} is an archive: name a file in it, {hint}")
    return paths


def names_below(folder: str, paths: Sequence[str]) -> list[str]:
    """Paths as they are seen from a folder."""
    return [path.removeprefix(f"{folder.rstrip('/')}/") for path in paths]


def some_of(paths: Sequence[T]) -> list[T]:
    """At most `MAX_FILES` of them, the first and the last among them."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_FILES)).astype(int)
    return [paths[place] for place in places]


def read_pieces(path: str, files: int) -> list[bytes]:
    """Whole lines from several places of a file: its share if so many files are read.

    Raises:
        SourceError: if it cannot be read.
    """
    budget = max(_SAMPLE_BYTES // files, 2**18)
    with open_source(path) as file:
        if not is_compressed(path):
            return _pieces(file, budget)
        # How long it is, only its end says: what is far into it is left alone.
        return _pieces(io.BytesIO(file.read(budget * _READ_THROUGH)), budget)


def _pieces(file: IO[bytes], budget: int) -> list[bytes]:
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
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
