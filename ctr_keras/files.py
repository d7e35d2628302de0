"""Files and folders by path or address: on the local disk, or on what Arrow's file systems reach:
`gs://bucket/...`, `s3://`, `abfs://` (Azure), `hdfs://`.

An object store has no folders, and moves them file by file: what is to be there whole or not at all
has a file that is written last. The variable `STORAGE_EMULATOR_HOST`, which Google's own libraries
know, names a server to take for Google's.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import glob
import json
import os
import re
import shutil
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyarrow import fs as arrow

_COPIED_BYTES = 8 * 2**20  # at once
_RETRY_SECONDS = 30  # how long Google's store is asked again; Arrow would wait 15 minutes
_REGEX = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}  # of what stands in patterns
_GLOB = re.compile(rf"({'|'.join(map(re.escape, _REGEX))})")


class File(NamedTuple):
    """A file that is there."""

    path: str
    size: int  # in bytes
    modified: int  # nanoseconds since 1970


def is_remote(path: str) -> bool:
    """Whether a path is an address on another file system."""
    return "://" in path


def open_input(path: str) -> IO[bytes]:
    """Opens a file for reading bytes at any place of it."""
    if not is_remote(path):
        return open(path, "rb")
    system, inner = _remote(path)
    file: IO[bytes] = system.open_input_file(inner)
    return file


def open_output(path: str) -> IO[bytes]:
    """Opens a file for writing bytes, in a folder that is made where it is not there."""
    if not is_remote(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return open(path, "wb")
    system, inner = _remote(path)
    file: IO[bytes] = system.open_output_stream(inner, compression=None)
    return file


def read_json(path: str) -> Any:
    """The value in a JSON file."""
    with open_input(path) as file:
        return json.loads(file.read())


def write_json(value: Any, path: str) -> None:
    """Writes a value as a JSON file."""
    with open_output(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def find(pattern: str) -> list[File]:
    """The files that match a pattern, or the one of that very path, in the order of their paths.

    `*` and `?` stand for parts of a name, `**` for any folders.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("a.csv", "b.csv", "c.txt"):
    ...     write_json(1, f"{folder}/{name}")
    >>> [os.path.basename(file.path) for file in find(f"{folder}/*.csv")]
    ['a.csv', 'b.csv']
    """
    if is_remote(pattern):
        return _find_remote(pattern)
    paths = [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True)
    return [_local(path) for path in sorted(paths) if os.path.isfile(path)]


def files_below(folder: str) -> list[File]:
    """All files in a folder and its subfolders, in the order of their paths."""
    if is_remote(folder):
        return _list_remote(folder)
    found = (os.path.join(base, name) for base, _, names in os.walk(folder) for name in names)
    return [_local(path) for path in sorted(found)]


def exists(path: str) -> bool:
    """Whether there is a file or a folder."""
    if not is_remote(path):
        return os.path.lexists(path)
    return bool(_list_remote(path))


def delete(path: str) -> None:
    """Deletes a file, or a folder and all in it, if it is there."""
    if not is_remote(path):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        return
    for file in _list_remote(path):
        system, inner = _remote(file.path)
        system.delete_file(inner)


def move(source: str, target: str, last: str = "") -> None:
    """Moves a folder; file by file where one of the two is remote, that of the name `last` last."""
    if not is_remote(source) and not is_remote(target):
        os.rename(source, target)
        return
    copy(source, target, last)
    delete(source)


def copy(source: str, target: str, last: str = "") -> None:
    """Copies a folder file by file, that of the name `last` last."""
    found = files_below(source)
    for file in sorted(found, key=lambda file: os.path.basename(file.path) == last):
        copy_file(file.path, os.path.join(target, os.path.relpath(file.path, source)))


def copy_file(source: str, target: str) -> None:
    """Copies a file into a folder that is made where it is not there."""
    with open_input(source) as read, open_output(target) as written:
        shutil.copyfileobj(read, written, _COPIED_BYTES)


def _local(path: str) -> File:
    status = os.stat(path)
    return File(path, status.st_size, status.st_mtime_ns)


def _remote(address: str) -> tuple[arrow.FileSystem, str]:
    """The file system of an address, and the path there."""
    scheme, _, rest = address.partition("://")
    host, _, inner = rest.partition("/")
    system = _system(scheme, host, os.environ.get("STORAGE_EMULATOR_HOST"))
    return system, (f"/{inner}" if scheme in ("hdfs", "viewfs") else rest).rstrip("/")


@functools.cache
def _system(scheme: str, host: str, emulator: str | None) -> arrow.FileSystem:
    from pyarrow import fs as arrow

    is_google = scheme in ("gs", "gcs")
    if is_google and emulator:
        kind, _, server = emulator.rpartition("://")
        return arrow.GcsFileSystem(
            anonymous=True,
            scheme=kind or "http",
            endpoint_override=server.rstrip("/"),
            retry_time_limit=datetime.timedelta(seconds=_RETRY_SECONDS),
        )
    options = f"?retry_limit_seconds={_RETRY_SECONDS}" if is_google else ""
    try:
        return arrow.FileSystem.from_uri(f"{scheme}://{host}{options}")[0]
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{scheme}://{host}: {error}") from None


def _list_remote(path: str) -> list[File]:
    """The file of a path, or all below it if it is a folder."""
    from pyarrow import fs as arrow

    system, inner = _remote(path)
    found = [system.get_file_info(inner)]
    if found[0].type != arrow.FileType.File:
        below = arrow.FileSelector(inner, allow_not_found=True, recursive=True)
        found = system.get_file_info(below)
    prefix = path[: len(path.rstrip("/")) - len(inner)]
    files = (info for info in found if info.type == arrow.FileType.File)
    return sorted(File(f"{prefix}{info.path}", info.size, info.mtime_ns or 0) for info in files)


def _find_remote(pattern: str) -> list[File]:
    fixed, *others = _GLOB.split(pattern)
    if not others:
        return [file for file in _list_remote(pattern) if file.path == pattern]
    folder = fixed.rpartition("/")[0]
    regex = "".join(_REGEX.get(part) or re.escape(part) for part in [fixed, *others])
    return [file for file in _list_remote(folder) if re.fullmatch(regex, file.path)]
