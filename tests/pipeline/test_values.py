"""What values mean, from a file to the report and the records of a whole job."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from ctr_keras.data import read_samples
from ctr_keras.features import FeatureSet
from pipeline.prepare import prepare

YAML = """
source: {format: csv, missing: ["-1"]}
label: {column: answer, positive: ["yes"]}
features:
  - {kind: categorical, name: site}
  - {kind: categorical, name: hour, column: at, time_part: hour, zone: America/New_York}
  - {kind: categorical, name: week, column: at, time_part: week}
  - {kind: categorical, name: month, column: never, time_part: month}
  - {kind: numeric, name: nothing, scale: z_score}
  - {kind: numeric, name: price}
split: {by: time, column: at, validation_from: 2024-05-06, test_from: 2024-05-08, gap: 1d}
"""
TIMES = ("2024-05-{d:02}T{h:02}:30:00Z", "2024-05-{d:02} {h:02}:30", "2405{d:02}{h:02}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> pathlib.Path:
    """A log of ten days of May, an hour a row, times in three spellings."""
    folder = tmp_path_factory.mktemp("values")
    rows = ["site,at,never,nothing,price,answer"]
    for i in range(240):
        at = TIMES[(i + i // 24) % 3].format(d=1 + i // 24, h=i % 24)
        price = i if i % 48 else "-1.0"
        rows.append(f"{'abc'[i % 3]},{at},{'no time' if i % 2 else ''},,{price},{'yno'[i % 3]}es")
    rows.append("a,03/05/2024,,,1,yes")
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    (folder / "my.yaml").write_text(YAML)
    prepare(str(folder / "my.yaml"), str(folder / "log.csv"), str(folder / "out"))
    return folder


def report_of(prepared: pathlib.Path) -> dict:
    return json.loads((prepared / "out" / "report.json").read_text())


def test_rows_are_split_by_their_times_and_those_in_gaps_are_filtered(prepared):
    report = report_of(prepared)
    assert report["rows"] == {
        "read": 241,
        "train": 96,
        "validation": 24,
        "test": 72,
        "filtered": 48,
        "rejected": 1,
    }
    assert report["filtered_because"] == {"in a gap before a split": 48}
    assert report["label_mean"] == dict.fromkeys(("train", "validation", "test"), 1 / 3)
    spans = {name: (of["first"], of["last"]) for name, of in report["splits"].items()}
    assert spans == {
        "train": ("2024-05-01 00:30:00", "2024-05-04 23:00:00"),
        "validation": ("2024-05-06 00:00:00", "2024-05-06 23:30:00"),
        "test": ("2024-05-08 00:30:00", "2024-05-10 23:00:00"),
    }


def test_missing_values_are_counted_and_what_never_is_there_is_warned_of(prepared):
    report = report_of(prepared)
    assert report["missing"] == {"month": 192, "nothing": 192, "price": 3}
    assert report["warnings"] == [
        "feature 'nothing' is missing in every row",
        "feature 'month' is missing where its time could not be read: all times",
    ]


def test_times_are_packed_as_they_were_prepared(prepared):
    features = FeatureSet.load_fitted(prepared / "out")
    samples = read_samples(str(prepared / "out"), features)
    packed = features.pack(pd.DataFrame(samples.rows))
    np.testing.assert_array_equal(packed["categorical"], samples.inputs["categorical"])
    week = features.id_ranges["week"]
    hours = features.statistics.values["hour"]
    assert set(hours) == {str(hour) for hour in range(24)}
    assert (samples.inputs["categorical"][:, 2] == week.start).all()  # week 19 is new


def test_the_last_rows_of_users_are_left_out_and_users_are_counted(tmp_path):
    log = ["site,who,when,click"]
    for user, rows in (("a", 5), ("b", 3), ("c", 2), ("d", 1), ("", 4)):
        log += [f"s,{user},2024-01-0{rows - i} 12:00,{i % 2}" for i in range(rows)]
    (tmp_path / "log.csv").write_text("\n".join([*log, "s,a,,1", "s,b,never,0"]) + "\n")
    (tmp_path / "my.yaml").write_text(
        "source: {format: csv}\nlabel: click\nfeatures: [{kind: categorical, name: site}]\n"
        "split: {by: last, user: who, time: when}\n"
    )
    out = str(tmp_path / "out")
    report = prepare(str(tmp_path / "my.yaml"), str(tmp_path / "log.csv"), out, max_rejected=0.2)
    assert report["rows"]["rejected"] == 2
    assert "when is missing" in report["rejected_because"]
    splits = report["splits"]
    assert {name: of["rows"] for name, of in splits.items()} == {
        "train": 11,
        "validation": 2,
        "test": 2,
    }
    assert (splits["test"]["last"], splits["validation"]["last"]) == (
        "2024-01-05 12:00:00",
        "2024-01-04 12:00:00",
    )
    assert splits["train"]["users"] == 4
    assert (splits["test"]["users"], splits["test"]["users_in_train"]) == (2, 2)
