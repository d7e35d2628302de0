"""What a run shows of its rows: how many went where, and the rejected ones."""

import datetime
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from ctr_keras.features import FeatureSet
from ctr_keras.files import open_output
from pipeline.sources import Chunk
from pipeline.splits import SPLITS
from pipeline.storage import Output

_PACKAGES = ("ctr-keras", "tensorflow", "tensorflow-transform", "apache-beam", "pyarrow", "numpy")
_REASONS = 20  # that are shown, of rejected rows


class TooManyRejectedError(RuntimeError):
    """More rows were rejected than allowed. The message says where they are."""


def write_rejected(
    element: tuple[Chunk, list[tuple[int, str, bytes]]],
    lines: dict[tuple[int, int], int],
    folder: str,
) -> None:
    """Writes the rejected rows of a block as JSON lines: file, line (from 1), reason, row.

    They come with their lines in the chunk, from 0; `lines` counts those of each (file, chunk).
    """
    chunk, rows = element
    before = sum(lines[chunk.file, index] for index in range(chunk.index))
    name = f"{chunk.file:05d}-{chunk.index:05d}-{rows[0][0]:09d}.jsonl"
    with open_output(os.path.join(folder, name)) as file:
        for line, reason, raw in rows:
            row = raw.decode("utf-8", "backslashreplace")
            entry = {"file": chunk.path, "line": before + line + 1, "reason": reason, "row": row}
            file.write(json.dumps(entry).encode() + b"\n")


def summarize(counts: dict[str, int], features: FeatureSet) -> dict[str, Any]:
    """The report of the rows that the job has counted as `read`, `written: <split>`,
    `clicks: <split>`, `filtered: <rule>`, `rejected: <reason>`, `missing: <feature>` and
    `unread: <feature>`, of further labels as `clicks of <label>: <split>` and `alone: <label>`, and
    if they are known `first: <split>`, `last: <split>` in seconds since 1970, and `users:
    <splits>`, who have rows in exactly these."""

    def with_prefix(prefix: str) -> dict[str, int]:
        names = sorted(name for name in counts if name.startswith(prefix))
        return {name.removeprefix(prefix): counts[name] for name in names}

    written, clicks = with_prefix("written: "), with_prefix("clicks: ")
    filtered, rejected = with_prefix("filtered: "), with_prefix("rejected: ")
    of_labels = {name: with_prefix(f"clicks of {name}: ") for name in features.label_names[1:]}
    of_labels = {features.label.name: clicks, **of_labels}
    means = {name: _means(of, written) for name, of in of_labels.items()}
    by_count = sorted(rejected.items(), key=lambda reason: -reason[1])
    others = sum(count for _, count in by_count[_REASONS:])
    missing, unread = with_prefix("missing: "), with_prefix("unread: ")
    return {
        "rows": {
            "read": counts.get("read", 0),
            **{split: written[split] for split in SPLITS},
            "filtered": sum(filtered.values()),
            "rejected": sum(rejected.values()),
        },
        "filtered_because": filtered,
        "rejected_because": dict(by_count[:_REASONS])
        | ({"other reasons": others} if others else {}),
        "negatives_kept": features.label.negatives_kept,
        "label_mean": _means(clicks, written),
        **({"label_means": means} if len(means) > 1 else {}),
        "splits": {
            split: {
                "rows": written[split],
                "click_rate": clicks.get(split, 0) / written[split] if written[split] else None,
                **_span(counts, split),
                **_users(with_prefix("users: "), split),
            }
            for split in SPLITS
        },
        "missing": {name: missing[name] for name in _names(features) if missing.get(name)},
        "warnings": [
            *_warnings_of_features(missing, unread, sum(written.values())),
            *_warnings_of_vocabularies(features, missing, written),
            *_warnings_of_splits(written, clicks),
            *_warnings_of_labels(with_prefix("alone: "), features.label.name),
        ],
        "vocabulary_sizes": features.vocabulary_sizes,
        "id_count": features.id_count,
        "versions": {"python": sys.version.split()[0]}
        | {package: metadata.version(package) for package in _PACKAGES},
    }


