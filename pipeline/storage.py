"""Folders that are there whole or not at all, on local disk and object stores."""

import json
from typing import Any

from apache_beam.io.filesystems import FileSystems


def _exists(folder: str) -> bool:
    return any(match.metadata_list for match in FileSystems.match([folder, f"{folder}*"]))


def _delete(folder: str) -> None:
    is_local = FileSystems.get_scheme(folder) is None
    FileSystems.delete([folder.rstrip("/") if is_local else folder])


def _read_json(path: str) -> Any:
    with FileSystems.open(path) as file:
        return json.loads(file.read())


def _write_json(path: str, value: Any) -> None:
    with FileSystems.create(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
