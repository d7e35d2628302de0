"""Data sets that a YAML file declares (see README, "Your own data")."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from ctr_keras.features import FEATURE_KINDS, Crossed, FeatureSet, Label, MultiValued, Sequence
from ctr_keras.settings import SettingError, Source, TupleOf, check_settings, did_you_mean
from pipeline.datasets.base import Dataset, History
from pipeline.parsing.delimited import Delimited, header_names
from pipeline.parsing.parquet import Parquet
from pipeline.sources import MAX_LINE_BYTES, find_files, open_source
from pipeline.splits import ColumnSplit, FileSplit, RandomSplit, Split, TimeSplit
from pipeline.statistics.expectations import Expectation

_SPLITS = {
    "random": RandomSplit,
    "time": TimeSplit,
    "column": ColumnSplit,
    "files": FileSplit,
}


@dataclasses.dataclass(frozen=True)
class _File:
    """The keys of the file."""

    source: Mapping[str, Any]
    label: str | Mapping[str, Any]
    features: TupleOf[Mapping[str, Any]]
    split: Mapping[str, Any] | None = None
    history: Mapping[str, Any] | None = None
    weight: str = ""
    expect: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class _Label:
    """The keys below `label`."""

    column: str
    positive: Any = ()
    negative: Any = ()


@dataclasses.dataclass(frozen=True)
class _Options:
    """The keys below `source`; Parquet has no others."""

    files: str = ""
    missing: TupleOf[str] = ()

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class _Csv(_Options):
    columns: TupleOf[str] = ()
    header: bool = True
    delimiter: str = ","
    quoted: bool = True


@dataclasses.dataclass(frozen=True)
class _Tsv(_Csv):
    delimiter: str = "\t"
    quoted: bool = False


_FORMATS = {"csv": _Csv, "tsv": _Tsv, "parquet": _Options}


def load_dataset(path: str, source: str) -> Dataset:
    """The data set that the YAML file at `path` declares. A header in the source, if there is one,
    names the columns. A wrong declaration is a ValueError with the file and the line."""
    yaml = Source.read(path, more_numbers=False)  # `missing` may have 1e3
    file = yaml.build(_File)
    places = (yaml.at("features", i) for i in range(len(file.features)))
    declared = [place.build_one_of("kind", FEATURE_KINDS) for place in places]
    label = _label(yaml, file)
    with yaml.located("features"):
        features = FeatureSet(*declared, label=label)
    split = yaml.at("split").build_one_of("by", _SPLITS, "split") if file.split else RandomSplit()
    history = yaml.at("history").build(History) if file.history else None
    expect = _expectations(yaml, features) if file.expect else {}
    options = yaml.at("source").build_one_of("format", _FORMATS)

    needed = _needed_columns(features, split, history)
    with yaml.located("source"):
        table = _table(options, source, features, split, needed)
    for column in sorted(needed.difference(table.columns)):
        hint = did_you_mean(column, table.columns)
        raise ValueError(f"{yaml.place('source')}the source has no column {column!r}{hint}")
    name = os.path.splitext(os.path.basename(path))[0]
    return Dataset(name, features, table, options.files, split, history, options.missing, expect)


def _label(yaml: Source, file: _File) -> Label:
    is_name = isinstance(file.label, str)
    keys = _Label(str(file.label)) if is_name else yaml.at("label").build(_Label)
    with yaml.located("label"):
        return Label(keys.column, file.weight, keys.positive, keys.negative)


def _expectations(yaml: Source, features: FeatureSet) -> dict[str, Expectation]:
    names = [feature.name for feature in features.features if not isinstance(feature, Crossed)]
    for name in yaml.at("expect").values:
        if name not in names:
            place = yaml.place("expect", name)
            raise ValueError(f"{place}there is no feature {name!r}{did_you_mean(name, names)}")
    return {name: yaml.at("expect", name).build(Expectation) for name in yaml.values["expect"]}


def _needed_columns(features: FeatureSet, split: Split, history: History | None) -> set[str]:
    """The columns that the source must have."""
    label = features.label
    needed = {*features.raw_columns, *filter(None, (label.name, label.weight))}
    if history:
        needed = needed - {history.column} | {history.user, history.item, history.time}
    if isinstance(split, TimeSplit | ColumnSplit):
        needed.add(split.column)
    if isinstance(split, RandomSplit) and split.key:
        needed.add(split.key)
    return needed


def _table(
    options: _Options, source: str, features: FeatureSet, split: Split, needed: set[str]
) -> Delimited | Parquet:
    if not isinstance(options, _Csv):
        lists = (f for f in features.features if isinstance(f, MultiValued | Sequence))
        separators = tuple((f.raw_column, f.separator) for f in lists)
        return Parquet(tuple(sorted(needed)), separators)
    columns = options.columns
    if not columns and not options.header:
        raise SettingError("without a header, `columns` must name the columns", "header")
    if not columns:
        pattern = options.files or (split.train if isinstance(split, FileSplit) else "")
        with open_source(find_files(source, pattern)[0][0]) as file:
            header = file.read(MAX_LINE_BYTES).split(b"\n")[0].removesuffix(b"\r")
        columns = header_names(header, options.delimiter)
    return Delimited(columns, options.delimiter, options.quoted, options.header)
