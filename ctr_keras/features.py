"""Which columns a model sees, declared once.

A `FeatureSet` is read by every other part of the library: the pipeline derives its transform from
it, the models their inputs and embedding tables, the export its signature, the plots their names.

Raw columns. Every column that a feature reads arrives as one scalar a row: text (UTF-8 bytes) for
`Categorical`, `MultiValued` and `Sequence`, a float for `Numeric`. A missing value is `""` or NaN.

Packed inputs. A model does not get one tensor a column but `categorical` (batch, columns) int32,
`numeric` (batch, columns) float32, `crossed` (batch, pairs) int32, and for every `MultiValued` or
`Sequence` feature one (batch, max_length) int32 matrix of its own name, padded with 0 at the end.

Id layout. All ids of a feature set are global: they index one embedding table.

- Id 0 is padding and the missing value.
- Then come the vocabularies in the order of their declaration, those of `Crossed` features last.
  A vocabulary holds its out-of-vocabulary (OOV) ids first, then its values by falling frequency in
  the training split, ties broken by value.
- A hashed feature has `hash_buckets` ids and no OOV ids; buckets of a number have one id each.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

GROUPS = ("item", "user", "context", "behaviors")
SCALES = ("identity", "log_squared", "log_squared_continuous", "min_max", "z_score")
BUCKET_SCALES = ("quantiles", "boundaries")
TIME_PARTS = ("day", "hour", "weekday")
PACKED_INPUTS = ("categorical", "numeric", "crossed")
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A named range of global ids, owned by one feature and possibly shared by others.

    Attributes:
        name: name of the owning feature.
        min_count: values seen less often in the training split are out of vocabulary.
        oov_buckets: number of ids for values outside the vocabulary.
        hash_buckets: number of ids if values are hashed and nothing is counted, else None.
        number_buckets: number of ids if the values are buckets of a number, else None.
    """

    name: str
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    number_buckets: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the values come from the training data rather than from the declaration."""
        return self.hash_buckets is None and self.number_buckets is None

    @property
    def fixed_ids(self) -> int:
        """Ids that exist whatever the data: hash or number buckets, or the OOV ids."""
        return self.hash_buckets or self.number_buckets or self.oov_buckets


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A column with one category a row.

    Args:
        name: str. The feature.
        column: str or None. The raw column it reads. Defaults to `None`: the one of its name.
        time_part: str or None. Take the `"day"` of the month, the `"hour"` or the `"weekday"`
            (1 is Monday) out of a time written as `YYMMDDHH` or `YYYY-MM-DD[ HH[:MM[:SS]]]`;
            anything else is missing. Defaults to `None`.
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
    name: str
    column: str | None = None
    time_part: str | None = None
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    vocabulary_of: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _check_column(self)
        _check_choice(self, "group", (None, *GROUPS))
        _check_choice(self, "time_part", (None, *TIME_PARTS))
        _check_vocabulary(self)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary this feature owns, or None if it uses another's."""
        return _own_vocabulary(self)


@dataclasses.dataclass(frozen=True)
class Numeric:
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
              equally filled buckets and id 0 for missing.
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
    name: str
    column: str | None = None
    scale: str = "identity"
    buckets: int | None = None
    boundaries: tuple[float, ...] | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _check_column(self)
        _check_choice(self, "group", (None, *GROUPS))
        _check_choice(self, "scale", (*SCALES, *BUCKET_SCALES))
        for scale, argument in zip(BUCKET_SCALES, ("buckets", "boundaries"), strict=True):
            if (self.scale == scale) != (getattr(self, argument) is not None):
                raise ValueError(
                    f"feature {self.name!r}: `{argument}` and scale={scale!r} go together. "
                    f"Received: scale={self.scale!r}, {argument}={getattr(self, argument)!r}"
                )
        if self.buckets is not None:
            _check_at_least(self, "buckets", 2)
        if self.boundaries is not None:
            object.__setattr__(self, "boundaries", tuple(map(float, self.boundaries)))
            if not self.boundaries or list(self.boundaries) != sorted(set(self.boundaries)):
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


