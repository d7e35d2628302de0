"""Data sets that a YAML file declares (see README, "Your own data")."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from ctr_keras.features import FEATURE_KINDS, FeatureSet, Label, MultiValued, Sequence
from ctr_keras.settings import SettingError, Source, TupleOf, check_settings, did_you_mean
from pipeline.datasets.base import Dataset, History
from pipeline.parsing.delimited import Delimited, header_names
from pipeline.parsing.parquet import Parquet
from pipeline.sources import MAX_LINE_BYTES, find_files, open_source
from pipeline.splits import FileSplit, RandomSplit, Split, TimeSplit

_SPLITS: dict[str, Callable[..., Split]] = {
    "random": RandomSplit,
    "time": TimeSplit,
    "files": FileSplit,
}


@dataclasses.dataclass(frozen=True)
class _File:
    """The keys of the file."""

    source: Mapping[str, Any]
    label: str
    features: TupleOf[Mapping[str, Any]]
    split: Mapping[str, Any] | None = None
    history: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class _Csv:
    """The keys below `source`."""

    files: str = ""
    missing: TupleOf[str] = ()
    columns: TupleOf[str] = ()
    header: bool = True
    delimiter: str = ","
    quoted: bool = True

    def __post_init__(self) -> None:
        check_settings(self)

    def table(
        self, features: FeatureSet, needed: set[str], first_file: Callable[[], str]
    ) -> Delimited:
        """The table; a header names the columns, if there is one."""
        del features, needed
        if not self.columns and not self.header:
            raise SettingError("without a header, `columns` must name the columns", "header")
        columns = self.columns or _read_header(first_file(), self.delimiter)
        return Delimited(columns, self.delimiter, self.quoted, self.header)


@dataclasses.dataclass(frozen=True)
class _Tsv(_Csv):
    delimiter: str = "\t"
    quoted: bool = False


@dataclasses.dataclass(frozen=True)
class _Parquet:
    files: str = ""
    missing: TupleOf[str] = ()

    def __post_init__(self) -> None:
        check_settings(self)

    def table(
        self, features: FeatureSet, needed: set[str], first_file: Callable[[], str]
    ) -> Parquet:
        """The table of the columns that are needed."""
        del first_file
        lists = (f for f in features.features if isinstance(f, MultiValued | Sequence))
        separators = tuple((f.raw_column, f.separator) for f in lists)
        return Parquet(tuple(sorted(needed)), separators)


_FORMATS: dict[str, Callable[..., _Csv | _Parquet]] = {
    "csv": _Csv,
    "tsv": _Tsv,
    "parquet": _Parquet,
}


def load_dataset(path: str, source: str) -> Dataset:
    """Reads a data set's declaration.

    Args:
        path: str. The YAML file.
        source: str. Where the data are: a header, if there is one, names the columns.

    Returns:
        The `pipeline.datasets.base.Dataset`.

    Raises:
        ValueError: for an unknown, wrong or contradictory key, with the file, the line and what it
            has.
    """
    yaml = Source.read(path)
    file = yaml.build(_File)
    declared = [
        yaml.at("features", i).build_one_of("kind", FEATURE_KINDS)
        for i in range(len(file.features))
    ]
    with yaml.located("features"):
        features = FeatureSet(*declared, label=Label(file.label))
    split = yaml.at("split").build_one_of("by", _SPLITS, "split") if file.split else RandomSplit()
    history = yaml.at("history").build(History) if file.history else None
    options = yaml.at("source").build_one_of("format", _FORMATS)

    needed = _needed_columns(features, split, history)
    pattern = options.files or (split.train if isinstance(split, FileSplit) else "")
    with yaml.located("source"):
        table = options.table(features, needed, lambda: find_files(source, pattern)[0][0])
    for column in sorted(needed.difference(table.columns)):
        hint = did_you_mean(column, table.columns)
        raise ValueError(f"{yaml.place('source')}the source has no column {column!r}{hint}")
    name = os.path.splitext(os.path.basename(path))[0]
    return Dataset(name, features, table, options.files, split, history, options.missing)


def _needed_columns(features: FeatureSet, split: Split, history: History | None) -> set[str]:
    """The columns that the source must have."""
    needed = {*features.raw_columns, features.label.name}
    if history:
        needed = needed - {history.column} | {history.user, history.item, history.time}
    if isinstance(split, TimeSplit):
        needed.add(split.column)
    return needed


def _read_header(path: str, delimiter: str) -> tuple[str, ...]:
    with open_source(path) as file:
        line = file.read(MAX_LINE_BYTES).split(b"\n")[0]
    return header_names(line.removesuffix(b"\r"), delimiter)
