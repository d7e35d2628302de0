"""Data sets that a YAML file declares (see README, "Your own data")."""

import dataclasses
import encodings.aliases
import io
import os
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from ctr_keras.features import FEATURE_KINDS, Crossed, FeatureSet, Label, MultiValued, Sequence
from ctr_keras.settings import (
    SettingError,
    Source,
    TupleOf,
    all_of,
    check_settings,
    did_you_mean,
)
from ctr_keras.types import Settings
from pipeline.datasets.base import Dataset, History, Table
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.json_lines import JsonLines
from pipeline.parsing.parquet import Parquet
from pipeline.splits import ColumnSplit, FileSplit, LastSplit, RandomSplit, Split, TimeSplit
from pipeline.statistics.expectations import Expectation

_SPLITS = {
    "random": RandomSplit,
    "time": TimeSplit,
    "column": ColumnSplit,
    "last": LastSplit,
    "files": FileSplit,
}


@dataclasses.dataclass(frozen=True)
class _File:
    """The keys of the file."""

    source: Mapping[str, Any]
    label: str | Mapping[str, Any] | TupleOf[str | Mapping[str, Any]]
    features: TupleOf[Mapping[str, Any]]
    split: Mapping[str, Any] | None = None
    history: Mapping[str, Any] | None = None
    sample: Mapping[str, Any] | None = None
    weight: str = ""
    group: str = ""
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
class _Sample:
    """The keys below `sample`."""

    negatives: Annotated[float, Field(gt=0, le=1)]

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class _Options:
    """The keys below `source` that all formats have."""

    files: str = ""
    missing: TupleOf[str] = ()

    def __post_init__(self) -> None:
        check_settings(self)


@dataclasses.dataclass(frozen=True)
class _Text(_Options):
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_encoding(self.encoding)


@dataclasses.dataclass(frozen=True)
class _Csv(_Text):
    columns: TupleOf[str] = ()
    header: bool = True
    delimiter: str = ","
    quoted: bool = True
    decimal: Literal[".", ","] = "."

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.columns or self.header):
            raise SettingError("without a header, `columns` must name the columns", "header")
        if not self.delimiter or {*self.delimiter} & {"\n", "\r", '"'}:
            raise SettingError(f"{self.delimiter!r} cannot be a delimiter", "delimiter")
        if self.quoted and len(self.delimiter.encode()) > 1:
            needed = "a delimiter of more than one byte needs `quoted: false`"
            raise SettingError(f"{needed}, got {self.delimiter!r}", "delimiter")


@dataclasses.dataclass(frozen=True)
class _Tsv(_Csv):
    delimiter: str = "\t"
    quoted: bool = False


_FORMATS = {"csv": _Csv, "tsv": _Tsv, "jsonl": _Text, "parquet": _Options}


def _check_encoding(name: str) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except LookupError as error:  # unknown, or no encoding of text
        hint = did_you_mean(name.lower(), ["utf-8", *sorted(encodings.aliases.aliases)])
        raise SettingError(f"unknown encoding {name!r}{hint}", "encoding") from error


def load_dataset(path: str, split: Split | None = None) -> Dataset:
    """The data set that the YAML file at `path` declares, or with another split. A wrong
    declaration is a ValueError with the file and the line."""
    yaml = Source.read(path, more_numbers=False)  # `missing` may have 1e3
    file = yaml.build(_File)
    for key in ("features", "history", "split"):
        if key in yaml.values and not yaml.values[key]:
            raise ValueError(f"{yaml.place(key)}{key} is empty")
    places = [yaml.at("features", i) for i in range(len(file.features))]
    declared = all_of(partial(place.build_one_of, "kind", FEATURE_KINDS) for place in places)
    labels = _labels(yaml, file)
    options = yaml.at("source").build_one_of("format", _FORMATS)
    with yaml.located():
        features = FeatureSet(*declared, label=labels, missing=options.missing)
    if split is None:
        declares = file.split is not None
        split = yaml.at("split").build_one_of("by", _SPLITS, "split") if declares else RandomSplit()
    history = yaml.at("history").build(History) if file.history else None
    expect = _expectations(yaml, features) if file.expect else {}
    table = _table(options, features, tuple(sorted(_needed_columns(features, split, history))))
    name = os.path.splitext(os.path.basename(path))[0]
    return Dataset(name, features, table, options.files, split, history, expect)


def _labels(yaml: Source, file: _File) -> list[Label]:
    """The labels; the first one has what is declared of the rows."""
    kept = yaml.at("sample").build(_Sample).negatives if file.sample is not None else 1.0
    of_rows = {"weight": file.weight, "group": file.group, "negatives_kept": kept}
    if not isinstance(file.label, tuple):
        return [_label(yaml, file.label, ("label",), of_rows)]
    if not file.label:
        raise ValueError(f"{yaml.place('label')}label is empty")
    places = [("label", index) for index in range(len(file.label))]
    return [
        _label(yaml, declared, place, {} if index else of_rows)
        for index, (declared, place) in enumerate(zip(file.label, places, strict=True))
    ]


def _label(
    yaml: Source, declared: str | Mapping[str, Any], place: tuple[Any, ...], of_rows: Settings
) -> Label:
    is_name = isinstance(declared, str)
    keys = _Label(str(declared)) if is_name else yaml.at(*place).build(_Label)
    with yaml.located(*place):
        return Label(keys.column, positive=keys.positive, negative=keys.negative, **of_rows)


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
    of_rows = filter(None, (label.weight, label.group))
    needed = {*features.raw_columns, *features.label_names, *of_rows}
    if history:
        needed = needed - {history.column} | {history.user, history.item, history.time}
    if isinstance(split, TimeSplit | ColumnSplit):
        needed.add(split.column)
    if isinstance(split, LastSplit):
        needed |= {split.user, split.time}
    if isinstance(split, RandomSplit) and split.key:
        needed.add(split.key)
    return needed


def _table(options: _Options, features: FeatureSet, columns: tuple[str, ...]) -> Table:
    if isinstance(options, _Csv):
        return Delimited(
            columns,
            options.delimiter,
            options.quoted,
            options.header,
            options.columns,
            options.encoding,
            options.decimal,
        )
    lists = (f for f in features.features if isinstance(f, MultiValued | Sequence))
    separators = tuple((f.raw_column, f.separator) for f in lists)
    weighted = ((f.raw_column, f.weight_separator) for f in features.multi_valued)
    of_weights = tuple((column, separator) for column, separator in weighted if separator)
    if isinstance(options, _Text):
        return JsonLines(columns, separators, options.encoding, of_weights)
    return Parquet(columns, separators, of_weights)
