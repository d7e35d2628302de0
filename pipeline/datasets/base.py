"""What a data set is: files, a table format, features, a label and a split."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features import GROUP, Categorical, Crossed, FeatureSet, Label
from ctr_keras.features.hashing import group_numbers
from ctr_keras.features.labels import is_positive, remedy
from ctr_keras.features.times import read_time
from ctr_keras.settings import Count, check_settings
from ctr_keras.types import Array
from pipeline.block import Block, mask
from pipeline.counts import TIME, USER
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.json_lines import JsonLines
from pipeline.parsing.parquet import Parquet
from pipeline.parsing.weights import check_weights
from pipeline.sources import SourceFile, find_files
from pipeline.splits import FileSplit, LastSplit, RandomSplit, Split, TimeSplit
from pipeline.statistics.expectations import Expectation

Table: TypeAlias = Delimited | JsonLines | Parquet


@dataclasses.dataclass(frozen=True)
class History:
    """Gives every row the earlier items of its user, as a string for a `Sequence` feature.

    Args:
        column: name of the new column.
        user, item, time: source columns. Times are compared as numbers; rows of one time keep the
            order of the file.
        max_length: number of most recent items kept.
        separator: what joins the items.
    """

    column: str
    user: str
    item: str
    time: str
    max_length: Count = 30
    separator: str = " "

    def __post_init__(self) -> None:
        check_settings(self)


def with_crosses(features: FeatureSet, min_count: int) -> FeatureSet:
    """The features, and the values of every pair of categories as one.

    Args:
        features: FeatureSet.
        min_count: int. Of each `Crossed`.
    """
    names = [feature.name for feature in features.categorical]
    crosses = (Crossed(*pair, min_count=min_count) for pair in itertools.combinations(names, 2))
    declared = (*features.features, *crosses)
    return FeatureSet(*declared, label=features.tasks, missing=features.missing)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A declared data set. A subclass overrides `derive` and `label` where its columns need it.

    Args:
        name: str.
        features: FeatureSet. Its labels name the source's label columns.
        table: Delimited, JsonLines or Parquet.
        pattern: files below the source; empty for the source itself. Unused with `FileSplit`.
        split: RandomSplit, TimeSplit or FileSplit.
        history: History or None.
        expect: Expectation by name of a feature.
    """

    name: str
    features: FeatureSet
    table: Table
    pattern: str = ""
    split: Split = RandomSplit()  # noqa: RUF009 (frozen)
    history: History | None = None
    expect: Mapping[str, Expectation] = dataclasses.field(default_factory=dict)
    filter_rule: ClassVar[str] = "no rule"  # what is true of the rows that `label` filters

    @property
    def missing(self) -> tuple[str, ...]:
        """Strings that mean a missing value, next to the empty one."""
        return self.features.missing

    def files(self, source: str) -> list[SourceFile]:
        """The source's files. Each call lists it anew, which takes its time on an object store.

        Raises:
            FileNotFoundError: if a file is missing, naming it.
            ValueError: if a file belongs to two splits.
        """
        if not isinstance(self.split, FileSplit):
            return find_files(source, self.pattern)
        files: dict[str, SourceFile] = {}
        for split, pattern in self.split.patterns.items():
            for file in find_files(source, pattern, split):
                if earlier := files.get(file.path):
                    raise ValueError(
                        f"{file.path} cannot be for {earlier.split} and for {split}, too"
                    )
                files[file.path] = file
        return list(files.values())

    def side_files(self, source: str) -> list[str]:
        """Paths of the files that are read next to those of `files`."""
        del source
        return []

    def derive(self, block: Block, source: str) -> dict[str, pa.Array]:
        """The columns of `features` and the label's, from the columns of the file.

        Only joins and cuts bytes: what a value means is the transform's matter.
        """
        del source
        return block.columns

    def label(self, block: Block, columns: dict[str, pa.Array]) -> Array:
        """(rows,) float32 values of the first label; NaN filters a row by the rule `filter_rule`.
        May reject rows."""
        return self._label(self.features.label, block, columns)

    def _label(self, label: Label, block: Block, columns: dict[str, pa.Array]) -> Array:
        values = pc.fill_null(columns[label.name], "")
        coded = values.dictionary_encode()
        names = coded.dictionary.to_pylist()
        read = [is_positive(label, "" if name in self.missing else name) for name in names]
        labels: Array = np.array(read, np.float32)[coded.indices]  # None is NaN
        is_missing = mask(pc.is_in(values, pa.array(["", *self.missing])))
        is_bad = np.isnan(labels)
        block.reject(is_bad & is_missing, f"label {label.name} is missing")
        block.reject_values(is_bad, values, f"label {label.name} is {{}}, {remedy(label)}")
        return labels

    def parse(self, block: Block, source: str) -> tuple[dict[str, pa.Array], Array]:
        """Raw columns, weights and further labels, typed as declared, and the first label. Rejects
        rows with a bad value."""
        columns = self.derive(block, source)
        label = self.label(block, columns)
        made = self.history.column if self.history else None
        there = [name for name in self.features.raw_columns if name != made]
        raw = {name: self._typed(block, name, columns[name]) for name in there}
        if weight := self.features.label.weight:
            raw[weight] = self._weights(block, weight, columns[weight])
        if group := self.features.label.group:
            raw[GROUP] = self._groups(columns[group])
        for task in self.features.tasks[1:]:
            raw[task.name] = pa.array(self._label(task, block, columns))
        return raw, label

    @property
    def scored_columns(self) -> tuple[str, ...]:
        """The columns of a file from which `scored` makes those of the features."""
        return tuple(self.features.raw_columns)

    def scored(self, block: Block, source: str) -> dict[str, pa.Array]:
        """The raw columns of rows without a label, as requests carry them: `parse` without what
        only training needs. Rejects rows with a bad value."""
        columns = self.derive(block, source)
        return {name: self._typed(block, name, columns[name]) for name in self.features.raw_columns}

    @property
    def user_column(self) -> str:
        """The column that says whose a row is, as far as it is known."""
        split = self.split
        of_split = split.key if isinstance(split, RandomSplit) else getattr(split, "user", "")
        of_history = self.history.user if self.history else ""
        return self.features.label.group or of_split or of_history

    @property
    def time_column(self) -> tuple[str, str]:
        """The column of times, as far as it is known, and the zone on whose clock they are."""
        if isinstance(self.split, TimeSplit) and self.split.is_of_times:
            return self.split.column, self.split.zone
        features = (f for f in self.features.features if isinstance(f, Categorical))
        timed = [(f.raw_column, f.zone) for f in features if f.time_part]
        ordered = self.split if isinstance(self.split, LastSplit) else self.history
        return timed[0] if timed else (ordered.time if ordered else "", "UTC")

    def known_of(self, block: Block) -> dict[str, pa.Array]:
        """What the report says of rows beside features: `USER` numbers, 0 where missing, and `TIME`
        in seconds since 1970, NaN where it is none."""
        known = {}
        if self.user_column in block.columns:
            known[USER] = self._groups(block.columns[self.user_column])
        column, zone = self.time_column
        if column in block.columns:
            coded = pc.fill_null(block.columns[column], "").dictionary_encode()
            times = [read_time(value, zone) for value in coded.dictionary.to_pylist()]
            seconds = np.array([time.seconds if time else np.nan for time in times])
            known[TIME] = pa.array(seconds.astype(np.float64)[coded.indices])
        return known

    def _typed(self, block: Block, name: str, strings: pa.Array) -> pa.Array:
        """A raw column as declared, strings or float32; "" and NaN where a value is missing."""
        if self.missing:
            strings = pc.if_else(pc.is_in(strings, pa.array(self.missing)), "", strings)
        strings = pc.fill_null(strings, "")
        for feature in self.features.weights_inputs.values():
            if feature.raw_column == name:
                check_weights(block, feature, strings)
        is_float = self.features.raw_columns[name] == "float"
        return block.numbers(name, strings, pa.float32()) if is_float else strings

    def _groups(self, strings: pa.Array) -> pa.Array:
        """(rows,) int64 numbers, 0 where the group is missing."""
        coded = pc.fill_null(strings, "").dictionary_encode()
        numbers = group_numbers(coded.dictionary.to_pylist())
        numbers[mask(pc.is_in(coded.dictionary, pa.array(["", *self.missing])))] = 0
        return pa.array(numbers[coded.indices])

    def _weights(self, block: Block, name: str, strings: pa.Array) -> pa.Array:
        """(rows,) float32 weights. Rejects rows without one, or with one below 0."""
        weights = block.numbers(name, pc.fill_null(strings, ""), pa.float32())
        is_weight = pc.fill_null(pc.greater_equal(weights, 0.0), False)
        block.reject(~mask(is_weight), f"weight {name} is not a number of at least 0")
        return weights
