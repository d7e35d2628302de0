"""Search spaces: which settings of training and arguments of models are tried, and within what.

Those that come with the models are in `spaces.yaml`; a file of a user's own is read the same way.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, get_type_hints

from optuna import distributions
from optuna.distributions import BaseDistribution

from ctr_keras.models import check_arguments, model_arguments
from ctr_keras.settings import (
    SettingError,
    Source,
    TupleOf,
    check_settings,
    checked,
    did_you_mean,
)
from ctr_keras.training import TrainConfig
from ctr_keras.types import Settings

_BUILT_IN = str(pathlib.Path(__file__).with_name("spaces.yaml"))
_SETTINGS = get_type_hints(TrainConfig, include_extras=True)
_NOT_SEARCHED = {  # settings of training, by the reason
    "decides what is measured": ("data", "monitor", "group", "sample_weight", "calibrate"),
    "is the same in all trials": ("model", "out", "start_from", "seed"),
    "holds what is searched by its own name": ("model_args",),
    "changes nothing that is measured": ("cache", "resident", "callbacks", "jit_compile"),
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, in no order.

    Args:
        values: list. Of what a setting takes: numbers, strings, lists, None.

    Raises:
        ValueError: for fewer than two, or equal ones.
    """

    values: TupleOf[Any]

    def __post_init__(self) -> None:
        check_settings(self)
        if len({*self.names}) < max(len(self.values), 2):
            raise SettingError(f"a choice needs two or more different values, got {self.names}")

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that are of the right type if all are."""
        return self.values

    def distribution(self) -> BaseDistribution:
        """What Optuna draws from: the values as strings, as it takes no lists."""
        return distributions.CategoricalDistribution(self.names)

    @property
    def names(self) -> list[str]:
        """The values as strings."""
        return [_name(value) for value in self.values]

    def value(self, drawn: Any) -> Any:
        """The value that was drawn."""
        return self.values[self.names.index(drawn)]

    def nearest(self, value: Any) -> Any:
        """What would be drawn for a value, or for the number next to it, or else the first."""
        numbers = [number for number in self.values if _is_number(number)]
        if _name(value) not in self.names and _is_number(value) and numbers:
            value = min(numbers, key=lambda number: abs(number - value))
        return _name(value) if _name(value) in self.names else self.names[0]


def _name(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Range:
    """A number; an integer if both ends are.

    Args:
        low, high: float. Both belong to the range.
        log: bool. Whether to draw by order of magnitude. Defaults to `False`.
        step: float or None. Between neighbouring values, from `low` to `high`. Defaults to `None`:
            any value, or any integer.

    Raises:
        ValueError: for an empty or infinite range, a logarithmic one from 0 or with steps, and
            steps that do not lead from `low` to `high`, or from an integer to an integer.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise SettingError(f"low and high must be finite, got {self.low} and {self.high}")
        if self.low >= self.high:
            raise SettingError(f"low must be below high, got {self.low} and {self.high}", "low")
        if self.log and (self.low <= 0 or self.step is not None):
            raise SettingError("log needs a positive low and no step", "log")
        if self.step is not None:
            self._check_step(self.step)

    def _check_step(self, step: int | float) -> None:
        if not 0 < step < math.inf:
            raise SettingError(f"step must be positive, got {step}", "step")
        if self._is_integer and step != int(step):
            raise SettingError(
                f"a range of integers needs a whole step, got {step}; for one of decimal numbers "
                f"write {float(self.low)} and {float(self.high)}",
                "step",
            )
        low, high, exact = (Decimal(str(number)) for number in (self.low, self.high, step))
        rest = (high - low) % exact  # without the rounding of binary numbers
        if rest:
            raise SettingError(
                f"high is not a number of steps above low: the last is {high - rest}", "high"
            )

    @property
    def _is_integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that are of the right type if all are."""
        return (self.low, self.high)

    def distribution(self) -> BaseDistribution:
        """What Optuna draws from."""
        if self._is_integer:
            return distributions.IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        return distributions.FloatDistribution(
            float(self.low), float(self.high), log=self.log, step=self.step
        )

    def value(self, drawn: Any) -> Any:
        """The value that was drawn."""
        return drawn

    def nearest(self, value: Any) -> Any:
        """What would be drawn for a value, or next to it; the low end for what is no number."""
        number = min(max(value, self.low), self.high) if _is_number(value) else self.low
        if self.step is not None:
            number = self.low + round((number - self.low) / self.step) * self.step
        return round(number) if self._is_integer else number


Space: TypeAlias = Mapping[str, Choice | Range]


def model_space(model: str) -> Space:
    """The search space that comes with a model: what all share, and its own.

    Args:
        model: str. A name in `ctr_keras.models.MODELS`.

    Raises:
        ValueError: for an unknown model.

    Example:

    >>> space = model_space("AutoInt")
    >>> space["learning_rate"]
    Range(low=0.0001, high=0.01, log=True, step=None)
    >>> space["heads"]
    Choice(values=(1, 2, 4))
    """
    source = Source.read(_BUILT_IN)
    own = source.at("models", model).values if model in source.values["models"] else {}
    known = {*_SETTINGS, *model_arguments(model)}
    shared = {name: of for name, of in source.values["shared"].items() if name in known}
    return _read(Source({**shared, **own}, _BUILT_IN), model)


def read_space(path: str, model: str) -> Space:
    """A search space from a YAML file: by name, a list of values or `{low, high, log, step}`.

    Args:
        path: str. The file.
        model: str. A name in `ctr_keras.models.MODELS`.

    Raises:
        ValueError: for a name that is no setting or argument that can be searched, or a value that
            it does not take, with the file and the line, and for a file of none.
    """
    source = Source.read(path)
    if not source.values:
        raise ValueError(f"{path}: there is nothing to search: the file is empty")
    return _read(source, model)


class Refused(NamedTuple):
    """A value that cannot be tried.

    Attributes:
        name: str. Of the setting.
        value: of the setting.
        reason: str. What is wrong with it, in one line.
    """

    name: str
    value: Any
    reason: str


def check_values(space: Space, attempt: Callable[[Settings], object], source: Source) -> None:
    """Checks that each value can be tried.

    Args:
        space, attempt: as in `refused_values`.
        source: Source. Where the space was written.

    Raises:
        ValueError: for the first value that cannot be tried, with its place, or if no attempt
            succeeds.
    """
    for refused in refused_values(space, attempt):
        with source.located(refused.name):
            raise ValueError(refused.reason)


def refused_values(space: Space, attempt: Callable[[Settings], object]) -> Iterator[Refused]:
    """The values that cannot be tried, those between two ends as these.

    Values need not go with all others: it is enough if one attempt with a value does not fail,
    alone or together with values of all other settings.

    Args:
        space: dict.
        attempt: function of settings by name that raises what is wrong with them.

    Raises:
        ValueError: if no attempt succeeds.
    """
    most = max((len(of.extremes) for of in space.values()), default=0)
    together = [
        {name: of.extremes[place % len(of.extremes)] for name, of in space.items()}
        for place in range(most)
    ]
    errors = [_error(attempt, settings) for settings in ({}, *together)]
    if errors[0] is not None and None not in errors:
        raise ValueError(_one_line(errors[0]))
    works = [one for one, error in zip(({}, *together), errors, strict=True) if error is None]
    for name, of in space.items():
        for value in of.extremes:
            if any(name in one and one[name] == value for one in works):
                continue
            errors = [_error(attempt, {**one, name: value}) for one in works]
            if errors[0] is not None and None not in errors:
                yield Refused(name, value, _refusal(name, value, errors[0]))


def _error(attempt: Callable[[Settings], object], settings: Settings) -> Exception | None:
    try:
        attempt(settings)
    except Exception as error:  # builders and Keras raise what they like
        return error
    return None


def _refusal(name: str, value: Any, error: Exception) -> str:
    """What is wrong with a value, which a `SettingError` of the setting says itself."""
    is_named = isinstance(error, SettingError) and name in error.keys
    return _one_line(error) if is_named else f"{name}={_name(value)}: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _read(source: Source, model: str) -> Space:
    space: dict[str, Choice | Range] = {}
    for name, of in source.values.items():
        with source.located(name):
            _check_name(model, name)
        if isinstance(of, Mapping):
            space[name] = source.at(name).build(Range)
        else:
            with source.located(name):
                space[name] = Choice(checked(name, of, list))
        with source.located(name):
            for value in space[name].extremes:
                _check_value(model, name, value)
    return space


def _check_name(model: str, name: str) -> None:
    reasons = {other: reason for reason, others in _NOT_SEARCHED.items() for other in others}
    if name in reasons:
        raise ValueError(f"{name!r} cannot be searched: it {reasons[name]}")
    known = [*(other for other in _SETTINGS if other not in reasons), *model_arguments(model)]
    if name not in known:
        raise ValueError(f"{name!r} cannot be searched{did_you_mean(name, known)}")


def _check_value(model: str, name: str, value: Any) -> None:
    if name in _SETTINGS:
        checked(name, value, _SETTINGS[name])
    else:
        check_arguments(model, {name: value})