@dataclasses.dataclass(frozen=True)
class MultiValued:
    """A column with several categories a row, in one text; their embeddings are averaged.

    Args:
        name: str. The feature.
        column: str or None. As in `Categorical`. Defaults to `None`.
        separator: str. What stands between two values. Defaults to `"|"`.
        max_length: int. Values kept, the first ones. Defaults to `6`.
        min_count, oov_buckets, hash_buckets, vocabulary_of, group: as in `Categorical`.

    Example:

    >>> MultiValued("genres", separator="|", max_length=6).max_length
    6
    """

    kind: ClassVar[str] = "multi_valued"
    name: str
    column: str | None = None
    separator: str = "|"
    max_length: int = 6
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    vocabulary_of: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _check_list_feature(self)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary this feature owns, or None if it uses another's."""
        return _own_vocabulary(self)


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A column with a row's history, oldest value first, in one text.

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
    name: str
    column: str | None = None
    separator: str = " "
    max_length: int = 30
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    vocabulary_of: str | None = None
    group: str | None = "behaviors"

    def __post_init__(self) -> None:
        _check_list_feature(self)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary this feature owns, or None if it uses another's."""
        return _own_vocabulary(self)


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
    first: str
    second: str
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(
                f"a crossed feature needs two features. Received: {self.first!r} twice"
            )
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

    Example:

    >>> Label("click").name
    'click'
    """

    kind: ClassVar[str] = "label"
    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)


Feature = Categorical | Numeric | MultiValued | Sequence | Crossed
_KINDS: dict[str, type[Any]] = {
    kind.kind: kind for kind in (Categorical, Numeric, MultiValued, Sequence, Crossed)
}


class FeatureSet:
    """The features of a data set and its label, from which everything else derives.

    Args:
        *features: `Categorical`, `Numeric`, `MultiValued`, `Sequence` and `Crossed` declarations.
        label: `Label`.
        vocabulary_sizes: dict or None. Number of values in each counted vocabulary. `prepare` fills
            it in; ids and embedding tables need it. Defaults to `None`.

    Raises:
        ValueError: for a contradictory declaration, naming the feature.

    Example:

    >>> features = FeatureSet(
    ...     Categorical("user_id", min_count=2, group="user"),
    ...     Categorical("item_id", group="item"),
    ...     Numeric("price", scale="log_squared", group="item"),
    ...     Sequence("history", vocabulary_of="item_id", max_length=5),
    ...     label=Label("click"),
    ...     vocabulary_sizes={"user_id": 10, "item_id": 4},
    ... )
    >>> features.field_names
    ('user_id', 'item_id', 'price')
    >>> features.packed_shapes
    {'categorical': (2,), 'numeric': (1,), 'history': (5,)}
    >>> features.id_count  # 0, one OOV id and 10 users, one OOV id and 4 items
    17
    """

    def __init__(
        self,
        *features: Feature,
        label: Label,
        vocabulary_sizes: Mapping[str, int] | None = None,
    ) -> None:
        for feature in features:
            if not isinstance(feature, tuple(_KINDS.values())):
                hint = "a second label?" if isinstance(feature, Label) else "not a feature"
                raise ValueError(
                    f"a FeatureSet takes features and one label. Received: {feature} ({hint})"
                )
        if not isinstance(label, Label):
            raise ValueError(f"label must be one Label. Received: {label!r}")
        self.features = features
        self.label = label
        _check_set(self)
        self.vocabulary_sizes = dict(vocabulary_sizes) if vocabulary_sizes is not None else None
        _check_sizes(self)

    # The declared features, by what a model does with them.

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(f"no feature {name!r}; declared: {', '.join(f.name for f in self.features)}")

    def __contains__(self, name: object) -> bool:
        return any(feature.name == name for feature in self.features)

    @property
    def categorical(self) -> tuple[Categorical | Numeric, ...]:
        """The columns of the packed `categorical` input, in order."""
        return tuple(
            f
            for f in self.features
            if isinstance(f, Categorical) or (isinstance(f, Numeric) and f.bucket_count)
        )

    @property
    def numeric(self) -> tuple[Numeric, ...]:
        """The columns of the packed `numeric` input, in order."""
        return tuple(f for f in self.features if isinstance(f, Numeric) and not f.bucket_count)

    @property
    def multi_valued(self) -> tuple[MultiValued, ...]:
        """The multi-valued features, each an input of its own."""
        return tuple(f for f in self.features if isinstance(f, MultiValued))

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """The sequence features, each an input of its own."""
        return tuple(f for f in self.features if isinstance(f, Sequence))

    @property
    def crossed(self) -> tuple[Crossed, ...]:
        """The columns of the packed `crossed` input, in order."""
        return tuple(f for f in self.features if isinstance(f, Crossed))

    @property
    def fields(self) -> tuple[Feature, ...]:
        """What a model embeds, in this order: categorical, numeric, multi-valued, crossed."""
        return (*self.categorical, *self.numeric, *self.multi_valued, *self.crossed)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of `fields`."""
        return tuple(field.name for field in self.fields)

    @property
    def raw_columns(self) -> dict[str, str]:
        """Name and type (`"string"` or `"float"`) of every column a request carries."""
        return {
            f.column or f.name: "float" if isinstance(f, Numeric) else "string"
            for f in self.features
            if not isinstance(f, Crossed)
        }

    @property
    def packed_features(self) -> dict[str, tuple[Feature, ...]]:
        """The features in each packed input: one a column, or the only one of a list."""
        columns: dict[str, tuple[Feature, ...]] = {
            "categorical": self.categorical,
            "numeric": self.numeric,
            "crossed": self.crossed,
        }
        lists: tuple[MultiValued | Sequence, ...] = (*self.multi_valued, *self.sequences)
        columns |= {feature.name: (feature,) for feature in lists}
        return {name: members for name, members in columns.items() if members}

    @property
    def packed_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each packed input without the batch; `numeric` is float32, all others int32."""
        return {
            name: (getattr(members[0], "max_length", len(members)),)
            for name, members in self.packed_features.items()
        }

    def group(self, name: str) -> tuple[Feature, ...]:
        """The features of one group.

        Raises:
            ValueError: if the set has none, naming the group.
        """
        members = tuple(f for f in self.features if getattr(f, "group", None) == name)
        if not members:
            raise ValueError(
                f"this needs features with group={name!r}, and the feature set has none. "
                f"Declared: {', '.join(f.name for f in self.features)}"
            )
        return members

    # Ids.

    @property
    def vocabularies(self) -> tuple[Vocabulary, ...]:
        """All vocabularies in the order of their ids."""
        owners = [f for f in self.features if not isinstance(f, Crossed)] + list(self.crossed)
        return tuple(f.vocabulary for f in owners if f.vocabulary is not None)

    def vocabulary_name(self, feature: Feature) -> str:
        """Name of the vocabulary whose ids `feature` uses."""
        return getattr(feature, "vocabulary_of", None) or feature.name

    @property
    def id_ranges(self) -> dict[str, range]:
        """Global ids of every vocabulary, its OOV ids first.

        Raises:
            ValueError: if the vocabulary sizes are not known yet.
        """
        sizes = self._known_sizes()
        ranges: dict[str, range] = {}
        start = 1
        for vocabulary in self.vocabularies:
            stop = start + vocabulary.fixed_ids + sizes.get(vocabulary.name, 0)
            ranges[vocabulary.name] = range(start, stop)
            start = stop
        return ranges

    @property
    def id_count(self) -> int:
        """Rows of an embedding table for all ids, id 0 included."""
        return 1 + sum(len(ids) for ids in self.id_ranges.values())

    def _known_sizes(self) -> dict[str, int]:
        if self.vocabulary_sizes is None:
            raise ValueError(
                "the vocabulary sizes of this feature set are not known yet: take the "
                "features.json that `ctr-keras prepare` wrote, or pass `vocabulary_sizes`"
            )
        return self.vocabulary_sizes

    def with_vocabulary_sizes(self, sizes: Mapping[str, int]) -> FeatureSet:
        """The same declaration with its vocabulary sizes filled in."""
        return FeatureSet(*self.features, label=self.label, vocabulary_sizes=sizes)

    def with_crossed_pairs(self, min_count: int) -> FeatureSet:
        """The same declaration and a `Crossed` feature for every pair of categorical columns.

        Args:
            min_count: int. Of the new features; pairs that are crossed already stay as they are.
        """
        declared = {frozenset((feature.first, feature.second)) for feature in self.crossed}
        names = [feature.name for feature in self.categorical]
        new = [
            Crossed(first, second, min_count=min_count)
            for first, second in itertools.combinations(names, 2)
            if {first, second} not in declared
        ]
        return FeatureSet(*self.features, *new, label=self.label)

    # On disk.

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, read back by `from_dict`."""
        return {
            "version": FORMAT_VERSION,
            "label": self.label.name,
            "features": [{"kind": f.kind, **dataclasses.asdict(f)} for f in self.features],
            "vocabulary_sizes": self.vocabulary_sizes,
        }

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> FeatureSet:
        """The inverse of `to_dict`.

        Raises:
            ValueError: for another version, an unknown kind or key, naming it.
        """
        if config.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"features have format version {config.get('version')!r}; this library reads "
                f"{FORMAT_VERSION}"
            )
        return cls(
            *(feature_from_dict(feature) for feature in config["features"]),
            label=Label(config["label"]),
            vocabulary_sizes=config["vocabulary_sizes"],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `features.json`."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2)
            file.write("\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FeatureSet:
        """Reads a `features.json`."""
        with open(path, encoding="utf-8") as file:
            return cls.from_dict(json.load(file))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSet) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"    {feature!r}," for feature in self.features]
        return "\n".join(["FeatureSet(", *lines, f"    label={self.label!r},", ")"])


