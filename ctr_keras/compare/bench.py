"""Several models with several seeds on the same data: trained, and compared."""

import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from ctr_keras.models import MODELS, model_arguments
from ctr_keras.settings import Count, all_of, check_settings, did_you_mean, spelled
from ctr_keras.training import TREES, TrainConfig, TreesConfig, read_config, train

_ON_TREES = ("GBDTLR", "GBDTFFM")  # models that take the trees of LightGBM with the same seed
Config = TrainConfig | TreesConfig


@dataclasses.dataclass(frozen=True)
class Bench:
    """What to train.

    Args:
        data: str. The folder that `ctr-keras prepare` wrote.
        models: list of str. Names in `ctr_keras.models.MODELS`, and `"LightGBM"`.
        out: str. The folder of the runs, `MODEL/seed-N` below it.
        seeds: int. Runs of each model, with seeds from 0 on. Defaults to `5`.
        overrides: list of str. `key=value` for all models that have such a setting or argument,
            `MODEL.key=value` for one. Defaults to `()`.

    Raises:
        ValueError: for an unknown model, or a setting that none of the models has, before anything
            is trained.

    Example:

    >>> bench = Bench("data", ["LR", "DeepFM"], "out", seeds=1, overrides=["DeepFM.dim=8"])
    >>> [(config.model, config.model_args) for config in bench.configs()]
    [('LR', {}), ('DeepFM', {'dim': 8})]
    """

    data: str
    models: Sequence[str]
    out: str
    seeds: Count = 5
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        known = [*MODELS, TREES]
        names = all_of(partial(spelled, "model", name, known) for name in self.models)
        object.__setattr__(self, "models", names)
        repeated = [name for n, name in enumerate(self.models) if name in self.models[:n]]
        if repeated or not self.models:
            raise ValueError(f"{repeated[0]} is given twice" if repeated else "there is no model")
        overrides = [self._with_name(override) for override in self.overrides]
        object.__setattr__(self, "overrides", overrides)
        for override in overrides:
            self._check_used(override)
        self.configs()

    def configs(self) -> list[Config]:
        """The settings of all runs, in the order in which they are trained.

        The first seed of all models comes first; LightGBM before the models on its trees.
        """
        return [self._config(name, seed) for seed in range(self.seeds) for name in self._names()]

    def compared(self, config: Config) -> bool:
        """Whether a run is one of those asked for, not one whose trees another needs."""
        return config.model in self.models

    def _names(self) -> list[str]:
        needs_trees = any(name in _ON_TREES for name in self.models)
        names = [TREES] if needs_trees or TREES in self.models else []
        return [*names, *(name for name in self.models if name != TREES)]

    def _config(self, model: str, seed: int) -> Config:
        given: dict[str, Any] = {"data": self.data, "model": model, "seed": seed}
        given["out"] = self._folder(model, seed)
        if model in _ON_TREES:
            given["trees"] = self._folder(TREES, seed)
        return read_config(None, self._overrides_of(model), **given)

    def _folder(self, model: str, seed: int) -> str:
        return os.path.join(self.out, model, f"seed-{seed}")

    def _overrides_of(self, model: str) -> list[str]:
        found = []
        for override in self.overrides:
            of, key = _split(override)
            if of == model or (of is None and key in _settings_of(model)):
                found.append(override.removeprefix(f"{model}."))
        return found

    def _with_name(self, override: str) -> str:
        """The same with the model's name as it is known, where it is for one."""
        of, _ = _split(override)
        if of is None:
            return override
        try:
            return spelled("model", of, self._names()) + override.removeprefix(of)
        except ValueError:
            raise ValueError(
                f"--set {override}: {of} is not trained{did_you_mean(of, self.models)}"
            ) from None

    def _check_used(self, override: str) -> None:
        of, key = _split(override)
        known = dict.fromkeys(k for name in self._names() for k in _settings_of(name))
        if of is None and key not in known:
            raise ValueError(
                f"--set {override}: no model here has a setting {key!r}{did_you_mean(key, known)}"
            )
        if key in ("data", "model", "out", "seed"):
            raise ValueError(f"--set {override}: {key} is an option of its own")


def _split(override: str) -> tuple[str | None, str]:
    """The model that `MODEL.key=value` is for, if any, and the key."""
    left = override.partition("=")[0]
    model, dot, key = left.partition(".")
    return (model, key) if dot else (None, left)


def _settings_of(model: str) -> set[str]:
    if model == TREES:
        return {field.name for field in dataclasses.fields(TreesConfig)}
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    return names | {"preset"} | set(model_arguments(model))


def run_bench(bench: Bench, tell: Callable[[str], object]) -> tuple[list[str], dict[str, str]]:
    """Trains what is not trained yet; a run that fails does not stop the others.

    The same call again goes on where it was: finished runs stay, interrupted and failed ones go on.

    Args:
        bench: Bench.
        tell: function that is given a line about each run.

    Returns:
        The folders of the finished runs that were asked for, and the reasons of those that failed
        by their folder.
    """
    finished, failed = [], {}
    configs = bench.configs()
    for number, config in enumerate(configs, start=1):
        try:
            report = train(config)
        except Exception as error:  # whatever it is, it is this run's
            failed[config.out] = " ".join(f"{type(error).__name__}: {error}".split())
            if not isinstance(error, ValueError | OSError):  # which say all in a line
                traceback.print_exc(file=sys.stderr)
            tell(f"[{number}/{len(configs)}] {config.out} failed: {failed[config.out]}")
        else:
            validation = report["validation"]
            tell(
                f"[{number}/{len(configs)}] {config.out}: validation AUC {validation['auc']:.4f}, "
                f"log loss {validation['log_loss']:.4f}"
            )
            if bench.compared(config):
                finished.append(config.out)
        keras.backend.clear_session()
    return finished, failed
