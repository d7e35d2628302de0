"""The folder of a run: new, or that of the same run before it was interrupted or after its end."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from ctr_keras.features import FeatureSet
from ctr_keras.presets import default_settings
from ctr_keras.runs import check_same_settings, has_begun, kept_for, write_settings, write_whole
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import check_same_features
from ctr_keras.training.trees_config import TreesConfig, read_config
from ctr_keras.types import Settings

_LENGTH = ("epochs", "patience")  # what a run that has not ended may be given anew


@contextlib.contextmanager
def open_run(
    config: TrainConfig | TreesConfig, features: FeatureSet
) -> Iterator[dict[str, Any] | None]:
    """Writes what the run needs to be repeated, or checks that it is the same run.

    A run that failed before its first round is none: its settings are replaced. One that has not
    ended may be given other `epochs` and another `patience`. Until the end of the context no other
    process trains in the folder.

    Returns:
        A context with what `finish_run` was given, None for a run that has not ended.

    Raises:
        ValueError: naming the first setting that differs, or the data if they do; if the folder
            holds anything but a run, or another process trains in it.
    """
    files = (_settings_path(config.out), _report_path(config.out))
    is_finished = all(map(os.path.exists, files))  # and only read, by any number of processes
    with contextlib.nullcontext() if is_finished else kept_for("run", config.out):
        yield _begun(config, features)


def _begun(config: TrainConfig | TreesConfig, features: FeatureSet) -> dict[str, Any] | None:
    path = _settings_path(config.out)
    if os.path.exists(path) and has_begun(config.out):
        report = read_report(config.out)
        _check_goes_on(config, report is not None)
        check_same_features(FeatureSet.load(os.path.join(config.out, "features.json")), config.data)
        if report is not None:
            return report
    else:
        features.save(os.path.join(config.out, "features.json"))
    write_settings(path, config.to_dict(), config.data)
    return None


def _check_goes_on(config: TrainConfig | TreesConfig, has_ended: bool) -> None:
    """Checks that a run in the folder is the one that the settings describe."""
    out, settings = config.out, config.to_dict()
    earlier = read_config(_settings_path(out), out=out).to_dict()
    lasting = {k: settings[k] for k in settings.keys() - _LENGTH}
    check_same_settings(out, earlier, lasting, _hints_of_default(config.model, settings))
    changed = [name for name in _LENGTH if settings.get(name) != earlier.get(name)]
    if changed and has_ended:
        raise ValueError(
            f"{out} holds a run that has ended with {changed[0]}={earlier[changed[0]]}: train on "
            f"into another folder, with --set start_from={out}"
        )
    if "epochs" in changed and settings["schedule"] == "cosine":
        raise ValueError(
            f"{out} holds a run whose schedule=cosine falls over epochs={earlier['epochs']}, not "
            f"{settings['epochs']}; choose another folder for another run"
        )


def _hints_of_default(model: str, settings: Settings) -> dict[str, str]:
    """For a run of a time at which the model had no settings of its own by default."""
    own = default_settings(model, settings)
    hint = f", or --set preset=null for a run without what {model} has by default"
    return dict.fromkeys(("model_args", *own), hint) if own else {}


def finish_run(out: str, report: dict[str, Any]) -> None:
    """Writes what a run reports, which makes it a finished one."""
    write_whole(_report_path(out), lambda file: json.dump(report, file, indent=2))


def read_report(out: str) -> dict[str, Any] | None:
    """What a finished run has reported; None of any other folder."""
    if not os.path.exists(_report_path(out)):
        return None
    with open(_report_path(out), encoding="utf-8") as file:
        return dict(json.load(file))


def _settings_path(out: str) -> str:
    return os.path.join(out, "config.yaml")


def _report_path(out: str) -> str:
    return os.path.join(out, "metrics.json")