def feature_from_dict(config: Mapping[str, Any]) -> Feature:
    """A feature from its `kind` and arguments, as `features.json` and YAML data sets spell it.

    Raises:
        ValueError: for an unknown kind or argument, naming it.

    Example:

    >>> feature_from_dict({"kind": "numeric", "name": "price", "scale": "min_max"}).scale
    'min_max'
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(
            f"unknown feature kind {kind!r} in {dict(config)}; known: {', '.join(_KINDS)}"
        )
    known = [field.name for field in dataclasses.fields(_KINDS[kind])]
    for key in arguments:
        if key not in known:
            raise ValueError(
                f"feature {arguments.get('name', '')!r}: unknown key {key!r}; "
                f"a {kind} feature takes {', '.join(known)}"
            )
    try:
        feature: Feature = _KINDS[kind](**arguments)
    except TypeError as error:
        raise ValueError(f"feature {dict(config)}: {error}") from error
    return feature


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"a feature's name must be letters, digits and _, not starting with a digit. "
            f"Received: {name!r}"
        )
    if name in PACKED_INPUTS:
        raise ValueError(f"feature name {name!r} is reserved for a packed input")


def _check_column(feature: Any) -> None:
    _check_name(feature.name)
    if feature.column is not None:
        _check_name(feature.column)


def _check_choice(feature: Any, argument: str, choices: Iterable[Any]) -> None:
    if getattr(feature, argument) not in choices:
        known = ", ".join(str(choice) for choice in choices)
        raise ValueError(
            f"feature {feature.name!r}: {argument} must be one of {known}. "
            f"Received: {getattr(feature, argument)!r}"
        )


def _check_at_least(feature: Any, argument: str, minimum: int) -> None:
    value = getattr(feature, argument)
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(
            f"feature {feature.name!r}: {argument} must be a whole number of at least {minimum}. "
            f"Received: {value!r}"
        )


def _check_vocabulary(feature: Any) -> None:
    _check_at_least(feature, "min_count", 1)
    _check_at_least(feature, "oov_buckets", 1)
    if feature.hash_buckets is not None:
        _check_at_least(feature, "hash_buckets", 1)
    defaults = (feature.min_count, feature.oov_buckets) == (1, 1)
    if feature.hash_buckets is not None and not defaults:
        raise ValueError(
            f"feature {feature.name!r}: hash_buckets takes neither min_count nor oov_buckets"
        )
    shares = getattr(feature, "vocabulary_of", None) is not None
    if shares and not (defaults and feature.hash_buckets is None):
        raise ValueError(
            f"feature {feature.name!r} uses the vocabulary of {feature.vocabulary_of!r}: declare "
            "min_count, oov_buckets and hash_buckets there"
        )


def _check_list_feature(feature: Any) -> None:
    _check_column(feature)
    _check_choice(feature, "group", (None, *GROUPS))
    _check_vocabulary(feature)
    _check_at_least(feature, "max_length", 1)
    if not isinstance(feature.separator, str) or not feature.separator:
        raise ValueError(f"feature {feature.name!r}: separator must be a non-empty text")


def _own_vocabulary(feature: Any) -> Vocabulary | None:
    if feature.vocabulary_of is not None:
        return None
    return Vocabulary(feature.name, feature.min_count, feature.oov_buckets, feature.hash_buckets)


def _check_set(features: FeatureSet) -> None:
    if not features.features:
        raise ValueError("a FeatureSet needs at least one feature")
    _check_unique([*(f.name for f in features.features), features.label.name])
    _check_column_types(features)
    for feature in features.features:
        if isinstance(feature, Crossed):
            _check_crossed(features, feature)
        elif getattr(feature, "vocabulary_of", None) is not None:
            _check_shared(features, feature)


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name!r} is declared twice")
        seen.add(name)


def _check_column_types(features: FeatureSet) -> None:
    if features.label.name in features.raw_columns:
        raise ValueError(f"the label's column {features.label.name!r} is also a feature's")
    for feature in features.features:
        if isinstance(feature, Crossed):
            continue
        column = feature.column or feature.name
        if isinstance(feature, Numeric) != (features.raw_columns[column] == "float"):
            raise ValueError(f"column {column!r} is read both as a number and as text")


def _check_crossed(features: FeatureSet, crossed: Crossed) -> None:
    allowed = {feature.name for feature in features.categorical}
    for name in (crossed.first, crossed.second):
        if name not in features:
            raise ValueError(f"crossed feature {crossed.name!r}: there is no feature {name!r}")
        if name not in allowed:
            raise ValueError(
                f"crossed feature {crossed.name!r}: {name!r} must be Categorical, or Numeric with "
                f"buckets. Received: {features[name]}"
            )


def _check_shared(features: FeatureSet, feature: Any) -> None:
    owner = feature.vocabulary_of
    if owner not in features:
        raise ValueError(f"feature {feature.name!r}: vocabulary_of names no feature: {owner!r}")
    vocabulary = features[owner].vocabulary
    if vocabulary is None or vocabulary.number_buckets or isinstance(features[owner], Crossed):
        raise ValueError(
            f"feature {feature.name!r}: {owner!r} has no vocabulary of its own to share "
            f"({features[owner]})"
        )


def _check_sizes(features: FeatureSet) -> None:
    if features.vocabulary_sizes is None:
        return
    counted = {v.name for v in features.vocabularies if v.is_counted}
    if counted != set(features.vocabulary_sizes):
        raise ValueError(
            f"vocabulary_sizes must name exactly the counted vocabularies {sorted(counted)}. "
            f"Received: {sorted(features.vocabulary_sizes)}"
        )
