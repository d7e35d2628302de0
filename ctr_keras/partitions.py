"""Prepared folders of several days that are read as one.

    <joined>/partitions.json    the folders whose examples are read, in their order

Folders are named as they are seen from the joined one, so that all can move together, and by their
addresses where they are on an object store and it is on the disk.

Next to it is what every reader needs of a prepared folder, of the newest version of the
vocabularies: `features.json`, the transform, statistics of numbers, samples, and a report of all
rows. Rows of an earlier version are moved to the newest's ids as they are read (see
`ctr_keras.features.growth`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.features.growth import id_moves, is_grown_from
from ctr_keras.files import copy, exists, is_remote
from ctr_keras.mirrors import address_of, local_copy, local_path
from ctr_keras.types import Array

PARTITIONS_FILE = "partitions.json"
SAMPLE_FILES = ("samples.jsonl", "samples.tfrecord.gz")  # raw, transformed
_SHARED = (  # what is of no rows
    *("features.json", "dataset.yaml", "numbers.json", "vocabulary"),
    *("transform_fn", "transformed_metadata"),
)
_OF_ONE_PREPARATION = ("source", "versions", "wall_seconds")  # where, by what, how fast
_KEPT_OF_REPORT = ("dataset", "negatives_kept", "vocabulary_sizes", "id_count", "versions")


class Partition(NamedTuple):
    """A prepared folder that has examples, or samples."""

    folder: str
    report: Mapping[str, Any]

    @classmethod
    def of(cls, folder: str) -> "Partition":
        return cls(folder, prepared_report(folder))


def join(folders: Sequence[str], out: str) -> dict[str, Any]:
    """Makes several prepared folders one, without copying their examples.

    They have to be of one declaration, and their vocabularies the same or grown from one another,
    as `ctr-keras prepare --like` makes them. They stay where they are, and must not change.

    Args:
        folders: list of str. Prepared folders, or joined ones, whose parts are joined then; also at
            addresses.
        out: str. Folder to write; it appears under its name when it is whole. Also an address, if
            all folders are at addresses.

    Returns:
        The contents of its `report.json`: rows and mean labels of all.

    Raises:
        FileNotFoundError: if a folder holds no prepared data.
        ValueError: for a folder that is there twice, of other features or vocabularies, or on this
            disk where `out` is not.
        FileExistsError: if `out` holds anything but the same folders joined.

    Example, of data that `ctr-keras prepare` wrote:

        join(["data/monday", "data/tuesday"], "data/both")
    """
    if is_remote(out):
        return _join_there(folders, out)
    parts = [part for folder in folders for part in partitions(local_copy(folder))]
    _check_different([part.folder for part in parts])
    manifest = _manifest(parts, out)
    if os.path.exists(out):
        return _finished_report(out, manifest)
    newest = _newest([part.folder for part in parts])
    report = _summed([part.report for part in parts], prepared_report(newest))
    partial = f"{os.path.normpath(out)}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    for name in _SHARED:
        _copy(os.path.join(newest, name), os.path.join(partial, name))
    for name in SAMPLE_FILES:
        _copy(os.path.join(_with_samples(parts), name), os.path.join(partial, name))
    for name, content in ((PARTITIONS_FILE, manifest), ("report.json", report)):
        with open(os.path.join(partial, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
    os.rename(partial, out)
    return report


def partitions(prepared: str) -> list[Partition]:
    """The folders that hold the examples of a prepared one: itself, or those it was joined from.

    Raises:
        FileNotFoundError: if it holds no prepared data, or what was joined is not there.
        ValueError: if what was joined has changed since.
    """
    manifest = _read_manifest(prepared)
    if manifest is None:
        return [Partition.of(prepared)]
    return [_unchanged(prepared, **entry) for entry in manifest["partitions"]]


def sample_partition(prepared: str) -> str:
    """The folder that the samples of a prepared one are of: itself, or one it was joined from."""
    manifest = _read_manifest(prepared)
    return _found(prepared, str(manifest["samples"])) if manifest else prepared


def moves_of(folders: Sequence[str], prepared: str, features: FeatureSet) -> dict[str, Array]:
    """What to add to the packed ids of partitions of a prepared folder.

    Returns:
        By packed input `(folders, width)`, without those that do not move.
    """
    if list(folders) == [prepared]:
        return {}
    moves = [id_moves(_features(folder), features) for folder in folders]
    stacked = {name: np.stack([of[name] for of in moves]) for name in moves[0]}
    return {name: of for name, of in stacked.items() if of.any()}


def prepared_report(prepared: str) -> Mapping[str, Any]:
    """What `ctr-keras prepare` has said of a folder.

    Raises:
        FileNotFoundError: if it holds no prepared data.
    """
    path = os.path.join(prepared, "report.json")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{prepared} holds no prepared data: there is no report.json")
    with open(path, encoding="utf-8") as file:
        try:
            report: Mapping[str, Any] = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    return report


def rows_digest(prepared: str) -> str:
    """A digest of what decides the rows of a prepared folder and their splits.

    Two preparations of one declaration and of copies of the same files have the same.

    Raises:
        FileNotFoundError: if it holds no prepared data.
    """
    report = prepared_report(prepared)
    decides = {key: value for key, value in report.items() if key not in _OF_ONE_PREPARATION}
    declaration = decides.get("declaration", {})
    sizes = {name: file["bytes"] for name, file in declaration.get("files", {}).items()}
    return _digest({**decides, "declaration": {**declaration, "files": sizes}})


# What is joined.


def _join_there(folders: Sequence[str], out: str) -> dict[str, Any]:
    """Joins folders on an object store, by local copies, which lie to each other as they do."""
    local = local_path(out)
    for folder in folders:
        for part in partitions(local_copy(folder)):
            if not is_remote(address_of(part.folder)):
                raise ValueError(f"{part.folder} is on this disk, and {out} is not: copy it there")
    if exists(os.path.join(out, "report.json")):
        return join(folders, local_copy(out))
    if exists(out):
        raise FileExistsError(f"{out} exists and is not whole; choose another, or delete it first")
    shutil.rmtree(local, ignore_errors=True)
    report = join(folders, local)
    copy(local, out, last="report.json")
    return report


def _check_different(folders: Sequence[str]) -> None:
    seen: set[str] = set()
    for folder in folders:
        if os.path.realpath(folder) in seen:
            raise ValueError(f"{folder} is there twice: its rows would count twice")
        seen.add(os.path.realpath(folder))


def _newest(folders: Sequence[str]) -> str:
    """The last folder of the latest version, from which all others must be."""
    newest = max(reversed(folders), key=lambda folder: _features(folder).vocabulary_version)
    fitted = FeatureSet.load_fitted(newest)
    for folder in folders:
        if folder != newest and not is_grown_from(FeatureSet.load_fitted(folder), fitted):
            raise ValueError(
                f"{folder} was prepared with other features, vocabularies or numbers than "
                f"{newest}: prepare it by `ctr-keras prepare --like {newest}`"
            )
    return newest


def _features(folder: str) -> FeatureSet:
    return FeatureSet.load(os.path.join(folder, "features.json"))


def _with_samples(parts: Sequence[Partition]) -> str:
    """The last folder with samples, or else the last one."""
    for part in parts[::-1]:
        path = os.path.join(part.folder, SAMPLE_FILES[0])
        if os.path.exists(path) and os.path.getsize(path):
            return part.folder
    return parts[-1].folder


def _summed(reports: Sequence[Mapping[str, Any]], newest: Mapping[str, Any]) -> dict[str, Any]:
    """The report of all rows."""
    counted = [report["rows"] for report in reports]
    rows = {name: sum(of.get(name, 0) for of in counted) for name in counted[-1]}

    def means(of: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """The means of a label over all rows, by those in each report."""
        return {split: _mean(of, counted, rows, split) for split in of[-1]}

    labels = newest.get("label_means", {})
    of_labels = {name: means([r["label_means"][name] for r in reports]) for name in labels}
    return {
        **{key: newest[key] for key in _KEPT_OF_REPORT if key in newest},
        "rows": rows,
        "label_mean": means([report["label_mean"] for report in reports]),
        **({"label_means": of_labels} if of_labels else {}),
    }


def _mean(
    means: Sequence[Mapping[str, Any]],
    counted: Sequence[Mapping[str, int]],
    rows: Mapping[str, int],
    split: str,
) -> float | None:
    if not rows[split]:
        return None
    clicks = [n.get(split, 0) * (of[split] or 0.0) for of, n in zip(means, counted, strict=True)]
    return float(sum(clicks) / rows[split])


def _copy(source: str, target: str) -> None:
    if os.path.isdir(source):
        shutil.copytree(source, target)
    elif os.path.exists(source):
        shutil.copyfile(source, target)


# The manifest.


def _manifest(parts: Sequence[Partition], out: str) -> dict[str, Any]:
    """What `partitions.json` holds."""
    return {
        "partitions": [
            {"folder": _named(part.folder, out), "digest": _digest(part.report)} for part in parts
        ],
        "samples": _named(_with_samples(parts), out),
    }


def _named(folder: str, out: str) -> str:
    """The name that a joined folder has for a part."""
    address = address_of(folder)
    is_elsewhere = is_remote(address) and not is_remote(address_of(out))
    return address if is_elsewhere else os.path.relpath(folder, out)


def _found(prepared: str, name: str) -> str:
    """The part that a joined folder has a name for."""
    return local_copy(name) if is_remote(name) else os.path.normpath(os.path.join(prepared, name))


def _digest(report: Mapping[str, Any]) -> str:
    """Of a report. A whole one has the time that it took: prepared again, it has another."""
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()[:16]


def _read_manifest(prepared: str) -> dict[str, Any] | None:
    path = os.path.join(prepared, PARTITIONS_FILE)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))


def _unchanged(prepared: str, folder: str, digest: str) -> Partition:
    try:
        path = _found(prepared, folder)
        part = Partition.of(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"what {prepared} was joined from has gone: {error}") from None
    if _digest(part.report) != digest:
        raise ValueError(f"{path} has been prepared again since {prepared} was joined: join anew")
    return part


def _finished_report(out: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    if _read_manifest(out) != manifest:
        raise FileExistsError(f"{address_of(out)} exists and holds something else; choose another")
    return dict(prepared_report(out))
