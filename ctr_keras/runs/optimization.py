"""How weights learn: the settings that training and searches share, and what they stand for."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import keras
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule
from pydantic import NonNegativeFloat, NonNegativeInt

from ctr_keras.optimizers import (
    DenseAdam,
    RoutedOptimizer,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
    WarmUp,
)
from ctr_keras.runs.losses import SampledLoss
from ctr_keras.settings import Count, Fraction, SettingError, check_settings, checked
from ctr_keras.types import LearningRate, Settings

OptimizerName: TypeAlias = Literal["adam", "adamw", "adagrad", "ftrl", "sgd"]

_KINDS: Mapping[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": SparseAdam,
    "adamw": SparseAdam,
    "adagrad": SparseAdagrad,
    "ftrl": SparseFtrl,
    "sgd": SparseSGD,
}
_ADAMS = ("adam", "adamw")
# By arguments of optimizers, the settings that stand for them, for Adam more than for others.
_SETTINGS = {
    "exact": "table_updates",
    "table_decay": "table_decay",
    **dict.fromkeys(("use_ema", "ema_momentum", "ema_overwrite_frequency"), "averaging"),
    "global_clipnorm": "max_gradient_norm",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
}
_SETTINGS_OF_ADAM = {**_SETTINGS, "epsilon": "epsilon", "weight_decay": "weight_decay"}
_ARGUMENTS: Mapping[str, Any] = {  # of optimizers, whose types Keras does not check
    **dict.fromkeys(("beta_1", "beta_2"), Fraction),
    **dict.fromkeys(("beta", "epsilon", "initial_accumulator_value"), NonNegativeFloat),
    **dict.fromkeys(("l1_regularization_strength", "l2_regularization_strength"), NonNegativeFloat),
    **dict.fromkeys(("clipnorm", "clipvalue", "weight_decay"), NonNegativeFloat | None),
    "learning_rate_power": float,
    "loss_scale_factor": NonNegativeFloat | None,
    "momentum": NonNegativeFloat,
    "nesterov": bool,
}
_WEIGHT_DECAY = 0.004  # of Keras' AdamW
_FOCAL_GAMMA = 2.0
_PLATEAU_DECAY = 0.1  # of BARS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How weights learn, in training and in searches.

    A round is the part of an epoch between two evaluations.

    Args:
        optimizer: str. `"adam"`, `"adamw"`, `"adagrad"`, `"ftrl"` or `"sgd"`. Defaults to `"adam"`.
        learning_rate: float. How far a step goes. Defaults to `0.001`.
        epsilon: float. Of Adam. Defaults to `1e-08`.
        weight_decay: float or None. Share of a weight, times the learning rate, that a step of
            `adamw` takes off; of tables, of the rows that the batch has read. Defaults to `None`:
            0.004.
        optimizer_args: dict. Further arguments of the optimizer, such as `{momentum: 0.9}` of
            `sgd` or `{l1_regularization_strength: 0.1}` of `ftrl`: those of
            `ctr_keras.optimizers.SparseSGD`, `SparseFtrl`, ..., but for those that other settings
            stand for, such as `use_ema` (`averaging`). Defaults to none.
        table_optimizer: str or None. That of embedding tables and linear weights. Defaults to
            `None`: the same optimizer for all.
        table_learning_rate: float or None. Of `table_optimizer`. Defaults to `None`:
            `learning_rate`.
        table_optimizer_args: dict. Of `table_optimizer`. Defaults to none.
        table_learning_rates: dict. Those of single tables, by the names of the layers that hold
            them, such as `{memorized: 1.0e-6}` of OptInter. Defaults to none.
        table_updates: str. What becomes of rows of tables that a batch does not read: `"lazy"`,
            they rest; `"exact"`, what dense Adam would do (both by `SparseAdam`); `"dense"`,
            the same by walking all rows in every step (`DenseAdam`). Other optimizers than Adam
            leave such rows alone. Defaults to `"lazy"`.
        schedule: str. `"constant"`; `"exponential"`, the learning rate is multiplied with
            `learning_rate_decay` after each round; `"cosine"`, it falls to 0 over all epochs;
            `"plateau"`, it is multiplied with `learning_rate_decay` after each evaluation that is
            no better than all before. Defaults to `"constant"`.
        learning_rate_decay: float or None. At most 1. Defaults to `None`: 0.1 with `"plateau"`.
        warmup_steps: int. Steps in which the rate grows linearly, before the schedule begins.
            Defaults to `0`.
        max_gradient_norm: float. Gradients are scaled down where their norm is larger: that of all
            weights of an optimizer together, a table's by the rows that the batch has read.
            Defaults to `0.0`: they are not.
        gradient_accumulation_steps: int. Batches of which the mean gradient makes one step, with
            `table_updates=dense` alone. Defaults to `1`.
        loss: str. `"log_loss"` or `"focal"`. Defaults to `"log_loss"`.
        focal_gamma: float. Of `loss=focal`. Defaults to `2.0`.
        label_smoothing: float. A label `y` counts as `(1 - s) y + s / 2`. Defaults to `0.0`.

    Raises:
        ValueError: for settings that do not go together.

    Example:

    >>> Optimization(optimizer="adam", table_optimizer="adagrad", schedule="cosine").learning_rate
    0.001
    >>> Optimization(table_updates="exact", schedule="cosine")
    Traceback (most recent call last):
    ctr_keras.settings.SettingError: schedule=cosine does not go with table_updates=exact, which...

    References:
        Zhu et al., [BARS](https://arxiv.org/abs/2205.09626): the rate that falls on a plateau.
    """

    optimizer: OptimizerName = "adam"
    learning_rate: NonNegativeFloat = 1e-3
    epsilon: NonNegativeFloat = 1e-8
    weight_decay: NonNegativeFloat | None = None
    optimizer_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    table_optimizer: OptimizerName | None = None
    table_learning_rate: NonNegativeFloat | None = None
    table_optimizer_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    table_learning_rates: Mapping[str, NonNegativeFloat] = dataclasses.field(default_factory=dict)
    table_updates: Literal["lazy", "exact", "dense"] = "lazy"
    schedule: Literal["constant", "exponential", "cosine", "plateau"] = "constant"
    learning_rate_decay: NonNegativeFloat | None = None
    warmup_steps: NonNegativeInt = 0
    max_gradient_norm: NonNegativeFloat = 0.0
    gradient_accumulation_steps: Count = 1
    loss: Literal["log_loss", "focal"] = "log_loss"
    focal_gamma: NonNegativeFloat = _FOCAL_GAMMA
    label_smoothing: Fraction = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_optimizers()
        self._check_schedule()
        self._check_table_updates()
        self._check_arguments()
        if self.loss != "focal" and self.focal_gamma != _FOCAL_GAMMA:
            raise SettingError(f"focal_gamma={self.focal_gamma:g} needs loss=focal", "focal_gamma")

    @property
    def _of_tables(self) -> OptimizerName:
        return self.table_optimizer or self.optimizer

    def _check_optimizers(self) -> None:
        if self.table_optimizer is None:
            for name in ("table_learning_rate", "table_optimizer_args"):
                if getattr(self, name) not in (None, {}):
                    raise SettingError(f"{name} needs a table_optimizer", name)
        if self.weight_decay is not None and "adamw" not in (self.optimizer, self._of_tables):
            raise SettingError("weight_decay needs optimizer=adamw", "weight_decay")

    def _check_schedule(self) -> None:
        name, decay = self.schedule, self.learning_rate_decay
        if name == "exponential" and decay is None:
            raise SettingError("schedule=exponential needs a learning_rate_decay", "schedule")
        if name in ("constant", "cosine") and decay not in (None, 1.0):
            raise SettingError(
                f"learning_rate_decay={decay:g} does not go with schedule={name}: "
                "set schedule=exponential or schedule=plateau",
                "learning_rate_decay",
            )
        if decay is not None and decay > 1:
            raise SettingError(
                f"learning_rate_decay must be at most 1, got {decay:g}", "learning_rate_decay"
            )
        if name == "plateau" and self.warmup_steps:
            raise SettingError("schedule=plateau takes no warmup_steps", "warmup_steps")

    def _check_table_updates(self) -> None:
        updates = self.table_updates
        if updates != "lazy" and self._of_tables not in _ADAMS:
            raise SettingError(
                f"table_updates={updates} needs Adam for tables: {self._of_tables} leaves rows "
                "that are not read alone",
                "table_updates",
            )
        if updates == "exact":
            if self._of_tables == "adamw":
                raise SettingError(
                    "table_updates=exact takes no weight decay: set table_updates=dense",
                    "table_updates",
                )
            is_scheduled = self.schedule == "cosine" or (
                self.schedule == "exponential" and self.learning_rate_decay != 1.0
            )
            if is_scheduled or self.warmup_steps:
                setting = f"schedule={self.schedule}" if is_scheduled else "warmup_steps"
                raise SettingError(
                    f"{setting} does not go with table_updates=exact, which needs one rate between "
                    "two evaluations: set table_updates=dense, or schedule=plateau",
                    "schedule" if is_scheduled else "warmup_steps",
                )
        if updates != "dense" and self.gradient_accumulation_steps > 1:
            raise SettingError(
                f"gradient_accumulation_steps needs table_updates=dense: set a batch_size "
                f"{self.gradient_accumulation_steps} times as large instead",
                "gradient_accumulation_steps",
            )

    def _check_arguments(self) -> None:
        """Makes the optimizers once, to name arguments that they do not take."""
        names = {"optimizer_args": self.optimizer, "table_optimizer_args": self.table_optimizer}
        for setting, name in names.items():
            if name is None:
                continue
            arguments = getattr(self, setting)
            _check_not_set_elsewhere(setting, name, arguments)
            try:
                for argument, value in arguments.items():
                    checked(argument, value, _ARGUMENTS.get(argument, Any))
                self._make(name, 0.0, arguments)
            except (TypeError, ValueError) as error:
                raise SettingError(f"{setting} of {name}: {error}", setting) from None

    def make_optimizer(
        self, model: keras.Model, round_steps: int, rounds: int, **options: Any
    ) -> keras.optimizers.Optimizer:
        """The optimizer of a model.

        Args:
            model: keras.Model.
            round_steps: int. Batches in a round.
            rounds: int. Of a whole run.
            **options: of Keras' optimizers, for all of them, and `table_decay` of `SparseAdam`.

        Raises:
            SettingError: for a rate of a table that the model does not have.
        """
        tables = [v.path for v in model.trainable_variables if getattr(v, "is_table", False)]
        named = [_tables_of(layer, tables) for layer in self.table_learning_rates]
        others = [] if self.table_optimizer is None else sorted({*tables}.difference(*named))
        rate, *rates = (self._scheduled(rate, round_steps, rounds) for rate in self._rates)
        arguments = self.table_optimizer_args if self.table_optimizer else self.optimizer_args
        routes = {
            f"^({'|'.join(map(re.escape, paths))})$": self._make(
                self._of_tables, rate, arguments, options
            )
            for paths, rate in zip([*named, others], rates, strict=True)
            if paths
        }
        rest = self._make(self.optimizer, rate, self.optimizer_args, options)
        return RoutedOptimizer(rest, routes) if routes else rest

    def set_rates(self, optimizer: keras.optimizers.Optimizer, plateaus: int) -> None:
        """Sets the rates of an optimizer that `make_optimizer` made, after some plateaus."""
        decay = self.learning_rate_decay
        factor = (_PLATEAU_DECAY if decay is None else decay) ** plateaus
        is_routed = isinstance(optimizer, RoutedOptimizer)
        optimizers = optimizer.optimizers if is_routed else [optimizer]
        for one, rate in zip(optimizers, self._rates, strict=False):
            one.learning_rate = rate * factor

    def make_loss(self, negatives_kept: float = 1.0) -> keras.losses.Loss:
        """The loss of rows; of those without a click a share is left."""
        if self.loss == "focal":
            loss = keras.losses.BinaryFocalCrossentropy(
                gamma=self.focal_gamma, label_smoothing=self.label_smoothing
            )
        else:
            loss = keras.losses.BinaryCrossentropy(label_smoothing=self.label_smoothing)
        return SampledLoss(loss, negatives_kept) if negatives_kept < 1 else loss

    @property
    def _rates(self) -> tuple[float, ...]:
        """Of `optimizer`, of single tables, and of `table_optimizer`."""
        table_rate = self.table_learning_rate
        others = self.learning_rate if table_rate is None else table_rate
        return self.learning_rate, *self.table_learning_rates.values(), others

    def _make(
        self, name: str, rate: LearningRate, arguments: Settings, options: Settings | None = None
    ) -> keras.optimizers.Optimizer:
        given: dict[str, Any] = {
            "global_clipnorm": self.max_gradient_norm or None,
            **(options or {}),
        }
        table_decay = given.pop("table_decay", 0.0)
        kind = _KINDS[name]
        if name in _ADAMS:
            given["epsilon"] = self.epsilon
            if name == "adamw":
                decay = self.weight_decay
                given["weight_decay"] = _WEIGHT_DECAY if decay is None else decay
            if self.table_updates == "dense":
                kind = DenseAdam
            elif self._of_tables == name:
                given["exact"] = self.table_updates == "exact"
                given["table_decay"] = table_decay
        if self.gradient_accumulation_steps > 1:
            given["gradient_accumulation_steps"] = self.gradient_accumulation_steps
        return kind(rate, **{**given, **arguments})

    def _scheduled(self, rate: float, round_steps: int, rounds: int) -> LearningRate:
        """A rate of the schedule, which counts steps of the optimizer."""
        steps = round_steps / self.gradient_accumulation_steps
        scheduled: float | LearningRateSchedule = rate
        if self.schedule == "exponential":
            assert self.learning_rate_decay is not None
            scheduled = decayed(rate, self.learning_rate_decay, steps)
        elif self.schedule == "cosine":
            scheduled = CosineDecay(rate, max(steps * rounds - self.warmup_steps, 1))
        return WarmUp(scheduled, self.warmup_steps) if self.warmup_steps else scheduled


