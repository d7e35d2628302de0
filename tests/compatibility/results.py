"""What came of combinations, in a folder: a file for each, which holds the message or nothing."""

import pathlib

from tests.compatibility.axes import Combination


def keep(combination: Combination, message: str, folder: pathlib.Path) -> None:
    """Keeps the message that refused a combination, or `""` for one that works."""
    _file(combination, folder).write_text(message)


def kept(combination: Combination, folder: pathlib.Path) -> str | None:
    """What was kept, if anything."""
    file = _file(combination, folder)
    return file.read_text() if file.exists() else None


def _file(combination: Combination, folder: pathlib.Path) -> pathlib.Path:
    return folder / f"{combination.backend}-{combination}.txt"
