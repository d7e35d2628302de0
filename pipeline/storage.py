"""Folders that are there whole or not at all, on local disk and object stores."""

import json
from typing import Any

from apache_beam.io.filesystems import FileSystems


class Output:
    """A folder that is written as `partial` and renamed when it is whole, or to `failed`."""

    def __init__(self, path: str):
        # With a slash at its end, object stores take a path for a folder, too.
        self.path, self.partial, self.failed = (
            f"{path.rstrip('/')}{suffix}/" for suffix in ("", ".partial", ".failed")
        )

    def begin(self, *subfolders: str) -> None:
        """Clears away what earlier runs have left and makes subfolders of `partial`."""
        for leftover in (self.partial, self.failed):
            if exists(leftover):
                delete(leftover)
        for folder in subfolders:
            FileSystems.mkdirs(FileSystems.join(self.partial, folder))

    def publish(self) -> None:
        """Gives the folder its name."""
        FileSystems.rename([self.partial], [self.path])

    def fail(self) -> None:
        """Leaves the folder as `failed`."""
        FileSystems.rename([self.partial], [self.failed])


def exists(folder: str) -> bool:
    """Whether there is something under the name of a folder, which ends with a slash."""
    return any(match.metadata_list for match in FileSystems.match([folder, f"{folder}*"]))


def delete(folder: str) -> None:
    """Deletes such a folder and all in it."""
    is_local = FileSystems.get_scheme(folder) is None
    FileSystems.delete([folder.rstrip("/") if is_local else folder])


def read_json(path: str) -> Any:
    """The value in a JSON file."""
    with FileSystems.open(path) as file:
        return json.loads(file.read())


def write_json(value: Any, path: str) -> None:
    """Writes a value as a JSON file."""
    with FileSystems.create(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
