"""What a run tells of its rows: how many went where, and the rejected ones themselves."""

import json
import sys
from importlib import metadata
from typing import Any

from apache_beam.io.filesystems import FileSystems

from ctr_keras.features import FeatureSet
from pipeline.sources import Chunk
from pipeline.splits import SPLITS
from pipeline.storage import _delete

_PACKAGES = ("ctr-keras", "tensorflow", "tensorflow-transform", "apache-beam", "pyarrow", "numpy")


class TooManyRejectedError(RuntimeError):
    """More rows were rejected than allowed. The message says where they are."""


def write_rejected(element: tuple[Chunk, list], lines: dict, folder: str) -> None:
    """Writes the rejected rows of a block as JSON lines: file, line (from 1), reason, row."""
    chunk, rows = element
    before = sum(lines[chunk.file, index] for index in range(chunk.index))
    name = f"{chunk.file:05d}-{chunk.index:05d}-{rows[0][0]:09d}.jsonl"
    with FileSystems.create(FileSystems.join(folder, name)) as file:
        for line, reason, text in rows:
            entry = {
                "file": chunk.path,
                "line": before + line + 1,
                "reason": reason,
                "row": text.decode("utf-8", "backslashreplace"),
            }
            file.write(json.dumps(entry).encode() + b"\n")


def _report(counts: dict[str, int], features: FeatureSet) -> dict[str, Any]:
    def with_prefix(prefix: str) -> dict[str, int]:
        names = sorted(name for name in counts if name.startswith(prefix))
        return {name.removeprefix(prefix): counts[name] for name in names}

    written, clicks = with_prefix("written: "), with_prefix("clicks: ")
    filtered, rejected = with_prefix("filtered: "), with_prefix("rejected: ")
    return {
        "rows": {
            "read": counts.get("read", 0),
            **{split: written[split] for split in SPLITS},
            "filtered": sum(filtered.values()),
            "rejected": sum(rejected.values()),
        },
        "filtered_because": filtered,
        "rejected_because": rejected,
        "label_mean": {
            split: clicks.get(split, 0) / written[split] if written[split] else None
            for split in SPLITS
        },
        "vocabulary_sizes": features.vocabulary_sizes,
        "id_count": features.id_count,
        "versions": {"python": sys.version.split()[0]}
        | {package: metadata.version(package) for package in _PACKAGES},
    }


def _check_rows(report: dict[str, Any], max_rejected: float, partial: str, failed: str) -> None:
    """Sees that nothing is lost, that there is something to train on and not too much is bad."""
    counted = dict(report["rows"])
    read, rejected = counted.pop("read"), counted["rejected"]
    if sum(counted.values()) != read:
        raise RuntimeError(f"rows were lost, which is a bug: {report['rows']}; see {partial}")
    if rejected > max_rejected * read:
        _delete(FileSystems.join(partial, "examples/"))
        FileSystems.rename([partial], [failed])
        reasons = ", ".join(f"{n} x {why}" for why, n in report["rejected_because"].items())
        raise TooManyRejectedError(
            f"{rejected} of {read} rows were rejected ({rejected / read:.2%}), more than the "
            f"{max_rejected:.2%} allowed: {reasons}. They are in "
            f"{FileSystems.join(failed, 'rejected')}; mend them or raise --max-rejected"
        )
    if not counted["train"]:
        raise ValueError(f"no row falls into the training split: {report['rows']}")
