"""The declaration that a look at a log suggests, as YAML with comments."""

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import yaml

from ctr_keras.features import FeatureSet, Label
from ctr_keras.features.declarations import PACKED_INPUTS, feature_from_dict
from pipeline.guessing import splits
from pipeline.guessing.files import find_paths, names_below
from pipeline.guessing.labels import FoundLabel, find_label, information, is_named_label, twins
from pipeline.guessing.names import group as group_of
from pipeline.guessing.profiles import Profile, profile
from pipeline.guessing.samples import Sample, sample_files, sample_frame

_LEAKS, _TELLS = 0.8, 0.5  # shares of what there is to know about the label
_NEARLY_ALWAYS = 0.95
_MANY, _OFTEN_ONCE = 1000, 0.3  # values; the share of them that one row has
_MAX_LIST = 50


@dataclasses.dataclass(frozen=True)
class Declaration:
    """A declaration that was guessed.

    Attributes:
        text: str. The YAML file.
        features: FeatureSet. What it declares.
    """

    text: str
    features: FeatureSet


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What the file says of one column: features, or why it has none."""

    features: list[dict[str, Any]]
    comment: str
    left_out: str = ""


def guess(source: Any, label: str | None = None, columns: Sequence[str] = ()) -> Declaration:
    """Looks at a sample of a log, or at a frame, and declares it as a data set.

    Args:
        source: str or frame. CSV, TSV, JSON lines or Parquet: a file, a folder or a pattern, on any
            Beam file system; or a frame of pandas, polars or pyarrow, or whatever has
            `__arrow_c_stream__`.
        label: str or None. The column of the label. Defaults to `None`: the one that has the name
            of a label, or is the only one of yes and no.
        columns: sequence of str. Names of all columns of CSV or TSV in their order, for files
            without a header; or instead of those in it. Defaults to `()`.

    Returns:
        A Declaration.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: for a source that is no table, for another number of `columns`, and if the label
            is not clear, naming the columns it may be.

    Example:

    >>> log = {"user": [3, 8, 9, 8, 5] * 24, "price": [0.5, 1.25, 4.0] * 40}
    >>> declared = guess({**log, "click": [0, 1, 0, 0] * 30})
    >>> declared.features.label.name, declared.features.field_names
    ('click', ('user', 'price'))
    """
    if not isinstance(source, str):
        if columns:
            raise ValueError("a frame has names of columns: rename them in it")
        return _declare(sample_frame(source), "a frame", label)
    paths = find_paths(source)
    # Patterns of a split are below a folder.
    names = names_below(source, paths) if os.path.isdir(source) else paths
    found = splits.by_files(names)
    if not os.path.isdir(source) or found is None:
        return _declare(sample_files(paths, columns), source, label)
    split, used = found
    of_splits = [path for path, name in zip(paths, names, strict=True) if name in used]
    return _declare(sample_files(of_splits, columns), source, label, split)


def write_declaration(
    source: str,
    out: str,
    label: str | None = None,
    columns: Sequence[str] = (),
    force: bool = False,
) -> str:
    """Writes the declaration of a log to a YAML file.

    Args:
        source: str. As in `guess`.
        out: str. The file.
        label: str or None. As in `guess`.
        columns: sequence of str. As in `guess`.
        force: bool. Whether an existing file is replaced. Defaults to `False`.

    Returns:
        The text of the file.

    Raises:
        FileExistsError: if there is such a file.
        ValueError: as `guess`.
    """
    if os.path.lexists(out) and not force:
        raise FileExistsError(f"{out} exists; choose another name or say --force")
    folder = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    text = guess(source, label, columns).text
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)
    return text


def _declare(
    sample: Sample, source: str, asked: str | None, split: dict[str, Any] | None = None
) -> Declaration:
    profiles = {name: profile(name, column) for name, column in sample.columns.items()}
    label = find_label(profiles, asked, sample.settings.get("header", True))
    entries = _entries(profiles, label)
    declared = [feature for entry in entries.values() for feature in entry.features]
    if not declared:
        raise ValueError(f"{source}: no column but the label says anything")
    features = FeatureSet(*map(feature_from_dict, declared), label=Label(label.name))
    lines = [
        *_header(sample, source),
        *_source_section(sample.settings, profiles),
        f"label: {_flow(label.setting)}  # positive in {label.is_click.mean():.2%} of the rows",
        "features:",
        *_feature_lines(entries),
        *_split_lines(split, profiles, entries, label),
    ]
    return Declaration("\n".join(lines) + "\n", features)


# Features.


def _entries(profiles: Mapping[str, Profile], label: FoundLabel) -> dict[str, _Entry]:
    others = [found for name, found in profiles.items() if name != label.name]
    doubles = twins([found for found in others if not found.is_unique])
    shares = {found.name: information(found, label.is_click) for found in others}
    why = {f.name: _why_not(f, shares[f.name], doubles.get(f.name)) for f in others}
    kept = [found for found in others if not why[found.name]]
    names = _names(profiles)
    entries: dict[str, _Entry] = {}
    for found in others:
        if why[found.name]:
            entries[found.name] = _Entry([], "", why[found.name])
            continue
        comment = _describe(found)
        if shares[found.name] > _TELLS:
            share = f"{shares[found.name]:.0%}"
            comment += f"; tells {share} of the label: is it known before the click?"
        entries[found.name] = _Entry(list(_features(found, kept, names)), comment)
    return entries


def _why_not(found: Profile, share: float, twin: str | None) -> str:
    """Why a column should be no feature."""
    if not found.present:
        return "no value that a feature could take"
    if found.is_bracketed:
        return "lists in brackets: write their values with a separator, as in a|b|c"
    if found.is_unread_time:
        return "times that may be read in two ways: write them as 2024-01-31 12:00:00"
    if found.unread_number:
        return found.unread_number
    if is_named_label(found):
        return "has the name of a label, too; to learn both, give `label` a list of them"
    if share > _LEAKS:
        return f"gives the label away: tells {share:.0%} of it"
    if found.distinct == 1 and not found.missing_share:
        return f"always {found.values[0][:40]!r}"
    if found.missing_share > _NEARLY_ALWAYS:
        return f"missing in {found.missing_share:.1%} of the rows"
    if found.kind == "category" and found.is_unique:
        return "another value in nearly every row"
    if found.kind == "time" and not splits.time_parts(found):
        return "no hour or weekday comes again"
    if found.kind == "text":
        return "text, another one in nearly every row"
    return f"says the same as {_flow(twin)}" if twin else ""


def _features(
    found: Profile, kept: Sequence[Profile], names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    name = names[found.name]
    column = {} if name == found.name else {"column": found.name}
    of_group = group_of(found.name)
    group = {"group": of_group} if of_group else {}
    if found.kind == "number":
        buckets = min(20, max(found.distinct // 2, 2))
        scale = {"scale": "quantiles", "buckets": buckets}
        yield {"kind": "numeric", "name": name, **column, **scale, **group}
    elif found.kind == "time":
        others = [other for other in kept if other is not found]
        has_others = any(other.kind == "time" for other in others)
        for part in splits.time_parts(found):
            is_taken = has_others or any(names[other.name] == part for other in others)
            of = {"column": found.name, "time_part": part}
            named = f"{name}_{part}" if is_taken else part
            yield {"kind": "categorical", "name": named, **of, "group": "context"}
    elif found.kind == "list":
        lengths = pc.add(pc.count_substring(found.strings, found.separator), 1)
        longest = int(np.ceil(pc.quantile(lengths, 0.95)[0].as_py() or 1))
        limits = {"separator": found.separator, "max_length": min(longest, _MAX_LIST)}
        item = _items_of(found, kept)
        if item:
            owner = {"vocabulary_of": names[item.name]}
            yield {"kind": "sequence", "name": name, **column, **owner, **limits}
        else:
            yield {"kind": "multi_valued", "name": name, **column, **limits, **group}
    else:
        is_rare = found.distinct > _MANY and (found.counts == 1).mean() > _OFTEN_ONCE
        min_count = {"min_count": 2} if is_rare else {}
        yield {"kind": "categorical", "name": name, **column, **min_count, **group}


def _items_of(found: Profile, kept: Sequence[Profile]) -> Profile | None:
    """The column of categories that most items of a list are from."""
    items = pc.split_pattern(found.strings.drop_null(), found.separator).flatten()
    for other in kept:
        if other.kind == "category" and other.distinct > 20:
            is_one = pc.is_in(items, other.strings.unique().drop_null())
            if pc.mean(is_one.cast("int8")).as_py() > 0.5:
                return other
    return None


def _names(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Names of features for all columns: letters, digits and `_`, each once."""
    names: dict[str, str] = {}
    for place, column in enumerate(profiles):
        name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_")
        if not re.match("[A-Za-z_]", name) or name in PACKED_INPUTS:
            name = f"column_{name or place + 1}"
        while name in names.values():
            name += "_"
        names[column] = name
    return names


