"""The declarations of a feature set: its features and its label.

Raw columns. Every column that a feature reads arrives as one scalar a row: a string (UTF-8 bytes)
for `Categorical`, `MultiValued` and `Sequence`, a float for `Numeric`. A missing value is `""` or
NaN.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from ctr_keras.features.layout import Vocabulary
from ctr_keras.features.times import check_zone
from ctr_keras.features.weights import check_separators
from ctr_keras.settings import Count, SettingError, Source, TupleOf, check_settings
from ctr_keras.types import Config, Settings

PACKED_INPUTS = ("categorical", "numeric", "crossed")
GROUP = "\x1fgroup"  # in records: the rows' groups as numbers, 0 where missing


def _as_spelling(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a string in quotes (YAML takes yes and no for true and false)")
    return str(value) if isinstance(value, int) else value


Spelling: TypeAlias = Annotated[str, BeforeValidator(_as_spelling)]
Group: TypeAlias = Literal["item", "user", "context", "behaviors"]
TimePart: TypeAlias = Literal["day", "hour", "weekday", "month", "week"]
Separator: TypeAlias = Annotated[str, Field(min_length=1)]
Scale: TypeAlias = Literal[
    "identity",
    "log_squared",
    "log_squared_continuous",
    "min_max",
    "z_score",
    "quantiles",
    "boundaries",
]


@dataclasses.dataclass(frozen=True)
class _Column:
    """A feature that reads a raw column."""

    name: str
    column: str | None = None
    _: dataclasses.KW_ONLY
    group: Group | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_declaration(self)
        _check_column(self.raw_column)

    @property
    def raw_column(self) -> str:
        """The raw column that it reads."""
        return self.name if self.column is None else self.column


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Categories(_Column):
    """A feature whose values are in a vocabulary, its own or another feature's."""

    min_count: Count = 1
    oov_buckets: Count = 1
    hash_buckets: Count | None = None
    vocabulary_of: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_vocabulary(self)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary this feature owns, or None if it uses another's."""
        if self.vocabulary_of is not None:
            return None
        return Vocabulary(self.name, self.min_count, self.oov_buckets, self.hash_buckets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(_Categories):
    """A column with one category a row.

    Args:
        name: str. The feature.
        column: str or None. The raw column it reads. Defaults to `None`: the one of its name.
        time_part: str or None. Take the `"hour"`, the `"day"` of the month, the `"weekday"`
            (1 is Monday), the `"week"` of the year (as ISO 8601 counts them) or the `"month"` out
            of a time, such as `2024-05-01 12:30:00` or the seconds since 1970
            (`ctr_keras.features.times` has all spellings); anything else is missing, but `fit`
            refuses a column of nothing else. Defaults to `None`.
        zone: str. The time zone, such as `"Europe/Berlin"`, on whose clock to read times that say
            when it was in UTC: since 1970, or with an offset. Others are read as they are written.
            Defaults to `"UTC"`.
        min_count: int. Values seen in fewer training rows share the OOV ids. Defaults to `1`.
        oov_buckets: int. Ids for values outside the vocabulary, at least 1: a value is hashed
            to one of them. Defaults to `1`.
        hash_buckets: int or None. Hash every value to one of so many ids instead of keeping a
            vocabulary. Defaults to `None`.
        vocabulary_of: str or None. Share ids and embeddings with this feature. Defaults to `None`.
        group: str or None. `"item"`, `"user"`, `"context"` or `"behaviors"`. Defaults to `None`.

    Example:

    >>> Categorical("site_id", min_count=10, group="context").vocabulary.min_count
    10
    """

    kind: ClassVar[str] = "categorical"
    time_part: TimePart | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zone != "UTC":
            if self.time_part is None:
                raise ValueError(f"feature {self.name!r}: a zone goes with a time_part")
            check_zone(self.zone)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numeric(_Column):
    """A column with a number a row.

    A missing value becomes 0 after scaling, so it contributes a zero vector.

    Args:
        name: str. The feature.
        column: str or None. As in `Categorical`. Defaults to `None`.
        scale: str. Defaults to `"identity"`.
            - `"identity"`: as it is.
            - `"log_squared"`: `floor(ln(z)^2)` for `z > 2`, else `z` (AutoInt).
            - `"log_squared_continuous"`: the same without the floor.
            - `"min_max"`: to [0, 1] by the training split's extremes, clipped to it.
            - `"z_score"`: minus the training split's mean, over its standard deviation.
            - `"quantiles"`: the feature becomes categorical, with one id for each of `buckets`
              equally filled buckets and id 0 for missing. The rows of one value count as one
              bucket at most, so that counts which are mostly zeros are told apart all the same.
            - `"boundaries"`: the same with the buckets that `boundaries` separate; a boundary
              belongs to the bucket above it.
        buckets: int or None. Number of quantile buckets. Defaults to `None`.
        boundaries: list of float or None. Rising boundaries between buckets. Defaults to `None`.
        group: str or None. As in `Categorical`. Defaults to `None`.

    Example:

    >>> Numeric("price", scale="quantiles", buckets=16).bucket_count
    16
    """

    kind: ClassVar[str] = "numeric"
    vocabulary_of: ClassVar[None] = None
    scale: Scale = "identity"
    buckets: Annotated[int, Field(ge=2)] | None = None
    boundaries: TupleOf[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for scale, argument in (("quantiles", "buckets"), ("boundaries", "boundaries")):
            if (self.scale == scale) != (getattr(self, argument) is not None):
                raise ValueError(
                    f"feature {self.name!r}: `{argument}` and scale={scale!r} go together. "
                    f"Received: scale={self.scale!r}, {argument}={getattr(self, argument)!r}"
                )
        rising = sorted(set(self.boundaries or ()))
        if self.boundaries is not None and (not rising or rising != list(self.boundaries)):
            raise ValueError(
                f"feature {self.name!r}: boundaries must rise. Received: {self.boundaries}"
            )

    @property
    def bucket_count(self) -> int | None:
        """Number of bucket ids if the model sees a bucket instead of the number, else None."""
        return self.buckets if self.boundaries is None else len(self.boundaries) + 1

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The bucket ids, or None for a feature that stays a number."""
        if self.bucket_count is None:
            return None
        return Vocabulary(self.name, oov_buckets=0, number_buckets=self.bucket_count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiValued(_Categories):
    """A column with several categories a row, in one string; their embeddings are averaged.

    With weights, as in `sport:0.8|music:0.2`, the average is weighted. A weight is a finite number
    of at least 0, with a point before its decimals; a value without one has the weight 1.

    Args:
        name: str. The feature.
        column: str or None. As in `Categorical`. Defaults to `None`.
        separator: str. What stands between two values. Defaults to `"|"`.
        max_length: int. Values kept, the first ones. Defaults to `6`.
        weight_separator: str or None. What stands between a value and its weight; a value may hold
            it, too, as the last one counts. Defaults to `None`: values have no weights.
        min_count, oov_buckets, hash_buckets, vocabulary_of, group: as in `Categorical`.

    Example:

    >>> MultiValued("genres", separator="|", max_length=6).max_length
    6
    >>> MultiValued("interests", weight_separator=":").weights_input
    'interests_weights'
    """

    kind: ClassVar[str] = "multi_valued"
    separator: Separator = "|"
    max_length: Count = 6
    weight_separator: Separator | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_separators(self.name, self.separator, self.weight_separator)

    @property
    def weights_input(self) -> str | None:
        """The packed input of its values' weights, or None if they have none."""
        return None if self.weight_separator is None else f"{self.name}_weights"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequence(_Categories):
    """A column with a row's history, oldest value first, in one string.

    Sequences are not fields of a model: only models that know behaviours read them.

    Args:
        name: str. The feature.
        column: str or None. As in `Categorical`. Defaults to `None`.
        separator: str. What stands between two values. Defaults to `" "`.
        max_length: int. Values kept, the last (most recent) ones. Defaults to `30`.
        min_count, oov_buckets, hash_buckets, vocabulary_of: as in `Categorical`. With
            `vocabulary_of` the history shares ids and embeddings with the candidate item, and only
            the candidate's column is counted.
        group: str or None. Defaults to `"behaviors"`.

    Example:

    >>> Sequence("history", vocabulary_of="item_id").group
    'behaviors'
    """

    kind: ClassVar[str] = "sequence"
    separator: Separator = " "
    max_length: Count = 30
    group: Group | None = "behaviors"


@dataclasses.dataclass(frozen=True)
class Crossed:
    """The pair of two features' values as one category (OptInter's memorized interaction).

    Args:
        first, second: str. `Categorical` or bucketed `Numeric` features. A pair is missing
            where one of its values is.
        min_count: int. Pairs seen in fewer training rows share the OOV ids. Defaults to `1`.
        oov_buckets: int. As in `Categorical`. Defaults to `1`.
        hash_buckets: int or None. As in `Categorical`. Defaults to `None`.

    Example:

    >>> Crossed("user_id", "item_id", min_count=20).name
    'user_id_x_item_id'
    """

    kind: ClassVar[str] = "crossed"
    group: ClassVar[None] = None
    vocabulary_of: ClassVar[None] = None
    first: str
    second: str
    min_count: Count = 1
    oov_buckets: Count = 1
    hash_buckets: Count | None = None

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(
                f"a crossed feature needs two features. Received: {self.first!r} twice"
            )
        _check_declaration(self)
        _check_vocabulary(self)

    @property
    def name(self) -> str:
        """`first` and `second` joined by `_x_`."""
        return f"{self.first}_x_{self.second}"

    @property
    def vocabulary(self) -> Vocabulary:
        """The pairs' vocabulary."""
        return Vocabulary(self.name, self.min_count, self.oov_buckets, self.hash_buckets)


@dataclasses.dataclass(frozen=True)
class Label:
    """The column to predict: 0 or 1.

    Args:
        name: str. The column.
        weight: str. A column of weights of rows, numbers of at least 0, by which training may
            multiply a row's loss. Models do not read it, nor do requests carry it. Defaults to
            `""`: none.
        group: str. A column that says whose a row is, such as the user's, for metrics and pairs by
            group. Models do not read it, unless a feature does, nor do requests carry it. Defaults
            to `""`: none.
        positive: list of str. The values that mean 1. Defaults to `()`: the usual ones (see
            `ctr_keras.features.labels.is_positive`).
        negative: list of str. The values that mean 0. Defaults to `()`: where `positive` is
            declared, all others but a missing one.
        negatives_kept: float. The share of the training rows of label 0 that prepared data have;
            the others were left out at random. Scores are those of all rows nevertheless (see
            `ctr_keras.runs.SampledLoss`). Defaults to `1.0`.

    Raises:
        ValueError: for a value that is both, or negative ones without positive ones, and for a
            share of 0 or less, or above 1.

    Example:

    >>> Label("answer", weight="cost", positive=["yes", "maybe"]).positive
    ('yes', 'maybe')
    """

    kind: ClassVar[str] = "label"
    name: str
    weight: str = ""
    group: str = ""
    positive: TupleOf[Spelling] = ()
    negative: TupleOf[Spelling] = ()
    negatives_kept: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        check_settings(self)
        _check_column(self.name)
        for column in (self.name, self.weight):
            if column in PACKED_INPUTS:
                raise ValueError(f"label or weight {column!r} is reserved for a packed input")
        if self.negative and not self.positive:
            raise SettingError("a label with negative values needs positive ones", "negative")
        both = sorted({*self.positive} & {*self.negative})
        if both:
            raise SettingError(f"{both[0]!r} cannot be positive and negative", "negative")

    def options(self) -> Config:
        """What is not as by default, but the name."""
        defaults = dataclasses.asdict(Label(self.name))
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value != defaults[name]
        }


Feature: TypeAlias = Categorical | Numeric | MultiValued | Sequence | Crossed
FEATURE_KINDS: Mapping[str, Callable[..., Feature]] = {
    kind.kind: kind for kind in (Categorical, Numeric, MultiValued, Sequence, Crossed)
}


def feature_from_dict(config: Settings) -> Feature:
    """A feature from its `kind` and arguments, as `features.json` and YAML data sets spell it.

    Args:
        config: dict.

    Raises:
        ValueError: for an unknown kind or argument, naming it.

    Example:

    >>> feature_from_dict({"kind": "numeric", "name": "price", "scale": "min_max"}).scale
    'min_max'
    """
    return Source(config).build_one_of("kind", FEATURE_KINDS)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            "a feature's name must be letters, digits and _, not starting with a digit (its "
            f"`column` may be called anything). Received: {name!r}"
        )
    if name in PACKED_INPUTS:
        raise ValueError(f"feature name {name!r} is reserved for a packed input")


def _check_column(column: str) -> None:
    if not column:
        raise ValueError("a column needs a name, got ''")


def _check_declaration(feature: _Column | Crossed) -> None:
    try:
        check_settings(feature)
    except SettingError as error:
        raise SettingError(f"feature {feature.name!r}: {error}", *error.keys) from None


def _check_vocabulary(feature: _Categories | Crossed) -> None:
    is_hashed = feature.hash_buckets is not None
    is_changed = (feature.min_count, feature.oov_buckets) != (1, 1)
    if is_hashed and is_changed:
        raise ValueError(
            f"feature {feature.name!r}: hash_buckets takes neither min_count nor oov_buckets"
        )
    if feature.vocabulary_of is not None and (is_hashed or is_changed):
        raise ValueError(
            f"feature {feature.name!r} uses the vocabulary of {feature.vocabulary_of!r}: declare "
            "min_count, oov_buckets and hash_buckets there"
        )
