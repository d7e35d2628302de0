"""What decides a run that grows trees."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import NonNegativeInt

from ctr_keras.mirrors import address_of
from ctr_keras.models import MODELS
from ctr_keras.outlines import TREES
from ctr_keras.settings import Source, TupleOf, plain, spelled
from ctr_keras.training.config import TrainConfig
from ctr_keras.trees import BoostingSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreesConfig(BoostingSettings):
    """Settings of a run of LightGBM, those of its `BoostingSettings` included.

    Args:
        data: str. The folder that `ctr-keras prepare` wrote.
        out: str. The run's folder.
        model: str. `"LightGBM"`, by which such a run is recognized. Defaults to `"LightGBM"`.
        crossed: bool. Whether trees split on crossed features, too. Defaults to `False`.
        sample_weight: str. The weight that the data set declares, by which a row counts in growing
            and in metrics, as in `TrainConfig`. Defaults to `""`: none.
        labels: list of str. The label to learn, of several that the data set declares. Defaults to
            `()`: the only one.
        seed: int. Of the rows and columns that are drawn for a tree. Defaults to `0`.
        num_iterations, patience, learning_rate, num_leaves: as in `BoostingSettings`.
        max_depth, min_data_in_leaf, bagging_fraction, feature_fraction: likewise.
        lambda_l2, cat_smooth, cat_l2, max_categories, num_threads: likewise.

    Raises:
        ValueError: for a value that is wrong, naming it.

    Example:

    >>> TreesConfig.read(None, ["num_leaves=63"], data="d", out="r").num_leaves
    63
    """

    data: str
    out: str
    model: Literal["LightGBM"] = "LightGBM"
    crossed: bool = False
    sample_weight: str = ""
    labels: TupleOf[str] = ()
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", spelled("model", self.model, [TREES]))
        super().__post_init__()

    @classmethod
    def read(
        cls, path: str | None = None, overrides: Iterable[str] = (), **given: Any
    ) -> "TreesConfig":
        """Settings from a YAML file, changed by `given` and then by `key=value` strings.

        Args:
            path: str or None. The YAML file. Defaults to `None`: none.
            overrides: list of str. `key=value`, the value written as in YAML. Defaults to `()`.
            **given: settings by name.

        Raises:
            ValueError: for a setting that is unknown, missing or wrong, in one line with the file
                and the line where it was written.
        """
        return Source.read(path, overrides, given).build(cls)

    @property
    def model_args(self) -> dict[str, Any]:
        """The arguments of a model's builder, of which trees have none."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as `read` takes them and YAML gives them back."""
        return {**plain(self), "data": address_of(self.data), "out": address_of(self.out)}


def read_config(
    path: str | None = None, overrides: Iterable[str] = (), **given: Any
) -> TrainConfig | TreesConfig:
    """The settings of a run, whatever it trains.

    Args:
        path: str or None. The YAML file. Defaults to `None`: none.
        overrides: list of str. `key=value`, the value written as in YAML. Defaults to `()`.
        **given: settings by name.

    Raises:
        ValueError: as `TrainConfig.read`.

    Example:

    >>> type(read_config(data="d", model="LightGBM", out="r")).__name__
    'TreesConfig'
    """
    source = Source.read(path, overrides, given)
    model = source.values.get("model")
    if model is not None:
        with source.located("model"):
            model = spelled("model", model, [*MODELS, TREES])
    kind: Any = TreesConfig if model == TREES else TrainConfig
    config: TrainConfig | TreesConfig = kind.read(path, overrides, **given)
    return config
