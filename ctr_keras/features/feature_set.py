"""The features of a data set.

Packed inputs. A model does not get one tensor a column but `categorical` (batch, columns) int32,
`numeric` (batch, columns) float32, `crossed` (batch, pairs) int32, and for every `MultiValued` or
`Sequence` feature one (batch, max_length) int32 matrix of its own name, padded with 0 at the end.
The weights of values are a float32 matrix like theirs, `<name>_weights`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Mapping

from ctr_keras.features import packing
from ctr_keras.features.checks import check_set, check_sizes
from ctr_keras.features.columns import Frame
from ctr_keras.features.declarations import (
    GROUP,
    Categorical,
    Crossed,
    Feature,
    Label,
    MultiValued,
    Numeric,
    Sequence,
    feature_from_dict,
)
from ctr_keras.features.layout import Vocabulary, id_ranges
from ctr_keras.features.spelling import Spelling, spellings
from ctr_keras.features.statistics import Statistics, load_statistics
from ctr_keras.settings import did_you_mean, find
from ctr_keras.types import Array, Config

FORMAT_VERSION = 1
_LABEL_OPTIONS = [option.name for option in dataclasses.fields(Label) if option.name != "name"]


class FeatureSet:
    """The features of a data set and its labels, from which everything else derives.

    Args:
        *features: `Categorical`, `Numeric`, `MultiValued`, `Sequence` and `Crossed` declarations.
        label: `Label`, or a list of them for models that predict several: weight, group and sample
            of the rows are declared by the first.
        vocabulary_sizes: dict or None. Number of values in each counted vocabulary. `prepare` fills
            it in; ids and embedding tables need it. Defaults to `None`.
        vocabulary_version: int. One more each time that the vocabularies have grown. Defaults to
            `1`.
        missing: tuple of str. Raw values that mean a missing one, next to `""`, None and NaN; in a
            column of numbers those that are numbers, too. Defaults to `()`.

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
        label: Label | Iterable[Label],
        vocabulary_sizes: Mapping[str, int] | None = None,
        vocabulary_version: int = 1,
        missing: Iterable[str] = (),
    ) -> None:
        for feature in features:
            if not isinstance(feature, Feature):
                hint = "labels go to label=[...]" if isinstance(feature, Label) else "not a feature"
                raise ValueError(
                    f"a FeatureSet takes features and labels. Received: {feature} ({hint})"
                )
        tasks = (label,) if isinstance(label, Label) else tuple(label)
        if not tasks or not all(isinstance(task, Label) for task in tasks):
            raise ValueError(f"label must be a Label, or a list of them. Received: {label!r}")
        self.features = features
        self.tasks = tasks
        check_set(self)
        self.vocabulary_sizes = dict(vocabulary_sizes) if vocabulary_sizes is not None else None
        self.vocabulary_version = vocabulary_version
        if isinstance(missing, str):  # its letters would be the values
            raise ValueError(f"missing must be a list of strings, got {missing!r}")
        self.missing = tuple(missing)
        check_sizes(self)
        self.read: tuple[str, ...] | None = None  # by a model, see `reading`
        self._statistics: Statistics | None = None

    @classmethod
    def from_frame(cls, frame: Frame, label: str | None = None) -> FeatureSet:
        """Features as a look at a frame suggests them, which needs pyarrow.

        Numbers that measure something are put into buckets; other columns are categories, lists or
        parts of times by their values and names. A column that tells nothing, or gives the label
        away, is left out, and a warning says why.

        Args:
            frame: of pandas, polars or pyarrow, or a dict of arrays, with some hundred rows.
            label: str or None. The column of the label. Defaults to `None`: the one that has the
                name of a label, or is the only one of yes and no.

        Raises:
            ValueError: if the label is not clear, naming the columns it may be.

        Example:

        >>> log = {"user": [3, 8, 9, 8, 5] * 24, "price": [0.5, 1.25, 4.0] * 40}
        >>> features = FeatureSet.from_frame({**log, "click": [0, 1, 0, 0] * 30}, label="click")
        >>> features.field_names, features["price"].scale
        (('user', 'price'), 'quantiles')
        """
        try:
            from ctr_keras.features.guessing import columns_of, guess
        except ModuleNotFoundError as error:
            message = f"{error.msg}, which `from_frame` needs: pip install pyarrow"
            raise ModuleNotFoundError(message, name=error.name) from None
        found = guess(columns_of(frame), label)
        if found.left_out:
            reasons = "; ".join(f"{name}: {why}" for name, why in found.left_out.items())
            warnings.warn(f"columns that are no features: {reasons}", stacklevel=2)
        return cls(*found.features, label=found.label.declared, missing=found.missing)

    # The labels.

    @property
    def label(self) -> Label:
        """The only label, or the first of several."""
        return self.tasks[0]

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' columns, in the order of a model's scores."""
        return tuple(task.name for task in self.tasks)

    def with_labels(self, names: Iterable[str]) -> FeatureSet:
        """The same features with some of the labels, for models that learn these alone.

        Weight and group of the rows stay as they are declared.

        Args:
            names: list of str, one at least.

        Raises:
            ValueError: for a label that the set has not, naming it.

        Example:

        >>> features = FeatureSet(Categorical("a"), label=[Label("click"), Label("purchase")])
        >>> features.with_labels(["purchase"]).label_names
        ('purchase',)
        """
        tasks = {task.name: task for task in self.tasks}
        chosen = [find("label", name, tasks) for name in names]
        first = self.label
        chosen[0] = dataclasses.replace(chosen[0], weight=first.weight, group=first.group)
        return self._reduced(self.features, chosen, self.vocabulary_sizes)

    # The declared features, by what a model does with them.

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        names = [feature.name for feature in self.features]
        raise KeyError(f"unknown feature {name!r}{did_you_mean(name, names)}")

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

    @functools.cached_property
    def weights_inputs(self) -> dict[str, MultiValued]:
        """The multi-valued features whose values have weights, by the packed inputs of these."""
        return {f.weights_input: f for f in self.multi_valued if f.weights_input is not None}

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
        fields = (*self.categorical, *self.numeric, *self.multi_valued, *self.crossed)
        return tuple(field for field in fields if self.read is None or field.name in self.read)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of `fields`."""
        return tuple(field.name for field in self.fields)

    @functools.cached_property
    def raw_columns(self) -> dict[str, str]:
        """Name and type (`"string"` or `"float"`) of every column a request carries."""
        return {
            f.raw_column: "float" if isinstance(f, Numeric) else "string"
            for f in self.features
            if not isinstance(f, Crossed)
        }

    @functools.cached_property
    def packed_features(self) -> dict[str, tuple[Feature, ...]]:
        """The features in each packed input: one a column, or the only one of a list or weights."""
        columns: dict[str, tuple[Feature, ...]] = {
            "categorical": self.categorical,
            "numeric": self.numeric,
            "crossed": self.crossed,
        }
        lists: tuple[MultiValued | Sequence, ...] = (*self.multi_valued, *self.sequences)
        columns |= {feature.name: (feature,) for feature in lists}
        columns |= {name: (feature,) for name, feature in self.weights_inputs.items()}
        return {name: members for name, members in columns.items() if members}

    @functools.cached_property
    def id_inputs(self) -> dict[str, tuple[Feature, ...]]:
        """Of `packed_features`, those of ids: not numbers and weights."""
        packed = self.packed_features.items()
        return {n: members for n, members in packed if self.packed_types[n] == "int32"}

    @functools.cached_property
    def packed_types(self) -> dict[str, str]:
        """Type of each packed input: ids are int32, numbers and weights float32."""
        floats = {"numeric", *self.weights_inputs}
        return {name: "float32" if name in floats else "int32" for name in self.packed_features}

    @property
    def packed_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each packed input without the batch."""
        return {
            name: (getattr(members[0], "max_length", len(members)),)
            for name, members in self.packed_features.items()
        }

    @property
    def record_columns(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape without the batch, and dtype, of each column of prepared data but labels."""
        columns = {
            name: (shape, self.packed_types[name]) for name, shape in self.packed_shapes.items()
        }
        if self.label.weight:
            columns[self.label.weight] = ((1,), "float32")
        if self.label.group:
            columns[GROUP] = ((1,), "int32")
        return columns

    def group(self, name: str) -> tuple[Feature, ...]:
        """The features of one group.

        Raises:
            ValueError: if the set has none, naming the group.
        """
        members = tuple(f for f in self.features if f.group == name)
        if not members:
            raise ValueError(
                f"this needs features with group={name!r}, and the feature set has none: "
                f"{', '.join(f.name for f in self.features)}"
            )
        return members

    # Ids.

    @functools.cached_property
    def vocabularies(self) -> tuple[Vocabulary, ...]:
        """All vocabularies in the order of their ids."""
        owners = [f for f in self.features if not isinstance(f, Crossed)] + list(self.crossed)
        return tuple(f.vocabulary for f in owners if f.vocabulary is not None)

    def vocabulary_name(self, feature: Feature) -> str:
        """Name of the vocabulary whose ids `feature` uses."""
        return feature.vocabulary_of or feature.name

    @functools.cached_property
    def id_ranges(self) -> dict[str, range]:
        """Global ids of every vocabulary, its OOV ids first.

        Raises:
            ValueError: if the vocabulary sizes are not known yet.
        """
        if self.vocabulary_sizes is None:
            raise ValueError(
                "the vocabulary sizes of this feature set are not known yet: fit it to a log, as "
                "`features.fit(log)` does, take the features.json that `ctr-keras prepare` wrote, "
                "or pass `vocabulary_sizes`"
            )
        return id_ranges(self.vocabularies, self.vocabulary_sizes)

    @property
    def id_count(self) -> int:
        """Rows of an embedding table for all ids, id 0 included."""
        return 1 + sum(len(ids) for ids in self.id_ranges.values())

    def with_vocabulary_sizes(self, sizes: Mapping[str, int], version: int = 1) -> FeatureSet:
        """The same declaration with its vocabulary sizes filled in."""
        return FeatureSet(
            *self.features,
            label=self.tasks,
            vocabulary_sizes=sizes,
            vocabulary_version=version,
            missing=self.missing,
        )

    def grown_to(self, sizes: Mapping[str, int]) -> FeatureSet:
        """The next version, of these vocabulary sizes; the same if they are those it has."""
        if sizes == self.vocabulary_sizes:
            return self
        return self.with_vocabulary_sizes(sizes, self.vocabulary_version + 1)

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
        return FeatureSet(*self.features, *new, label=self.tasks, missing=self.missing)

    def without_crossed(self) -> FeatureSet:
        """The same features but the crossed ones; all others keep their ids.

        What was packed by the whole set is right for this one, too, with an input more.

        Example:

        >>> features = FeatureSet(
        ...     Categorical("a"), Crossed("a", "b"), Categorical("b"), label=Label("y")
        ... )
        >>> features.without_crossed().field_names
        ('a', 'b')
        """
        if not self.crossed:
            return self
        sizes = self.vocabulary_sizes
        if sizes is not None:
            crossed = {feature.name for feature in self.crossed}
            sizes = {name: size for name, size in sizes.items() if name not in crossed}
        others = [feature for feature in self.features if not isinstance(feature, Crossed)]
        return self._reduced(others, self.tasks, sizes)

    def _reduced(
        self, features: Iterable[Feature], tasks: Iterable[Label], sizes: Mapping[str, int] | None
    ) -> FeatureSet:
        """Some of the features and labels, with the values and the version of this set."""
        reduced = FeatureSet(
            *features,
            label=tasks,
            vocabulary_sizes=sizes,
            vocabulary_version=self.vocabulary_version,
            missing=self.missing,
        )
        reduced._statistics = self._statistics
        if self.read is None:
            return reduced
        return reduced.reading(name for name in self.read if name in reduced.field_names)

    def reading(self, names: Iterable[str]) -> FeatureSet:
        """The same features, of which a model reads these fields and no others.

        All keep their columns and ids: what was packed by the whole set is right for this one.

        Args:
            names: list of str. Fields.

        Raises:
            ValueError: for a name that is no field.

        Example:

        >>> features = FeatureSet(Categorical("a"), Categorical("b"), label=Label("y"))
        >>> features.reading(["b"]).field_names
        ('b',)
        """
        chosen = copy.copy(self)
        chosen.read = tuple(names)
        for name in chosen.read:
            if name not in self.field_names:
                raise ValueError(f"unknown field {name!r}{did_you_mean(name, self.field_names)}")
        return chosen

    # From data frames to packed inputs, without Beam or TensorFlow.

    def fit(self, frame: Frame, *, numbers_of: FeatureSet | None = None) -> FeatureSet:
        """The same declaration fitted to training rows, as `ctr-keras prepare` fits it.

        Vocabularies are counted, numbers measured. `ctr_keras/features/columns.py` says how values
        become strings.

        Args:
            frame: the raw columns by name: a frame of pandas, polars or pyarrow, or a dict of
                arrays or lists. Other columns are left alone.
            numbers_of: FeatureSet or None. A fitted set whose ranges, means, deviations and
                quantiles are kept instead of measured, for numbers that both declare with the same
                scale: `ctr_keras.models.transfer` needs that. Defaults to `None`.

        Returns:
            A FeatureSet with sizes, which can `pack`.

        Raises:
            ValueError: for a column that is missing, or a value that is not what its feature
                takes, naming column and row (from 0), and for a `numbers_of` that is not fitted.

        Example:

        >>> features = FeatureSet(Categorical("site"), Numeric("price"), label=Label("click"))
        >>> features = features.fit({"site": ["a", "b", "a"], "price": [0.5, None, 2]})
        >>> features.vocabulary_sizes
        {'site': 2}
        """
        statistics = packing.fit(self, frame, numbers_of)
        return self.with_vocabulary_sizes(statistics.sizes)._with(statistics)

    def grow(self, frame: Frame) -> FeatureSet:
        """This fitted set and the values that are new in more training rows.

        All values keep their places in their vocabularies. Behind them come those that are in
        none yet and reach `min_count` in these rows, by falling frequency. What was learned of
        numbers stays as it is. A model follows by `ctr_keras.models.transfer`.

        Args:
            frame: as in `fit`.

        Returns:
            A FeatureSet of the next `vocabulary_version`, or of this one if no value is new.

        Raises:
            ValueError: as `fit`, and for a set that is not fitted.

        Example:

        >>> monday = FeatureSet(Categorical("site", min_count=2), label=Label("click"))
        >>> monday = monday.fit({"site": ["b", "a", "b", "a", "c"]})
        >>> tuesday = monday.grow({"site": ["d", "d", "c", "b"]})
        >>> tuesday.statistics.values["site"], tuesday.vocabulary_version
        (('a', 'b', 'd'), 2)
        """
        statistics = packing.grow(self, self.statistics, frame)
        return self.grown_to(statistics.sizes)._with(statistics)

    def pack(self, frame: Frame) -> dict[str, Array]:
        """The packed inputs of a frame's rows, with the ids and numbers that the pipeline gives.

        Args:
            frame: as in `fit`; the label's column may be absent.

        Returns:
            Name to array `(rows, width)`, as in `packed_shapes` and `packed_types`.

        Raises:
            ValueError: as `fit`, and for a set that is not fitted.

        Example:

        >>> features = FeatureSet(Categorical("site"), Numeric("price"), label=Label("click"))
        >>> features = features.fit({"site": ["a", "b", "a"], "price": [0.5, None, 2]})
        >>> packed = features.pack({"site": ["b", "new", ""], "price": [1, 2, None]})
        >>> packed["categorical"].tolist(), packed["numeric"].tolist()
        ([[3], [1], [0]], [[1.0], [2.0], [0.0]])
        """
        return packing.pack(self, self.statistics, frame)

    def labels(self, frame: Frame) -> Array:
        """The labels of a frame's rows.

        Args:
            frame: as in `fit`.

        Returns:
            `(rows, labels)` float32 of 0 and 1.

        Raises:
            ValueError: for another value, naming column and row (from 0).

        Example:

        >>> features = FeatureSet(Categorical("site"), label=Label("click"))
        >>> features.labels({"click": [True, False]}).tolist()
        [[1.0], [0.0]]
        """
        return packing.labels(self, frame)

    @property
    def statistics(self) -> Statistics:
        """The values of the vocabularies and what was learned of numbers.

        Raises:
            ValueError: if the set is not fitted.
        """
        if self._statistics is None:
            raise ValueError(
                "this feature set is not fitted: take what `fit(frame)` returns, or "
                "`FeatureSet.load_fitted` of the folder that `ctr-keras prepare` wrote"
            )
        return self._statistics

    @functools.cached_property
    def spellings(self) -> dict[str, Spelling]:
        """How this fitted set spells whole numbers, True and False that a frame holds, by column.

        Example:

        >>> features = FeatureSet(Categorical("new"), label=Label("click"))
        >>> fitted = features.fit({"new": ["True", "False"]})  # as a CSV file has them
        >>> fitted.pack({"new": ["False", False, True]})["categorical"].ravel().tolist()
        [2, 2, 3]
        """
        return spellings(self)

    def _with(self, statistics: Statistics) -> FeatureSet:
        self._statistics = statistics
        return self

    def save_fitted(self, folder: str | os.PathLike[str]) -> None:
        """Writes `features.json` and what `pack` needs in addition into a folder.

        Example:

        >>> import tempfile
        >>> features = FeatureSet(Categorical("site"), label=Label("click")).fit({"site": ["a"]})
        >>> folder = tempfile.mkdtemp()
        >>> features.save_fitted(folder)
        >>> FeatureSet.load_fitted(folder).pack({"site": ["a"]})["categorical"].tolist()
        [[2]]
        """
        statistics = self.statistics
        os.makedirs(folder, exist_ok=True)
        statistics.save(folder, self.vocabularies)
        self.save(os.path.join(folder, "features.json"))

    @classmethod
    def load_fitted(cls, folder: str | os.PathLike[str]) -> FeatureSet:
        """The fitted set in a folder that `ctr-keras prepare` or `save_fitted` wrote.

        Raises:
            FileNotFoundError: if a file is missing, naming it.
        """
        features = cls.load(os.path.join(folder, "features.json"))
        return features._with(load_statistics(folder, features))

    # On disk.

    def to_dict(self) -> Config:
        """A JSON-ready description, read back by `from_dict`."""
        more = [{"name": task.name, **task.options()} for task in self.tasks[1:]]
        return {
            "version": FORMAT_VERSION,
            "label": self.label.name,
            **self.label.options(),
            **({"more_labels": more} if more else {}),
            "features": [{"kind": f.kind, **dataclasses.asdict(f)} for f in self.features],
            "vocabulary_sizes": self.vocabulary_sizes,
            "vocabulary_version": self.vocabulary_version,
            **({"missing": self.missing} if self.missing else {}),
            **({} if self.read is None else {"read": self.read}),
        }

    @classmethod
    def from_dict(cls, config: Config) -> FeatureSet:
        """The inverse of `to_dict`.

        Raises:
            ValueError: for another version, an unknown kind or key, naming it.
        """
        if config.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"features have format version {config.get('version')!r}; this library reads "
                f"{FORMAT_VERSION}"
            )
        first = Label(config["label"], **{k: config[k] for k in _LABEL_OPTIONS if k in config})
        features = cls(
            *(feature_from_dict(feature) for feature in config["features"]),
            label=[first, *(Label(**task) for task in config.get("more_labels", ()))],
            vocabulary_sizes=config["vocabulary_sizes"],
            vocabulary_version=config.get("vocabulary_version", 1),
            missing=config.get("missing", ()),
        )
        return features if config.get("read") is None else features.reading(config["read"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `features.json`."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2)
            file.write("\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FeatureSet:
        """Reads a `features.json`.

        Raises:
            FileNotFoundError: if it is not there, naming the folder.
            ValueError: if it holds no feature set, naming the file.
        """
        try:
            with open(path, encoding="utf-8") as file:
                return cls.from_dict(json.load(file))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{os.fspath(path)} holds no feature set: {error}") from error
        except FileNotFoundError:
            folder, name = os.path.split(path)
            raise FileNotFoundError(
                f"{os.fspath(folder) or '.'} holds no prepared data: there is no {name}"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSet) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"    {feature!r}," for feature in self.features]
        label = self.label if len(self.tasks) == 1 else [*self.tasks]
        return "\n".join(["FeatureSet(", *lines, f"    label={label!r},", ")"])
