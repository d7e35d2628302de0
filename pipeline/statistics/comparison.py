"""One prepared folder next to an earlier one: its statistics, and what the schema has otherwise."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from ctr_keras.features import Crossed, FeatureSet
from ctr_keras.mirrors import local_copy
from pipeline.statistics.counted import Counted
from pipeline.statistics.files import counted_of, features_of
from pipeline.statistics.protos import SCHEMA_FILE
from pipeline.statistics.summary import Summary, summarize

_TEST = 2  # of the splits
_VALUES_NAMED = 3


def compare(data: str, earlier: str) -> Summary:
    """Statistics as if all rows of a folder were the test split of an earlier one.

    Where training rows of label 0 were sampled, those of `data` are left out: they are not like all
    rows.

    Raises:
        FileNotFoundError: if one holds no prepared data, or data of an earlier version.
        ValueError: if they are of other features, or no row is left.
    """
    features = features_of(data)
    _check_same(features_of(earlier), features, earlier, data)
    known = counted_of(earlier).moved((0, 1, None))
    of_training = _TEST if features.label.negatives_kept == 1 else None
    new = counted_of(data).moved((of_training, _TEST, _TEST))
    if not new.rows.any():
        raise ValueError(f"{data} has no rows but a sample of training rows: prepare all of them")
    return summarize(Counted.merge([known, new]), features)


def _check_same(known: FeatureSet, features: FeatureSet, earlier: str, data: str) -> None:
    old, new = (
        {f.name: f.kind for f in of.features if not isinstance(f, Crossed)}
        for of in (known, features)
    )
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            raise ValueError(
                f"{data} and {earlier} are of other features: {name!r} is "
                f"{new.get(name, 'not there')} and {old.get(name, 'not there')}"
            )


def anomalies(summary: Summary, folder: str) -> Iterator[tuple[str, str]]:
    """What the test split has otherwise than the schema of a prepared folder, `schema.pbtxt`, which
    may have been edited: the name of a feature, and what it does.

    Raises:
        FileNotFoundError: if there is no schema.
        ValueError: if it cannot be read, with line and column.
    """
    path = os.path.join(local_copy(folder), SCHEMA_FILE)
    with open(path, encoding="utf-8") as file:
        try:
            schema = text_format.Parse(file.read(), schema_pb2.Schema())
        except text_format.ParseError as error:
            raise ValueError(f"{path}, line {error}") from None
    for expected in schema.feature:
        if expected.name in summary["features"]:
            for said in _anomalies(summary["features"][expected.name], expected):
                yield expected.name, f"{said} ({SCHEMA_FILE})"


def _anomalies(feature: Mapping[str, Any], expected: schema_pb2.Feature) -> Iterator[str]:
    found = feature["splits"]["test"]
    present = 1 - found["missing_share"]
    if found["rows"] and present < expected.presence.min_fraction:
        most = 1 - expected.presence.min_fraction
        yield f"is missing in {found['missing_share']:.3g} of test, and may be in {most:.3g}"
    low, high = found.get("low"), found.get("high")
    domain, count = expected.float_domain, expected.value_count
    if low is not None and domain.HasField("min") and low < domain.min:
        yield f"goes down to {low:g} in test, and may to {domain.min:g}"
    if high is not None and domain.HasField("max") and high > domain.max:
        yield f"goes up to {high:g} in test, and may to {domain.max:g}"
    longest = int(found.get("length", {}).get("high", 0))
    if count.HasField("max") and longest > count.max:
        yield f"has {longest} values in a row of test, and may have {count.max}"
    if expected.string_domain.value:
        known = set(expected.string_domain.value)
        new = [v["value"] for v in feature["values"] if v["rows"]["test"]]
        if strange := [repr(value) for value in new if value not in known]:
            more = len(strange) - _VALUES_NAMED
            others = f" and {more} more" if more > 0 else ""
            yield f"has values that are not its own: {', '.join(strange[:_VALUES_NAMED])}{others}"
