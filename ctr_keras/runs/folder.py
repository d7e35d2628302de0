"""The files of a run's folder: written as a whole or not at all."""

import contextlib
import csv
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, TextIO, TypeAlias

import keras
import yaml

from ctr_keras.mirrors import local_copy
from ctr_keras.partitions import rows_digest
from ctr_keras.settings import write_yaml
from ctr_keras.types import Settings

Row: TypeAlias = dict[str, Any]  # of a history, by column

_LEFT_BY_ROUNDS = ("checkpoints", "history.csv", "metrics.json", "plan.json")
_LEFT_EARLY = ("config.yaml.partial", "features.json")  # by what was killed as it began
_LOCK = "run.lock"
_LEFT_BY_PROCESSES = (_LOCK, "lock", "log.txt")  # the last two by a study around the run
_TOLD_BY = {"space": "study", "method": "search", "model": "run"}  # by a key of `config.yaml`
_PACKAGES = ("ctr-keras", "keras", "numpy", "tensorflow")


def write_whole(path: str, write: Callable[[TextIO], object]) -> None:
    """Writes a file of text as a whole or not at all."""
    with open(f"{path}.partial", "w", encoding="utf-8", newline="") as file:
        write(file)
    os.replace(f"{path}.partial", path)


def write_table(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows, at least one, as CSV, below the keys of the first one."""

    def write(file: TextIO) -> None:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)

    write_whole(path, write)


def write_settings(path: str, settings: Settings, prepared: str | None = None) -> None:
    """Writes a run's settings as YAML, with the versions of what it runs on, and of its data."""
    backend = keras.backend.backend()
    versions = {"backend": backend}
    if prepared is not None:
        versions["data"] = rows_digest(local_copy(prepared))
    for package in sorted({*_PACKAGES, backend}):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # Keras on JAX needs no TensorFlow
            continue
    document = {**settings, "versions": versions}
    write_whole(path, lambda file: write_yaml(document, file))


@contextlib.contextmanager
def kept_for(kind: str, out: str) -> Iterator[None]:
    """Keeps a folder, which is made where it is not there, for one process as long as it works.

    What fails or is stopped before its first round leaves nothing there.

    Args:
        kind: str. `"run"` or `"search"`: what the folder holds, or is to hold.
        out: str.

    Raises:
        ValueError: if the folder holds something else, or another process works in it.
    """
    is_new = not os.path.exists(out)
    os.makedirs(out, exist_ok=True)
    _check_holds(kind, out)
    path = os.path.join(out, _LOCK)
    with open(path, "w") as lock:  # its end releases it, that of a killed process too
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.fstat(lock.fileno()).st_nlink > 0  # or who held it has just removed it
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise ValueError(f"another process works in {out}: choose another folder")
        try:
            yield
        finally:
            _leave(out, is_new)


def _leave(out: str, is_new: bool) -> None:
    """Removes the lock, and before it what a run has left that has not begun."""
    early = () if has_begun(out) else (*_LEFT_EARLY, "config.yaml")
    for name in (*early, _LOCK):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(out, name))
    if is_new and not os.listdir(out):
        os.rmdir(out)


def _check_holds(kind: str, out: str) -> None:
    """Checks that a folder holds nothing yet, or what it is to hold."""
    names = {*os.listdir(out)}.difference(_LEFT_EARLY, _LEFT_BY_PROCESSES)
    found = held(out)
    if found is None and names:
        raise ValueError(f"{out} is not empty and holds no {kind}: choose another folder")
    if found not in (None, kind):
        raise ValueError(f"{out} holds a {found}: choose another folder")


def held(out: str) -> str | None:
    """Whether a folder holds a run, a search or a study, as its settings tell."""
    try:
        with open(os.path.join(out, "config.yaml"), encoding="utf-8") as file:
            settings = yaml.safe_load(file)
    except (FileNotFoundError, ValueError, yaml.YAMLError):  # or it is no text
        return None
    told = settings if isinstance(settings, Mapping) else {}
    return next((kind for key, kind in _TOLD_BY.items() if key in told), None)


def has_begun(out: str) -> bool:
    """Whether a folder holds more than the settings of a run that failed before its first round."""
    return any(os.path.exists(os.path.join(out, name)) for name in _LEFT_BY_ROUNDS)


def check_same_data(out: str, prepared: str) -> None:
    """Checks that data have the rows and splits that they had when a run began.

    Raises:
        ValueError: if they were prepared anew since, with other ones: rows that the run is
            measured on may be among those that it has learned from.
    """
    with open(os.path.join(out, "config.yaml"), encoding="utf-8") as file:
        before = yaml.safe_load(file).get("versions", {}).get("data")
    if before is not None and before != rows_digest(prepared):  # None: of an earlier version
        raise ValueError(
            f"{prepared} was prepared anew, with other rows or splits, since {out} began: choose "
            "another folder for another run; to look at this one with these data, name them by "
            "--data"
        )


def check_same_settings(
    out: str, earlier: Settings, settings: Settings, hints: Mapping[str, str] = {}
) -> None:
    """Checks that a folder holds a run with these settings, on the same data.

    Args:
        out: str. The folder.
        earlier: dict. Its run's settings.
        settings: dict. Those that it should have.
        hints: dict. What else to do where a setting differs. Defaults to `{}`.

    Raises:
        ValueError: naming the first setting that differs, or the data.
    """
    for key in sorted(settings):
        if earlier.get(key) != settings[key]:
            raise ValueError(
                f"{out} holds a run with {key}={earlier.get(key)!r}, not {settings[key]!r}; choose "
                f"another folder for another run{hints.get(key, '')}"
            )
    check_same_data(out, local_copy(settings["data"]))
