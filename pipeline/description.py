"""What decides a prepared data set: the whole declaration, and the files that are read."""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ctr_keras import files
from pipeline.datasets.base import Dataset
from pipeline.sources import SourceFile, name_below


def describe(dataset: Dataset, source: str, found: Iterable[SourceFile]) -> dict[str, Any]:
    """A declaration and the files found of its source, for `report.json`: equal ones, equal data.

    Sizes and times stand for what is in a file, which would take long to read.
    """
    features = dataset.features.to_dict()
    by_name = {f"feature {_feature_name(feature)}": feature for feature in features.pop("features")}
    others = {
        field.name: _plain(getattr(dataset, field.name))
        for field in dataclasses.fields(dataset)
        if field.name not in ("name", "features", "expect")  # which changes no data
    }
    described = {**features, **by_name, "order of features": list(by_name), **others}
    described["files"] = _describe_files(source, found, dataset.side_files(source))
    return dict(json.loads(json.dumps(described)))  # as it is read back


def _feature_name(feature: Mapping[str, Any]) -> str:
    return str(feature.get("name") or f"{feature['first']} x {feature['second']}")


def _plain(part: Any) -> Any:
    """A dataclass as a dict that also tells its kind; anything else as it is."""
    if not dataclasses.is_dataclass(part):
        return part
    return {"kind": type(part).__name__, **dataclasses.asdict(part)}  # type: ignore[arg-type]


def _describe_files(
    source: str, found: Iterable[SourceFile], side_files: Iterable[str]
) -> dict[str, Any]:
    paths = [*side_files]
    states = {}
    for file in found:
        if ".zip!" in file.path:
            paths.append(file.path)
        else:
            states[file.path] = (file.size, file.modified)
    for path in {re.sub(r"\.zip!.*", ".zip", path) for path in paths}:
        states |= {file.path: (file.size, file.modified) for file in files.find(path)}
    return {
        name_below(source, path): {"bytes": size, "modified": modified}
        for path, (size, modified) in sorted(states.items())
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first difference between two descriptions, in words; None if there is none.

    Example:

    >>> difference({"table": {"delimiter": ","}}, {"table": {"delimiter": ";"}})
    "delimiter of table was ',' and is ';'"
    >>> difference({"files": {}}, {"files": {"a.csv": {"bytes": 3}, "b.csv": {"bytes": 5}}})
    '2 files were added'
    """
    return next(_changed(before, now), None)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> Iterator[str]:
    for key in {**before, **now}:
        was, value = before.get(key), now.get(key)
        if was == value:
            continue
        if key == "files" and not of:
            yield " and ".join(_changed_files(was or {}, value or {}))
        elif isinstance(was, Mapping) and isinstance(value, Mapping):
            yield from _changed(was, value, f" of {key}")
        elif isinstance(was, Mapping) or isinstance(value, Mapping):
            yield f"{key} was {'added' if was is None else 'removed'}"
        else:
            yield f"{key}{of} was {was!r} and is {value!r}"


def _changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    groups = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "changed": [name for name in before if name in now and now[name] != before[name]],
    }
    for what, names in groups.items():
        if names:
            name = "the source" if names == ["."] else f"file {names[0]}"
            who = f"{name} was" if len(names) == 1 else f"{len(names)} files were"
            yield f"{who} {what}"