def _tables_of(layer: str, tables: Sequence[str]) -> list[str]:
    """The paths of the tables that a layer holds."""
    found = [path for path in tables if path.startswith(f"{layer}/")]
    if not found:
        layers = dict.fromkeys(path.split("/")[0] for path in tables)
        raise SettingError(
            f"table_learning_rates: no layer {layer!r} of the model holds a table; those that do: "
            f"{', '.join(layers)}",
            "table_learning_rates",
            layer,
        )
    return found


def _check_not_set_elsewhere(setting: str, name: str, arguments: Settings) -> None:
    """Checks that no argument of an optimizer stands for what a setting says."""
    rate = "table_learning_rate" if setting == "table_optimizer_args" else "learning_rate"
    known = {**(_SETTINGS_OF_ADAM if name in _ADAMS else _SETTINGS), "learning_rate": rate}
    for argument in arguments:
        if argument in known:
            instead = known[argument]
            raise SettingError(
                f"{setting}: {argument} does not go here, set {instead} instead", setting, argument
            )


def decayed(rate: float, decay: float, round_steps: float) -> float | LearningRateSchedule:
    """A learning rate that is multiplied with `decay` after each round."""
    if decay == 1.0:
        return rate
    return ExponentialDecay(rate, decay_steps=round_steps, decay_rate=decay, staircase=True)


def jit_setting(setting: bool | str) -> bool | str:
    """ "auto" as a step is fastest: TensorFlow's own kernels beat XLA's on a CPU."""
    is_tensorflow_on_cpu = keras.backend.backend() == "tensorflow" and not (
        keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    )
    return False if setting == "auto" and is_tensorflow_on_cpu else setting