def _describe(found: Profile) -> str:
    if found.kind == "number":
        numbers = found.numbers()
        said = f"from {numbers.min():g} to {numbers.max():g}"
    elif found.kind == "time":
        first, last = found.seconds.min(), found.seconds.max()
        said = f"from {splits.spelled(first)} to {splits.spelled(last)}"
    elif found.kind == "list":
        said = "lists"
    else:
        said = f"{found.distinct:,} values"
    if found.kind == "category" and found.is_whole_float:
        said += f", with .0 at their ends: without it they would be others ({found.values[0]})"
    if found.missing_share:
        said += f", {found.missing_share:.2%} missing"
    if found.words:
        rows = f"{found.word_rows:,} row{'s' * (found.word_rows > 1)}"
        said += f"; {_some(found.words)} in {rows}: missing, or let it be categorical"
    if found.kind == "time" and found.unread_share:
        said += f"; {found.unread_share:.2%} cannot be read, and will be missing"
    return said


# Text.


def _header(sample: Sample, source: str) -> Iterator[str]:
    rows = f"{'all' if sample.is_whole else 'a sample of'} {sample.rows:,} rows"
    yield f"# Guessed by `ctr-keras init` from {rows} of {_flow(source)}: look it over."
    yield from (f"# {comment}" for comment in sample.comments)


