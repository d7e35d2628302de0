"""The declaration that a look at a log suggests, as YAML with comments."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctr_keras.features import FeatureSet
from ctr_keras.features.guessing import features as guessing
from ctr_keras.features.guessing.features import Guess, listed, yaml_line
from ctr_keras.features.guessing.labels import FoundLabel
from pipeline.guessing import splits
from pipeline.guessing.files import find_paths, names_below
from pipeline.guessing.samples import Sample, sample_files, sample_frame


@dataclasses.dataclass(frozen=True)
class Declaration:
    """A declaration that was guessed.

    Attributes:
        text: str. The YAML file.
        features: FeatureSet. What it declares.
    """

    text: str
    features: FeatureSet


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
    sample: Sample, source: str, label: str | None, split: dict[str, Any] | None = None
) -> Declaration:
    try:
        found = guessing.guess(sample.columns, label, sample.settings.get("header", True))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    lines = [
        *_header(sample, source),
        *_source_section(sample.settings, found),
        f"label: {yaml_line(found.label.setting)}  # {_described(found.label)}",
        "features:",
        *_feature_lines(found),
        *_split_lines(split, found),
    ]
    features = FeatureSet(*found.features, label=found.label.declared, missing=found.missing)
    return Declaration("\n".join(lines) + "\n", features)


def _described(label: FoundLabel) -> str:
    said = f"positive in {label.is_click.mean():.2%} of the rows"
    if not label.missing_share:
        return said
    return f"{said}; missing in {label.missing_share:.2%}, which are rejected (see --max-rejected)"


def _header(sample: Sample, source: str) -> Iterator[str]:
    rows = f"{'all' if sample.is_whole else 'a sample of'} {sample.rows:,} rows"
    yield f"# Guessed by `ctr-keras init` from {rows} of {yaml_line(source)}: look it over."
    yield from (f"# {comment}" for comment in sample.comments)


def _source_section(settings: Mapping[str, Any], found: Guess) -> Iterator[str]:
    yield "source:"
    if any(column.decimal_comma for column in found.profiles.values()):
        settings = {**settings, "decimal": ","}
    for key, value in settings.items():
        yield f"  {key}: {yaml_line(value)}"
    if found.missing:
        seen = "; ".join(f"{word} in {listed(names)}" for word, names in found.missing.items())
        yield f"  missing: {yaml_line(list(found.missing))}  # {seen}"


def _feature_lines(found: Guess) -> Iterator[str]:
    for entry in found.entries.values():
        for feature in entry.features:
            yield f"  - {yaml_line(feature)}  # {entry.comment}"
    if found.left_out:
        yield "# Left out:"
        for name, why in found.left_out.items():
            yield f"#   {yaml_line(name)}: {why}"


def _split_lines(split: dict[str, Any] | None, found: Guess) -> Iterator[str]:
    times = (
        column
        for name, column in found.profiles.items()
        if column.kind == "time" and name not in found.left_out
    )
    of_times = (splits.by_time(column, found.label.is_click) for column in times)
    by_time = next(filter(None, of_times), None)
    split = split or next(filter(None, map(splits.by_column, found.profiles.values())), None)
    chosen = split or by_time or {"by": "random", "validation": 0.1, "test": 0.1}
    why = {
        "files": "by the names of the files",
        "column": "by what it says of each row",
        "time": "trained on the past, tested on the future",
    }
    comment = why.get(chosen["by"], "row by row; `key: COLUMN` keeps the rows of a user together")
    yield f"split: {yaml_line(chosen)}  # {comment}"
    if split and by_time:
        yield f"# split: {yaml_line(by_time)}"
