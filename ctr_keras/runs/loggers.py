"""Callbacks by name: TensorBoard, MLflow, Weights & Biases, and the user's own.

A run that goes on after a kill adds to what it has logged before.
"""

import importlib
import inspect
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import keras

from ctr_keras.settings import SettingError, did_you_mean
from ctr_keras.types import Settings


def check_callbacks(names: Sequence[str]) -> None:
    """Checks that names are of `CALLBACKS` or written as `module:Class`.

    Raises:
        SettingError: for the first that is not.

    Example:

    >>> check_callbacks(["tensorbord"])
    Traceback (most recent call last):
    ctr_keras.settings.SettingError: unknown callback 'tensorbord'; did you mean 'tensorboard'?
    """
    for index, name in enumerate(names):
        module, _, kind = name.partition(":")
        is_own = all(part.isidentifier() for part in (*module.split("."), kind))
        if name not in CALLBACKS and not is_own:
            hint = did_you_mean(name, [*CALLBACKS, "module:Class"])
            raise SettingError(f"unknown callback {name!r}{hint}", "callbacks", index)


def make_callbacks(
    names: Sequence[str], folder: str, settings: Settings
) -> list[keras.callbacks.Callback]:
    """The callbacks of these names.

    Args:
        names: list of str. `"tensorboard"`, `"mlflow"`, `"wandb"`, or `"module:Class"` for a class
            below `keras.callbacks.Callback` that is made without arguments.
        folder: str. The run's folder.
        settings: dict. Of the run, to be logged with it.

    Raises:
        ValueError: if a package is not installed, or a module or class is not there.
    """
    return [
        CALLBACKS[name](folder, settings) if name in CALLBACKS else _own(name) for name in names
    ]


def _own(name: str) -> keras.callbacks.Callback:
    module, _, kind = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"callback {name!r}: {error.msg}; install it, or name its folder in PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, keras.callbacks.Callback)):
        raise ValueError(f"callback {name!r}: {kind} is no class below keras.callbacks.Callback")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ValueError(f"callback {name!r}: {kind} is made without arguments: {error}") from None
    return found()


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(
            f"callback {name!r}: {name} is not installed: pip install 'ctr-keras[{name}]'"
        ) from None


def _tensorboard(folder: str, settings: Settings) -> keras.callbacks.Callback:
    del settings
    _package("tensorboard")
    return keras.callbacks.TensorBoard(os.path.join(folder, "tensorboard"), write_graph=False)


class _MLflow(keras.callbacks.Callback):
    """Logs to MLflow: to where MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say."""

    def __init__(self, folder: str, settings: Settings) -> None:
        super().__init__()
        self._mlflow = _package("mlflow")
        self._folder = folder
        self._settings = settings

    def on_train_begin(self, logs: Any = None) -> None:
        path = os.path.join(self._folder, "mlflow_run_id")
        self._run_id = _read(path)
        if self._run_id is None:
            name = os.path.basename(os.path.abspath(self._folder))
            with self._mlflow.start_run(run_name=name, nested=True) as run:
                self._mlflow.log_params(dict(self._settings))
            self._run_id = run.info.run_id
            _write(path, self._run_id)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self._mlflow.start_run(run_id=self._run_id, nested=True):
            self._mlflow.log_metrics(dict(logs), step=epoch + 1)


class _WandB(keras.callbacks.Callback):
    """Logs to Weights & Biases: to where WANDB_PROJECT and WANDB_MODE say."""

    def __init__(self, folder: str, settings: Settings) -> None:
        super().__init__()
        self._wandb = _package("wandb")
        self._folder = folder
        self._settings = settings

    def on_train_begin(self, logs: Any = None) -> None:
        path = os.path.join(self._folder, "wandb_run_id")
        run_id = _read(path)
        if run_id is None:
            run_id = uuid.uuid4().hex[:8]
            _write(path, run_id)
        name = os.path.basename(os.path.abspath(self._folder))
        self._run = self._wandb.init(
            id=run_id, resume="allow", name=name, dir=self._folder, config=dict(self._settings)
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._run.log(dict(logs), step=epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        self._run.finish()


def _read(path: str) -> str | None:
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


CALLBACKS: dict[str, Callable[[str, Settings], keras.callbacks.Callback]] = {
    "mlflow": _MLflow,
    "tensorboard": _tensorboard,
    "wandb": _WandB,
}
