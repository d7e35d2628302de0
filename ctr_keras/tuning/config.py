"""What decides a study of trials."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import NonNegativeInt

from ctr_keras.data.records import row_count
from ctr_keras.features import FeatureSet
from ctr_keras.models import model_arguments
from ctr_keras.presets import find_preset
from ctr_keras.settings import Count, Source, checked, plain
from ctr_keras.training import TREES, TrainConfig, TreesConfig, read_config
from ctr_keras.training.defaults import auto_numbers, auto_penalty
from ctr_keras.training.pace import pace_of
from ctr_keras.tuning.spaces import Choice, Space, check_values, model_space, read_space

Pruner: TypeAlias = Literal["median", "halving", "none"]
_TRAINING = dataclasses.fields(TrainConfig)


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """Settings of a study: what all trials share, and what is searched.

    Args:
        base: TrainConfig. What is the same in all trials; its `out` is the study's folder, its
            `seed` that of the trials and of what they try.
        space: dict. What is tried of each setting of training or argument of the model: a
            `Choice` or a `Range`.
        trials: int. How many, those of all workers and those that failed together. Defaults to
            `30`.
        seeds: int. With how many other seeds to train the best trials and the defaults again.
            Defaults to `3`.
        finalists: int. How many of the best trials these are: one evaluation flatters the best of
            many, so that it is chosen by the mean over the other seeds. Defaults to `3`.
        space_file: str. The YAML file that the space was read from, if any, which messages name.
            Defaults to `""`.
        pruner: str. Which trials to stop early, by the monitored metric of the validation split
            after each round: `"median"`, from the fifth round on those worse than the median of
            earlier trials at that round, once five have ended; `"halving"`, all but the best third
            at rounds 1, 3, 9, ...; `"none"`. Defaults to `"median"`.

    Raises:
        ValueError: for an empty space, a value of the wrong type, and one that is searched but does
            not go with what is fixed.

    Example:

    >>> config = TuneConfig.read(overrides=["dim=8"], data="d", model="DeepFM", out="study")
    >>> config.base.model_args, "dim" in config.space
    ({'dim': 8}, False)
    """

    base: TrainConfig
    space: Space
    trials: Count = 30
    seeds: NonNegativeInt = 3
    pruner: Pruner = "median"
    finalists: Count = 3
    space_file: str = ""

    def __post_init__(self) -> None:
        checked("trials", self.trials, Count)
        checked("seeds", self.seeds, NonNegativeInt)
        checked("pruner", self.pruner, Pruner)
        checked("finalists", self.finalists, Count)
        source = self.source
        with source.located():
            if not self.space:
                raise ValueError("there is nothing to search: all settings are fixed")
        check_values(self.space, lambda settings: self.run_config(settings, seed=0), source)

    @classmethod
    def read(
        cls,
        path: str | None = None,
        overrides: Iterable[str] = (),
        space: str | None = None,
        *,
        trials: int = 30,
        seeds: int = 3,
        pruner: Pruner = "median",
        finalists: int = 3,
        **given: Any,
    ) -> "TuneConfig":
        """A study of the space that comes with a model, or that of a file.

        What is given in any way is fixed: it is not searched.

        Args:
            path, overrides, **given: as in `TrainConfig.read`.
            space: str or None. A YAML file, see `read_space`. Defaults to `None`: the model's own.
            trials, seeds, pruner, finalists: as in the class.

        Raises:
            ValueError: as `TrainConfig.read` and `read_space`.
        """
        overrides = tuple(overrides)
        source = Source.read(path, overrides, given)
        base = read_config(path, overrides, **given)
        if isinstance(base, TreesConfig):
            with source.located("model"):
                raise ValueError(
                    f"tune is for the networks of ctr_keras.models; give the settings of {TREES} "
                    f"to train: ctr-keras train --model {TREES} --set num_leaves=63"
                )
        source = source.with_preset(lambda name: find_preset(base.model, name))
        fixed = {*source.values, *source.values.get("model_args", {})}
        searched = read_space(space, base.model) if space else model_space(base.model)
        searched = {name: of for name, of in searched.items() if name not in fixed}
        return cls(base, searched, trials, seeds, pruner, finalists, space or "")

    @property
    def source(self) -> Source:
        """Where the space was written."""
        return Source.read(self.space_file or None)

    @property
    def minimizes(self) -> bool:
        """Whether less of the monitored metric is better."""
        return self.base.monitor == "log_loss"

    def defaults(self) -> dict[str, Any]:
        """What Optuna would draw for the settings of a run without a search, or next to them."""
        values = {**model_arguments(self.base.model), **self.base.model_args}
        values |= {field.name: getattr(self.base, field.name) for field in _TRAINING}
        values["table_decay"] = self.base.decay_of_tables
        if "numeric_embedding" in self.space:
            features = FeatureSet.load(os.path.join(self.base.data, "features.json"))
            values |= auto_numbers(self.base.model, features, self.base.model_args)
        if not {"batch_size", "evaluations_per_epoch", "net_l2"}.isdisjoint(self.space):
            rows = row_count(self.base.data, "train")
            pace = pace_of(self.base, rows)
            values |= {**auto_penalty(self.base.model, rows), **self.base.model_args}
            values["batch_size"] = pace.batch_size
            values["evaluations_per_epoch"] = pace.evaluations_per_epoch
        return {name: of.nearest(values[name]) for name, of in self.space.items()}

    def run_config(self, settings: Mapping[str, Any], *folder: str, seed: int) -> TrainConfig:
        """A run in a folder below the study's with these of the searched settings."""
        of_training = {field.name for field in _TRAINING}
        arguments = {name: v for name, v in settings.items() if name not in of_training}
        return dataclasses.replace(
            self.base,
            **{name: v for name, v in settings.items() if name in of_training},
            model_args={**self.base.model_args, **arguments},
            out=os.path.join(self.base.out, *folder),
            seed=seed,
        )

    def without(self, values: Mapping[str, Sequence[Any]]) -> "TuneConfig":
        """The same study without some values of choices; where one is left, it is fixed."""
        space, fixed = dict(self.space), {}
        for name, of_name in values.items():
            left = [value for value in space.pop(name).extremes if value not in of_name]
            if len(left) > 1:
                space[name] = Choice(tuple(left))
            elif left:
                fixed[name] = left[0]
        base = self.run_config(fixed, seed=self.base.seed)
        return dataclasses.replace(self, base=base, space=space)

    def to_dict(self) -> dict[str, Any]:
        """What must not change when a study goes on, as YAML gives it back."""
        space = {name: plain(of) for name, of in self.space.items()}
        return {**self.base.to_dict(), "space": space, "pruner": self.pruner}
