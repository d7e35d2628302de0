"""The files of a run's folder: written as a whole or not at all."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, TextIO, TypeAlias

import keras
import yaml

from ctr_keras.types import Settings

Row: TypeAlias = dict[str, Any]  # of a history, by column

_LEFT_BY_ROUNDS = ("checkpoints", "history.csv", "metrics.json", "plan.json")
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


def write_settings(path: str, settings: Settings) -> None:
    """Writes a run's settings as YAML, with the versions of what it runs on."""
    backend = keras.backend.backend()
    versions = {"backend": backend}
    for package in sorted({*_PACKAGES, backend}):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # Keras on JAX needs no TensorFlow
            continue
    document = {**settings, "versions": versions}
    write_whole(path, lambda file: yaml.safe_dump(document, file, sort_keys=False))


def has_begun(out: str) -> bool:
    """Whether a folder holds more than the settings of a run that failed before its first round."""
    return any(os.path.exists(os.path.join(out, name)) for name in _LEFT_BY_ROUNDS)


def check_same_settings(out: str, earlier: Settings, settings: Settings) -> None:
    """Checks that a folder holds a run with these settings.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for key, value in settings.items():
        if earlier.get(key) != value:
            raise ValueError(
                f"{out} holds a run with {key}={earlier.get(key)!r}, not {value!r}; choose "
                "another folder for another run"
            )
