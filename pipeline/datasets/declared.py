"""Data sets that a YAML file declares (see README, "Your own data")."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ctr_keras.features import FeatureSet, Label, MultiValued, Sequence, feature_from_dict
from pipeline.datasets.base import Dataset, History
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.parquet import Parquet
from pipeline.sources import find_files, open_source
from pipeline.splits import FileSplit, RandomSplit, TimeSplit

_SPLITS = {"random": RandomSplit, "time": TimeSplit, "files": FileSplit}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def load_dataset(path: str, source: str) -> Dataset:
    """Reads a data set's declaration.

    Args:
        path: str. The YAML file.
        source: str. Where the data are: a header, if there is one, names the columns.

    Raises:
        ValueError: for an unknown or contradictory key, naming file and key.
    """
    with open(path, encoding="utf-8") as file:
        config = yaml.safe_load(file)
    try:
        return _dataset(os.path.splitext(os.path.basename(path))[0], config, source)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _dataset(name: str, config: Any, source: str) -> Dataset:
    _check_keys("the file", config, ("source", "label", "features", "split", "history"))
    for key in ("source", "label", "features"):
        if key not in config:
            raise ValueError(f"there is no key {key!r}")
    features = FeatureSet(
        *(feature_from_dict(feature) for feature in config["features"]),
        label=Label(config["label"]),
    )
    history = _build(History, "history", config["history"]) if "history" in config else None
    split = dict(config.get("split", {"by": "random"}))
    kind = split.pop("by", None)
    if kind not in _SPLITS:
        raise ValueError(f"split: `by` must be one of {', '.join(_SPLITS)}. Received: {kind!r}")
    options = config["source"]
    pattern = options.get("files", "") if isinstance(options, Mapping) else ""
    declared_split = _build(_SPLITS[kind], "split", split)
    needed = {*features.raw_columns, features.label.name} - {history.column if history else ""}
    if history:
        needed |= {history.user, history.item, history.time}
    if isinstance(declared_split, TimeSplit):
        needed.add(declared_split.column)
    first = pattern or (declared_split.train if isinstance(declared_split, FileSplit) else "")
    table = _table(options, features, sorted(needed), source, first)
    missing = needed - set(table.columns)
    if missing:
        raise ValueError(
            f"the source has no column {', '.join(sorted(missing))}. It has: "
            f"{', '.join(table.columns)}"
        )
    return Dataset(
        name,
        features,
        table,
        pattern,
        declared_split,
        history,
        tuple(options.get("missing", ())),
    )


def _table(
    options: Any, features: FeatureSet, needed: list[str], source: str, pattern: str
) -> Delimited | Parquet:
    known = ("format", "files", "missing", "columns", "header", "delimiter", "quoted")
    _check_keys("source", options, known)
    kind = options.get("format")
    if kind == "parquet":
        _check_keys("source with format: parquet", options, ("format", "files", "missing"))
        lists = (f for f in features.features if isinstance(f, MultiValued | Sequence))
        separators = tuple((f.column or f.name, f.separator) for f in lists)
        return Parquet(tuple(needed), separators)
    if kind not in _DELIMITERS:
        raise ValueError(f"source: format must be csv, tsv or parquet. Received: {kind!r}")
    header = options.get("header", True)
    delimiter = options.get("delimiter", _DELIMITERS[kind])
    quoted = options.get("quoted", kind == "csv")
    if "columns" in options:
        columns = tuple(options["columns"])
    elif header:
        columns = _read_header(find_files(source, pattern)[0][0], delimiter)
    else:
        raise ValueError("source: without a header, `columns` must name the columns")
    return Delimited(columns, delimiter, quoted, header)


def _read_header(path: str, delimiter: str) -> tuple[str, ...]:
    with open_source(path) as file:
        line = file.read(2**16).split(b"\n")[0].decode("utf-8", "backslashreplace")
    names = line.rstrip("\r").removeprefix("\ufeff").split(delimiter)
    return tuple(name.strip('"') for name in names)


def _build(kind: type, name: str, arguments: Mapping[str, Any]) -> Any:
    _check_keys(name, arguments, [field.name for field in dataclasses.fields(kind)])
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def _check_keys(place: str, config: Any, known: Iterable[str]) -> None:
    if not isinstance(config, Mapping):
        raise ValueError(f"{place}: expected keys and values. Received: {config!r}")
    known = tuple(known)
    for key in config:
        if key not in known:
            raise ValueError(f"{place}: unknown key {key!r}; known: {', '.join(known)}")
