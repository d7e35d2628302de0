"""Folders that are there whole or not at all, on local disk and object stores."""

import json
from typing import Any

from apache_beam.io.filesystems import FileSystems


class Output:
    """A folder that is written as `<path>.partial` and renamed when it is whole.

    Attributes:
        path: the folder. With a slash at its end, object stores take a path for a folder, too.
        partial: where to write.
        failed: where to leave what must not be published.
    """

    def __init__(self, path: str):
        self.path, self.partial, self.failed = (
            f"{path.rstrip('/')}{suffix}/" for suffix in ("", ".partial", ".failed")
        )

    def exists(self) -> bool:
        """Whether there is something under the folder's name."""
        return _exists(self.path)

    def begin(self, *subfolders: str) -> None:
        """Clears away what earlier runs have left and makes subfolders of `partial`."""
        for leftover in (self.partial, self.failed):
            if _exists(leftover):
                delete(leftover)
        for folder in subfolders:
            FileSystems.mkdirs(FileSystems.join(self.partial, folder))

    def publish(self) -> None:
        """Gives the folder its name."""
        FileSystems.rename([self.partial], [self.path])

    def fail(self) -> None:
        """Leaves the folder as `failed`."""
        FileSystems.rename([self.partial], [self.failed])


def delete(folder: str) -> None:
    """Deletes a folder whose name ends with a slash, and all in it."""
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


def _exists(folder: str) -> bool:
    return any(match.metadata_list for match in FileSystems.match([folder, f"{folder}*"]))
