"""How trees are grown, by LightGBM's names."""

import dataclasses
from typing import Annotated, Any, TypeAlias

import pydantic

from ctr_keras.settings import Count, check_settings

_Share: TypeAlias = Annotated[float, pydantic.Field(gt=0, le=1)]
_AtLeastTwo: TypeAlias = Annotated[int, pydantic.Field(ge=2)]


@dataclasses.dataclass(frozen=True)
class BoostingSettings:
    """How trees are grown; all but two are LightGBM's parameters of the same names.

    Args:
        num_iterations: int. Trees, at most. Defaults to `1000`.
        patience: int. Stop after so many trees without a better log loss of the validation rows.
            Defaults to `50`.
        learning_rate: float. Factor of the leaf values of a tree. Defaults to `0.05`.
        num_leaves: int. Leaves of a tree, at most. Defaults to `31`.
        max_depth: int. Splits on the way to a leaf, at most; -1 is no limit. Defaults to `-1`.
        min_data_in_leaf: int. Rows of a leaf, at least. Defaults to `20`.
        bagging_fraction: float. Share of the rows that a tree is grown on. Defaults to `0.8`.
        feature_fraction: float. Share of the columns that a tree may split on. Defaults to `0.8`.
        lambda_l2: float. L2 penalty of leaf values. Defaults to `0.0`.
        cat_smooth: float. Rows of an average category to add to each. Defaults to `10.0`.
        cat_l2: float. L2 penalty in splits by categories. Defaults to `10.0`.
        max_categories: int. A field of more ids is split by the place of the id in its vocabulary,
            where frequent values come first, as if it were a number. Defaults to `10000`.
        num_threads: int. 0 is one a core. Defaults to `0`.

    Raises:
        ValueError: for a value that is wrong, naming it.

    Example:

    >>> BoostingSettings(num_leaves=1)
    Traceback (most recent call last):
    ctr_keras.settings.SettingError: num_leaves must be at least 2, got 1
    """

    num_iterations: Count = 1000
    patience: Count = 50
    learning_rate: pydantic.PositiveFloat = 0.05
    num_leaves: _AtLeastTwo = 31
    max_depth: int = -1
    min_data_in_leaf: Count = 20
    bagging_fraction: _Share = 0.8
    feature_fraction: _Share = 0.8
    lambda_l2: pydantic.NonNegativeFloat = 0.0
    cat_smooth: pydantic.NonNegativeFloat = 10.0
    cat_l2: pydantic.NonNegativeFloat = 10.0
    max_categories: Count = 10_000
    num_threads: pydantic.NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_settings(self)

    def parameters(self) -> dict[str, Any]:
        """What LightGBM is given."""
        ours = ("patience", "max_categories")
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(BoostingSettings)}
        return {name: value for name, value in given.items() if name not in ours}