def _source_section(settings: Mapping[str, Any], profiles: Mapping[str, Profile]) -> Iterator[str]:
    yield "source:"
    if any(found.decimal_comma for found in profiles.values()):
        settings = {**settings, "decimal": ","}
    for key, value in settings.items():
        yield f"  {key}: {_flow(value)}"
    where: dict[str, list[str]] = {}
    for found in profiles.values():
        for word in found.missing:
            # A word that got into a column of numbers may be a value of another column.
            if word not in found.words or not any(of.has(word) for of in profiles.values()):
                where.setdefault(word, []).append(found.name)
    if where:
        seen = "; ".join(f"{word} in {_some(columns)}" for word, columns in where.items())
        yield f"  missing: {_flow(list(where))}  # {seen}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(_flow, names[:3])) + more


def _feature_lines(entries: Mapping[str, _Entry]) -> Iterator[str]:
    for entry in entries.values():
        for feature in entry.features:
            yield f"  - {_flow(feature)}  # {entry.comment}"
    left_out = {name: entry for name, entry in entries.items() if entry.left_out}
    if left_out:
        yield "# Left out:"
        for name, entry in left_out.items():
            yield f"#   {_flow(name)}: {entry.left_out}"


def _split_lines(
    split: dict[str, Any] | None,
    profiles: Mapping[str, Profile],
    entries: Mapping[str, _Entry],
    label: FoundLabel,
) -> Iterator[str]:
    times = (f for n, f in profiles.items() if f.kind == "time" and not entries[n].left_out)
    by_time = next(filter(None, (splits.by_time(found, label.is_click) for found in times)), None)
    chosen = split or by_time or {"by": "random", "validation": 0.1, "test": 0.1}
    why = {
        "files": "by the names of the files",
        "time": "trained on the past, tested on the future",
    }
    comment = why.get(chosen["by"], "row by row; `key: COLUMN` keeps the rows of a user together")
    yield f"split: {_flow(chosen)}  # {comment}"
    if split and by_time:
        yield f"# split: {_flow(by_time)}"


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if text.isprintable() else json.dumps(value)  # which YAML reads, too
