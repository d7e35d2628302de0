"""What decides a training run."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ctr_keras.models import model_arguments
from ctr_keras.settings import check_settings, plain, read_settings
from ctr_keras.training.presets import find_preset

TABLE_UPDATES = ("lazy", "exact", "dense")
_COUNTS = ("batch_size", "epochs", "evaluations_per_epoch", "patience")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Args:
        data: str. The folder that `ctr-keras prepare` wrote.
        model: str. A name in `ctr_keras.models.MODELS`.
        out: str. The run's folder.
        model_args: dict. Arguments of the model's builder. Defaults to none.
        batch_size: int. Defaults to `1024`.
        epochs: int. Passes over the training split, at most. Defaults to `10`.
        evaluations_per_epoch: int. How often in a pass to evaluate on the validation split, and
            with it to checkpoint and decide on stopping. Defaults to `1`.
        patience: int. Stop after so many evaluations in a row without a better log loss.
            Defaults to `2`.
        learning_rate: float. Of Adam. Defaults to `0.001`.
        epsilon: float. Of Adam. Defaults to `1e-08`.
        table_updates: str. What becomes of rows of tables that a batch does not read: `"lazy"`,
            they rest; `"exact"`, what dense Adam would do (both by `SparseAdam`); `"dense"`,
            Keras' Adam, which walks all rows in every step. Defaults to `"lazy"`.
        start_from: str. A finished run of the same model whose weights to start from, to train it
            further with a lower learning rate, say. Defaults to `""`: fresh weights.
        cache: str. A folder on a local disk for decoded copies of the data, made at the first use
            and then memory-mapped. Defaults to `""`: parse the TFRecords in every pass.
        resident: bool. Whether to keep the data in memory: on JAX that of the accelerator. Defaults
            to `False`: memory does not grow with the data.
        seed: int. Of weights, dropout and the order of rows. Defaults to `0`.
        dtype_policy: str. Keras' policy, such as `"mixed_bfloat16"`. Defaults to `"float32"`.
        jit_compile: bool or str. Whether to compile the step with XLA. Defaults to `"auto"`: yes
            but for TensorFlow on a CPU, where it is slower.

    Raises:
        ValueError: for an unknown model or model argument, or a value of the wrong type.

    Example:

    >>> config = TrainConfig.read(None, ["heads=4", "epochs=1"], data="d", model="AutoInt", out="r")
    >>> config.model_args, config.epochs
    ({'heads': 4}, 1)
    """

    data: str
    model: str
    out: str
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 1024
    epochs: int = 10
    evaluations_per_epoch: int = 1
    patience: int = 2
    learning_rate: float = 1e-3
    epsilon: float = 1e-8
    table_updates: str = "lazy"
    start_from: str = ""
    cache: str = ""
    resident: bool = False
    seed: int = 0
    dtype_policy: str = "float32"
    jit_compile: bool | str = "auto"

    def __post_init__(self) -> None:
        known = model_arguments(self.model)
        for argument in self.model_args:
            if argument not in known:
                raise ValueError(
                    f"{self.model} has no argument {argument!r}; it takes {', '.join(known)}"
                )
        check_settings(self, at_least_one=_COUNTS)
        if self.table_updates not in TABLE_UPDATES:
            raise ValueError(
                f"table_updates must be one of {', '.join(TABLE_UPDATES)}. "
                f"Received: {self.table_updates!r}"
            )

    @classmethod
    def read(
        cls, path: str | None = None, overrides: Iterable[str] = (), **given: Any
    ) -> "TrainConfig":
        """Settings from a YAML file, changed by `given` and then by `key=value` texts.

        A key that is no setting but an argument of the model goes to `model_args`. The key `preset`
        stands for a paper's settings for a data set (`ctr_keras.training.PRESETS`), which all other
        keys override.

        Args:
            path: str or None. The YAML file. Defaults to `None`: none.
            overrides: list of str. `key=value`, the value written as in YAML. Defaults to `()`.
            **given: settings by name.

        Raises:
            ValueError: for an unknown key or a missing one, naming it.
        """
        settings = read_settings(path, overrides, given)
        model_args = dict(settings.pop("model_args", {}))
        if "preset" in settings:
            preset = find_preset(settings.get("model", ""), settings.pop("preset"))
            settings = {k: v for k, v in preset.items() if k not in model_args} | settings
        names = [field.name for field in dataclasses.fields(cls)]
        for required in ("data", "model", "out"):
            if settings.get(required) is None:
                raise ValueError(f"{required} is not given")
        arguments = model_arguments(settings["model"])
        for key in [key for key in settings if key not in names]:
            if key not in arguments:
                raise ValueError(
                    f"unknown setting {key!r}; there are {', '.join(names)}, and for "
                    f"{settings['model']} {', '.join(arguments)}"
                )
            model_args[key] = settings.pop(key)
        return cls(**settings, model_args=model_args)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as `read` takes them and YAML gives them back."""
        return plain(self)