def _means(clicks: dict[str, int], written: dict[str, int]) -> dict[str, float | None]:
    """The mean of a label in each split."""
    return {
        split: clicks.get(split, 0) / written[split] if written[split] else None for split in SPLITS
    }


def _span(counts: dict[str, int], split: str) -> dict[str, str]:
    """The first and the last time of a split, if times are known."""
    epoch = datetime.datetime(1970, 1, 1)
    return {
        which: str(epoch + datetime.timedelta(seconds=counts[f"{which}: {split}"]))
        for which in ("first", "last")
        if f"{which}: {split}" in counts
    }


def _users(by_splits: dict[str, int], split: str) -> dict[str, int]:
    """How many users a split has, and how many of them have training rows, too."""
    if not by_splits:
        return {}
    of_split = {names: n for names, n in by_splits.items() if split in names.split()}
    users = {"users": sum(of_split.values())}
    if split != "train":
        users["users_in_train"] = sum(n for names, n in of_split.items() if "train" in names)
    return users


def _names(features: FeatureSet) -> list[str]:
    return [feature.name for feature in features.features]


def warnings_of_validation(rows: dict[str, int]) -> list[str]:
    """What to look at where training rows have no validation rows next to them."""
    if rows["validation"] or not rows["train"]:
        return []
    return ["no row is in the validation split, without which no model is trained"]


def _warnings_of_splits(written: dict[str, int], clicks: dict[str, int]) -> Iterator[str]:
    for split in SPLITS:
        rows, found = written[split], clicks.get(split, 0)
        if rows and found in (0, rows):
            which = "with" if found else "without"
            yield f"all {rows} rows of the {split} split are {which} a click"


def _warnings_of_labels(alone: dict[str, int], first: str) -> Iterator[str]:
    for name, rows in alone.items():
        if rows:
            yield f"{rows} rows have {name} without {first}, which ESMM does not expect"


def _warnings_of_features(
    missing: dict[str, int], unread: dict[str, int], rows: int
) -> Iterator[str]:
    """What to look at, of features that say nothing in all rows, or in some against expectation."""
    for name, count in missing.items():
        if count == rows and not unread.get(name):
            yield f"feature {name!r} is missing in every row"
    for name, count in unread.items():
        if count:
            times = "all" if count == rows - (missing[name] - count) else str(count)
            yield f"feature {name!r} is missing where its time could not be read: {times} times"


def _warnings_of_vocabularies(
    features: FeatureSet, missing: dict[str, int], written: dict[str, int]
) -> Iterator[str]:
    """What to look at, of features that are there and none of whose values has an id."""
    sizes = features.vocabulary_sizes or {}
    for vocabulary in features.vocabularies:
        name, least = vocabulary.name, vocabulary.min_count
        if sizes.get(name) == 0 and missing.get(name, 0) < sum(written.values()):
            times = f"{least} times" if least > 1 else "even once"
            yield f"no value of {name!r} occurs {times} in the training rows: all are unknown"


def check_rows(
    report: dict[str, Any],
    max_rejected: float,
    output: Output,
    needed: Sequence[str] = ("train",),
) -> None:
    """Checks that nothing is lost, not too much is bad, and one of the needed splits has a row."""
    counted = dict(report["rows"])
    read, rejected = counted.pop("read"), counted["rejected"]
    if sum(counted.values()) != read:
        raise RuntimeError(
            f"rows were lost, which is a bug: {report['rows']}; see {output.partial}"
        )
    if rejected > max_rejected * read:
        reasons = ", ".join(f"{n} x {why}" for why, n in report["rejected_because"].items())
        raise TooManyRejectedError(
            f"{rejected} of {read} rows were rejected ({rejected / read:.2%}), more than the "
            f"{max_rejected:.2%} allowed: {reasons}. They are in "
            f"{os.path.join(output.failed, 'rejected')}; mend them or raise --max-rejected"
        )
    if not any(counted[split] for split in needed):
        raise ValueError(f"no row falls into {' or '.join(needed)}: {report['rows']}")
