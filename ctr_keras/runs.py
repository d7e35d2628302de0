"""What runs of training and of searching share: whole files, checkpoints, when to compile."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import keras
import yaml

_PACKAGES = ("ctr-keras", "keras", "numpy", "tensorflow")


def write_whole(path: str, write: Callable[[Any], Any]) -> None:
    """Writes a text file as a whole or not at all.

    Args:
        path: str.
        write: function that is given the open file.
    """
    with open(f"{path}.partial", "w", encoding="utf-8", newline="") as file:
        write(file)
    os.replace(f"{path}.partial", path)


def write_table(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV, below the keys of the first one.

    Args:
        path: str.
        rows: list of dicts, at least one.
    """

    def write(file: Any) -> None:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)

    write_whole(path, write)


def write_settings(path: str, settings: dict[str, Any]) -> None:
    """Writes a run's settings as YAML, with the versions of what it runs on.

    Args:
        path: str.
        settings: dict.
    """
    backend = keras.backend.backend()
    versions = {"backend": backend}
    for package in sorted({*_PACKAGES, backend}):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # Keras on JAX needs no TensorFlow
            continue
    settings = settings | {"versions": versions}
    write_whole(path, lambda file: yaml.safe_dump(settings, file, sort_keys=False))


def check_same_settings(out: str, earlier: dict[str, Any], settings: dict[str, Any]) -> None:
    """Sees that a folder holds a run with these settings.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for key, value in settings.items():
        if earlier.get(key) != value:
            raise ValueError(
                f"{out} holds a run with {key}={earlier.get(key)!r}, not {value!r}; choose "
                "another folder for another run"
            )


def jit_setting(setting: bool | str) -> bool | str:
    """ "auto" as a step is fastest: TensorFlow's own kernels beat XLA's on a CPU.

    Args:
        setting: bool or `"auto"`.

    Returns:
        What `Model.compile` takes as `jit_compile`.
    """
    is_tensorflow_on_cpu = keras.backend.backend() == "tensorflow" and not (
        keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    )
    return False if setting == "auto" and is_tensorflow_on_cpu else setting


class Checkpoints:
    """The last checkpoint of a run: a folder named by its number.

    It holds all that the rest of the run depends on. Its renaming is the one moment that counts:
    before it, a killed run goes on from the last checkpoint, after it from this one.

    Args:
        folder: str.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def last(self) -> str | None:
        """The folder of the last checkpoint."""
        names = os.listdir(self.folder) if os.path.exists(self.folder) else []
        numbers = [int(name) for name in names if name.isdigit()]
        return os.path.join(self.folder, str(max(numbers))) if numbers else None

    def restore(self) -> tuple[keras.Model, dict[str, Any]] | None:
        """The compiled model of the last checkpoint and its state, if there is one."""
        if self.last is None:
            return None
        with open(os.path.join(self.last, "state.json"), encoding="utf-8") as file:
            state = json.load(file)
        model = keras.saving.load_model(os.path.join(self.last, "model.keras"))
        for seed, value in zip(_random_seeds(model), state.pop("random_seeds"), strict=True):
            seed.assign(value)
        return model, state

    def save(
        self,
        number: int,
        model: keras.Model,
        state: dict[str, Any],
        add_files: Callable[[str], Any] = lambda folder: None,
    ) -> None:
        """Replaces the last checkpoint.

        Args:
            number: int, larger than the last one's.
            model: keras.Model, compiled.
            state: dict for JSON.
            add_files: function that is given the unfinished folder, to add files of its own; the
                last checkpoint is still there then.
        """
        new, last = os.path.join(self.folder, "new"), self.last
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        model.save(os.path.join(new, "model.keras"))
        add_files(new)
        seeds = [keras.ops.convert_to_numpy(seed).tolist() for seed in _random_seeds(model)]
        with open(os.path.join(new, "state.json"), "w", encoding="utf-8") as file:
            json.dump({**state, "random_seeds": seeds}, file)
        os.rename(new, os.path.join(self.folder, str(number)))
        if last is not None:
            shutil.rmtree(last)

    def remove(self) -> None:
        """Removes all of it, once the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _random_seeds(model: keras.Model) -> list[Any]:
    """The states of a model's random generators, which Keras does not save with it."""
    variables = model.non_trainable_variables
    return [v for v in variables if v.path.endswith("seed_generator_state")]
