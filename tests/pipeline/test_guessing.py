"""Declarations that are guessed: what a log holds is seen, and what is not clear is asked."""

import bz2
import datetime
import gzip
import itertools
import json
import lzma
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import yaml
from click.testing import CliRunner

from ctr_keras.features.guessing.labels import information, twins
from ctr_keras.features.guessing.profiles import profile
from pipeline import commands
from pipeline.guessing import guess, write_declaration
from pipeline.guessing.dialects import guess_dialect, guess_encoding
from pipeline.guessing.files import MAX_FILES, find_paths, read_pieces, some_of
from tests.conftest import ROOT

ROWS = 2000


@pytest.fixture(scope="module")
def log() -> dict[str, list]:
    """A log with a column of every kind."""
    draw = np.random.default_rng(0)
    click = draw.random(ROWS) < 0.2
    seconds = np.sort(draw.integers(0, 30 * 86400, ROWS))
    start = datetime.datetime(2024, 3, 1)
    tags = np.array(["red", "blue", "new", "sale", "big", "small", "fine"])
    items = draw.choice(10**6 + 37 * draw.permutation(150), ROWS)
    return {
        "row": [f"r{i}" for i in range(ROWS)],
        "user id": draw.choice(draw.permutation(9000)[:400], ROWS).tolist(),
        "item": items.tolist(),
        "age": draw.integers(18, 80, ROWS).tolist(),
        "visits": draw.geometric(0.05, ROWS).tolist(),
        "price": np.round(draw.gamma(2, 10, ROWS), 2).tolist(),
        "zip": [f"{z:05d}" for z in draw.choice(60000, 200)[draw.integers(0, 200, ROWS)]],
        "device": draw.integers(0, 3, ROWS).tolist(),
        "when": [(start + datetime.timedelta(seconds=int(s))).isoformat(" ") for s in seconds],
        "tags": ["|".join(draw.choice(tags, draw.integers(1, 4), False)) for _ in range(ROWS)],
        "bought_at": ["2024-01-01 00:00:00" if c else "" for c in click],
        "country": ["NL"] * ROWS,
        "device_name": [],
        "click": click.astype(int).tolist(),
    }


@pytest.fixture
def frame(log) -> pd.DataFrame:
    names = {0: "phone", 1: "tablet", 2: "desktop"}
    return pd.DataFrame({**log, "device_name": [names[d] for d in log["device"]]})


def declared(source, label=None) -> dict:
    return yaml.safe_load(guess(source, label).text)


def by_name(declaration: dict) -> dict[str, dict]:
    return {feature.pop("name"): feature for feature in declaration["features"]}


EXPECTED = {
    "user_id": {"kind": "categorical", "column": "user id", "group": "user"},
    "item": {"kind": "categorical", "group": "item"},
    "age": {"kind": "numeric", "scale": "quantiles", "buckets": 20, "group": "user"},
    "visits": {"kind": "numeric", "scale": "quantiles", "buckets": 20},
    "price": {"kind": "numeric", "scale": "quantiles", "buckets": 20, "group": "item"},
    "zip": {"kind": "categorical", "group": "user"},
    "device": {"kind": "categorical", "group": "user"},
    "hour": {"kind": "categorical", "column": "when", "time_part": "hour", "group": "context"},
    "weekday": {
        "kind": "categorical",
        "column": "when",
        "time_part": "weekday",
        "group": "context",
    },
    "tags": {"kind": "multi_valued", "separator": "|", "max_length": 3, "group": "item"},
}


def test_kinds_are_guessed_from_values(frame, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "log.csv", index=False)
    declaration = guess(str(tmp_path / "log.csv"))
    found = yaml.safe_load(declaration.text)
    assert found["source"] == {"format": "csv"}
    assert found["label"] == "click"
    assert by_name(found) == EXPECTED
    assert found["split"]["by"] == "time"
    assert found["split"]["column"] == "when"
    for line in (
        "row: another value in nearly every row",
        "bought_at: gives the label away",
        "country: always 'NL'",
        "device_name: says the same as device",
    ):
        assert f"#   {line}" in declaration.text


def as_csv(frame, folder):
    frame.to_csv(folder / "log.csv", index=False)


def as_tsv(frame, folder):
    frame.to_csv(folder / "log.tsv", index=False, sep="\t")


def as_semicolons(frame, folder):
    frame.to_csv(folder / "log.csv", index=False, sep=";", decimal=",")


def as_latin(frame, folder):
    frame.assign(place="Köln").to_csv(folder / "log.csv", index=False, encoding="latin-1")


def as_json_lines(frame, folder):
    frame.assign(tags=frame["tags"].str.split("|")).to_json(
        folder / "log.jsonl", orient="records", lines=True
    )


def as_parquet_folder(frame, folder):
    (folder / "_SUCCESS").touch()
    for name, part in frame.assign(tags=frame["tags"].str.split("|")).groupby("device_name"):
        below = folder / f"device_name={name}"
        below.mkdir()
        table = pa.Table.from_pandas(part.drop(columns="device_name"), preserve_index=False)
        pa.parquet.write_table(table, below / "part.parquet", row_group_size=99)


def as_gzip(frame, folder):
    (folder / "log.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))


def as_bz2(frame, folder):
    (folder / "log.csv.bz2").write_bytes(bz2.compress(frame.to_csv(index=False).encode()))


def as_xz(frame, folder):
    (folder / "log.csv.xz").write_bytes(lzma.compress(frame.to_csv(index=False).encode()))


def as_zstd(frame, folder):
    with pa.CompressedOutputStream(str(folder / "log.csv.zst"), "zstd") as file:
        file.write(frame.to_csv(index=False).encode())


SOURCES = {
    as_csv: {"format": "csv"},
    as_tsv: {"format": "tsv"},
    as_semicolons: {"format": "csv", "delimiter": ";", "decimal": ","},
    as_latin: {"format": "csv", "encoding": "latin-1"},
    as_json_lines: {"format": "jsonl"},
    as_parquet_folder: {"format": "parquet"},
    as_gzip: {"format": "csv"},
    as_bz2: {"format": "csv"},
    as_xz: {"format": "csv"},
    as_zstd: {"format": "csv"},
}


@pytest.mark.parametrize("write", SOURCES, ids=lambda write: write.__name__)
def test_the_format_makes_no_difference(write, frame, tmp_path):
    write(frame, tmp_path)
    found = declared(str(tmp_path))
    assert found["source"] == SOURCES[write]
    assert by_name(found) == EXPECTED


def test_a_frame_is_declared_as_its_file_is(frame):
    declaration = guess(frame)
    assert by_name(yaml.safe_load(declaration.text)) == EXPECTED
    assert declaration.features.fit(frame).vocabulary_sizes["item"] == frame["item"].nunique()
    assert declared(pa.Table.from_pandas(frame)) == declared(frame)


def test_no_frame_and_an_empty_one_are_said():
    with pytest.raises(TypeError, match="expected a frame of pandas, polars"):
        guess(3)
    with pytest.raises(ValueError, match="the frame has no rows"):
        guess(pd.DataFrame({"click": []}))


@pytest.mark.parametrize("name", ["a\nb", "#x", "{", "*", "it's", "a: b", "名", "null", " "])
def test_any_name_of_a_column_makes_yaml_that_can_be_read(name):
    rows = {name: [*"aabcd"] * 30, f"{name}2": ["x"] * 150, "click": [0, 1, 0] * 50}
    feature, *others = declared(rows)["features"]
    assert feature.get("column", feature["name"]) == name
    assert others == []


# The label.


def test_the_label_is_asked_for_where_it_is_not_clear(frame):
    several = frame.rename(columns={"click": "a"}).assign(b=frame["click"] ^ 1)
    with pytest.raises(
        ValueError, match="several columns may be the label: a, b; name it by --label or label="
    ):
        guess(several)
    assert declared(several, "b")["label"] == "b"
    none = frame.drop(columns=["click", "device_name"])
    with pytest.raises(ValueError, match=r"no column has two values .*one of device.*--label|by"):
        guess(none)
    with pytest.raises(ValueError, match="there is no column 'clik'; did you mean 'click'"):
        guess(frame, "clik")
    with pytest.raises(ValueError, match="'price' cannot be the label: it has"):
        guess(frame, "price")


def test_another_column_with_the_name_of_a_label_is_no_feature(frame):
    both = frame.assign(bought=np.arange(ROWS) % 7 // 6)
    declaration = guess(both, "click")
    assert "bought" not in declaration.features.field_names
    assert "bought: has the name of a label, too; to learn both, give `label` a list" in (
        declaration.text
    )


def test_a_few_words_among_numbers_and_times_are_missing_and_said(frame):
    frame["price"] = [*frame["price"][3:].map(str), "free", "call us", "phone"]
    frame["age"] = [*frame["age"][1:].map(str), "young"]
    frame["item"] = [*frame["item"][1:].map(str), "none"]  # ids, and no numbers
    frame.loc[:4, "when"] = "yesterday"
    text = guess(frame).text
    found = yaml.safe_load(text)
    assert by_name(found) == EXPECTED
    # The rows of `phone` are rejected, as that is a device.
    assert found["source"]["missing"] == ["young", "free", "call us"]
    assert "; free, call us, phone in 3 rows: missing, or let it be categorical\n" in text
    assert "; young in 1 row: missing, or let it be categorical\n" in text
    assert "; 0.25% cannot be read, and will be missing\n" in text


def test_infinite_numbers_make_no_category_of_a_column_however_many(frame):
    frame["price"] = [*frame["price"][200:].map(str), *["inf", "-Infinity"] * 100]
    frame["visits"] = [*frame["visits"][1:].map(str), "1" + "0" * 40]
    text = guess(frame).text
    assert by_name(yaml.safe_load(text)) == EXPECTED
    assert "; inf, -Infinity in 200 rows: missing, or let it be categorical\n" in text
    assert "to 1e+40, of which rows beyond 3.4e+38 are rejected\n" in text


def test_many_words_among_numbers_are_categories(frame):
    frame["price"] = [*frame["price"][30:].map(str), *["free"] * 30]
    assert by_name(declared(frame))["price"]["kind"] == "categorical"


def test_a_label_with_a_few_faults_is_one_by_its_name_nevertheless(frame):
    faulty = np.arange(ROWS) % 7 // 6
    faulty[5] = 2
    assert "bought" not in guess(frame.assign(bought=faulty), "click").features.field_names


def test_the_upper_half_of_ratings_is_positive(frame):
    rated = frame.drop(columns="click").assign(stars=np.arange(ROWS) % 5 + 1.0)
    rated["stars"] = rated["stars"].astype(int)
    assert declared(rated, "stars")["label"] == {"column": "stars", "positive": ["4", "5"]}


@pytest.mark.parametrize(("yes", "no"), [("1", "-1"), ("true", "false"), ("Yes", "No")])
def test_usual_pairs_are_labels(yes, no):
    rows = {"user": [*"abcde"] * 24, "was_clicked": [yes, no, no, no] * 30}
    assert declared(rows)["label"] == "was_clicked"


def labeled(values) -> dict[str, list]:
    """A log whose label has these values."""
    rows = 60 * len(values)
    return {"user": [i % 7 for i in range(rows)], "click": [*values] * 60}


def test_labels_in_several_cases_are_one_and_those_that_are_missing_are_said(frame):
    log = labeled(["yes", "no", "Yes", "NO", ""])
    text = guess(log).text
    assert "label: click  # positive in 40.00% of the rows; missing in 20.00%, which are" in text
    assert guess(log, "click").text == text
    assert "missing" not in guess(labeled(["yes", "no", "Yes", "NO"])).text
    both = frame.assign(bought=["yes", "no", "Yes", "NO"] * (ROWS // 4))
    assert "bought" not in guess(both, "click").features.field_names


@pytest.mark.parametrize(
    ("values", "seen", "fault"),
    [
        ("1", "only 1", "it is always 1$"),
        (["yes", "Yes"], "yes, Yes", "it is always yes$"),
        (
            ["1", ""],
            "only 1, missing ones",
            r"it is 1 or missing: .* label: {column: click, positive: \['1'\], negative: \[\"\"\]}",
        ),
        (["", ""], "missing ones", "it is missing: write 1 and 0$"),
        (
            ["yes", "no", "maybe"],
            "yes, no, maybe",
            "it has 3 values, of which maybe mean neither yes nor no: .* positive: .'yes'.}$",
        ),
        ("12", "1, 2", None),  # ratings, if that is what they are
    ],
)
def test_what_is_wrong_with_a_label_is_said(values, seen, fault):
    with pytest.raises(ValueError, match=rf"such as 1 and 0 \(click has {seen}\): name the label"):
        guess(labeled(values))
    if fault is None:
        assert declared(labeled(values), "click")["label"] == {"column": "click", "positive": ["2"]}
        return
    with pytest.raises(ValueError, match=f"column 'click' cannot be the label: {fault}"):
        guess(labeled(values), "click")


def test_a_name_decides_between_two_binary_columns(frame):
    assert declared(frame.assign(is_new=frame["click"] ^ 1))["label"] == "click"


# Values.


def test_missing_values_are_found_by_their_spellings(tmp_path):
    draw = np.random.default_rng(0)
    prices = [f"{p:.2f}" for p in draw.gamma(2, 10, 500)]
    prices[::50] = ["-"] * 10
    mood = draw.choice(["good", "-", "bad", "NA"], 500)
    table = pd.DataFrame({"price": prices, "mood": mood, "click": draw.integers(0, 2, 500)})
    table.to_csv(tmp_path / "log.csv", index=False)
    declaration = guess(str(tmp_path))
    assert yaml.safe_load(declaration.text)["source"]["missing"] == ["-", "NA"]
    assert "- in price; NA in mood" in declaration.text
    assert declaration.features.field_names == ("price", "mood")


@pytest.mark.parametrize(
    ("name", "spell"),
    [
        ("t", "%Y-%m-%dT%H:%M:%SZ"),
        ("t", "%Y-%m-%d %H:%M:%S.%f+01:00"),
        ("t", "%Y/%m/%d %H:%M"),
        ("date", "%Y%m%d"),
        ("hour", "%y%m%d%H"),
        ("ts", "%s"),
        ("t", "%s123"),
    ],
)
def test_times_are_known_by_their_spellings(name, spell):
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)
    times = [(start + datetime.timedelta(hours=7 * i)).strftime(spell) for i in range(300)]
    assert profile(name, pa.array(times)).kind == "time"
    few = [*times * 2, "soon"] if len({*times}) > 100 else times
    assert profile(name, pa.array(few)).kind == "time"
    many = [f"soon {i}" for i in range(10)]
    assert profile(name, pa.array([*times, *many])).kind != "time"


@pytest.mark.parametrize(
    ("hours", "parts"), [(20, []), (3 * 24, ["hour"]), (8 * 24, ["hour", "weekday"])]
)
def test_parts_of_a_time_are_features_where_they_come_again(hours, parts):
    draw, start = np.random.default_rng(0), datetime.datetime(2024, 3, 1)
    when = [str(start + datetime.timedelta(hours=hours * i / 299)) for i in range(300)]
    rows = {"when": when, "item": draw.integers(0, 9, 300), "click": draw.integers(0, 2, 300)}
    assert [*by_name(declared(rows))] == [*parts, "item"]


@pytest.mark.parametrize("fault", ["yesterday", "0"])
def test_a_row_without_a_time_makes_a_log_no_longer(fault):
    start = datetime.datetime(2024, 3, 1)
    when = [str(start + datetime.timedelta(minutes=i)) for i in range(4000)]
    when[1001] = fault  # which is not among the values that are looked at
    text = guess({"when": when, "item": [*range(8)] * 500, "click": [0, 1] * 2000}).text
    assert "1970" not in text
    assert "weekday" not in text


def test_eight_digits_under_another_name_are_no_time():
    found = profile("C20", pa.array([f"1410{d:02d}05" for d in range(1, 31)]))
    assert found.kind != "time"


@pytest.mark.parametrize("values", ["a b", "red shoes"])
def test_names_of_two_words_are_no_lists(values):
    draw = np.random.default_rng(0)
    cells = [f"{values} {i}" for i in draw.integers(0, 40, 1000)]
    assert profile("title", pa.array(cells)).kind == "category"


@pytest.mark.parametrize(
    ("spelled", "found"),
    [
        ("{0}:{2:.2f}|{1}:{3:.3f}", ("list", "|", ":")),
        ("k{0}={2:.2f};k{1}={3:.2f};;", ("list", ";", "=")),
        ("tag {0}:3 tag{1}:12", ("list", " ", "")),
        ("1{0}:30|1{1}:45|0{1}:59", ("list", "|", "")),
        ("1{0}:30:00|1{1}:45:10", ("list", "|", "")),
    ],
)
def test_weights_of_values_are_no_part_of_them(spelled, found):
    draw = np.random.default_rng(0)
    rows = zip(*(draw.integers(40, size=(2, 500))), *draw.random((2, 500)), strict=True)
    column = pa.array([spelled.format(*row) for row in rows])
    of = profile("x", column)
    assert (of.kind, of.separator, of.weight_separator) == found
    lists = profile("x", pc.split_pattern(column, found[1]))
    assert (lists.kind, lists.weight_separator) == ("list", found[2])


def test_a_list_of_another_columns_values_is_a_sequence():
    draw = np.random.default_rng(0)
    items = [f"i{n}" for n in draw.integers(0, 60, 1000)]
    clicked = [" ".join(f"i{n}" for n in draw.integers(0, 60, 5)) for _ in range(1000)]
    rows = {"item": items, "clicked_before": clicked, "click": draw.integers(0, 2, 1000)}
    assert by_name(declared(rows))["clicked_before"] == {
        "kind": "sequence",
        "vocabulary_of": "item",
        "separator": " ",
        "max_length": 5,
    }


def test_what_a_random_column_tells_of_the_label_is_little():
    draw = np.random.default_rng(0)
    click = draw.random(20000) < 0.01
    user = profile("user", pa.array([str(n) for n in draw.integers(0, 5000, 20000)]))
    assert information(user, click) < 0.1
    assert (
        twins([user, profile("other", user.strings.take(pa.array(np.arange(20000)[::-1])))]) == {}
    )


# Files.


def test_without_a_file_for_validation_it_is_a_share_of_the_training_rows(frame, tmp_path):
    for name, part in (("train", frame[:1500]), ("test", frame[1500:])):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    split = declared(str(tmp_path))["split"]
    assert split == {"by": "files", "train": "train.csv", "validation": 0.1, "test": "test.csv"}


@pytest.mark.parametrize("words", [("train", "valid", "test"), ("TRAIN", "DEV", "HOLDOUT")])
def test_a_column_that_names_splits_is_the_split_and_no_feature(words, frame):
    fold = np.repeat(words, [1500, 300, 200])
    found = yaml.safe_load(guess(frame.assign(fold=fold)).text)
    train, validation, test = ([word] for word in words)
    assert found["split"] == {
        "by": "column",
        "column": "fold",
        "train": train,
        "validation": validation,
        "test": test,
    }
    assert "fold" not in by_name(found)


@pytest.mark.parametrize("words", [("train", "test", "exam"), ("train", "trainer", "test")])
def test_a_column_with_another_value_than_splits_is_a_feature(words, frame):
    found = yaml.safe_load(guess(frame.assign(fold=np.repeat(words, [1500, 300, 200]))).text)
    assert found["split"]["by"] == "time"
    assert "fold" in by_name(found)


def test_files_named_for_splits_are_the_split(frame, tmp_path):
    for name, part in (
        ("train", frame[:1500]),
        ("valid", frame[1500:1700]),
        ("test", frame[1700:]),
    ):
        (tmp_path / name).mkdir()
        part.to_csv(tmp_path / name / "part-0.csv", index=False)
        part.to_csv(tmp_path / name / "part-1.csv", index=False)
    (tmp_path / "README").write_text("what this is")
    assert declared(str(tmp_path))["split"] == {
        "by": "files",
        "train": "train/*",
        "validation": "valid/*",
        "test": "test/*",
    }


def test_rows_come_from_all_over_the_source(tmp_path):
    line = "{},%s\n" % ("x" * 200)
    for number in range(40):
        rows = "".join(line.format(f"{number}.{i}") for i in range(1000 if number else 100_000))
        (tmp_path / f"part-{number:02d}.csv").write_text("where,what\n" + rows)
    paths = find_paths(str(tmp_path))
    assert some_of(paths)[0] == paths[0]
    assert some_of(paths)[-1] == paths[-1]
    assert len(some_of(paths)) == MAX_FILES
    pieces = [piece for path in some_of(paths) for piece in read_pieces(path, MAX_FILES)]
    assert sum(map(len, pieces)) < 20 * 2**20
    lines = b"".join(read_pieces(paths[0], MAX_FILES)).splitlines()[1:]
    assert all(len(found.split(b",")) == 2 for found in lines)
    assert int(lines[-1].split(b",")[0].split(b".")[1]) == 99_999
    with gzip.open(tmp_path / "z.gz", "wb") as file:
        file.write(b"a,b\n" + b"1,2\n" * 10**6)
    assert sum(map(len, read_pieces(str(tmp_path / "z.gz"), MAX_FILES))) < 2**22


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are empty"),
        (b"\n\n\n", "there is no line"),
        (b"a word\nmore than one\nor two or three\n", "this is no table"),
        (b'{"click": \n{"click"\n', "no line is a JSON object"),
        (b"[1]\n{}\n", "there is a single column"),
        (b'[{"a":1,"click":0},{"a":2,"click":1}]\n', "a JSON array: write one object a line"),
        (b"click\n0\n1\n", "there is a single column: a label needs features next to it"),
        (b"PAR1 this is none", "cannot be read as Parquet"),
        (b"click,user\n", "has no rows"),
        (
            b"user,click,user\na,1,b\nc,0,d\n",
            "log: 2 columns are named 'user': rename all but one, or name all columns by --columns",
        ),
        (bytes(range(256)) * 20, "log"),
    ],
)
def test_what_is_no_log_is_said_in_one_line(content, message, tmp_path):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises((ValueError, OSError), match=message) as raised:
        guess(str(tmp_path / "log"))
    assert "\n" not in str(raised.value)


def test_damaged_compression_other_columns_and_archives_name_the_file(frame, tmp_path):
    (tmp_path / "log.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(ValueError, match=r"log\.csv\.gz is cut off, damaged"):
        guess(str(tmp_path))
    (tmp_path / "log.csv.gz").unlink()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.drop(columns="age").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match=r"b\.csv has 13 columns, another file 14: name the files"):
        guess(str(tmp_path))
    frame.rename(columns={"age": "Age"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="not the same columns"):
        guess(str(tmp_path))
    (tmp_path / "b.csv").write_bytes(b'{"age": 1, "click": 0}\n')
    with pytest.raises(ValueError, match=r"a\.csv is delimited text, .*b\.csv is JSON lines: name"):
        guess(str(tmp_path))
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"x\.zip is an archive: name a file in it"):
        guess(str(tmp_path / "x.zip"))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        guess(str(tmp_path / "*.json"))


@pytest.mark.parametrize(
    ("text", "delimiter", "quoted", "header"),
    [
        ("a|b\n1|x,y\n2|z,w\n", "|", False, True),
        ('a,b\n1,"x,y"\n2,"z"\n', ",", True, True),
        ("1::2::3\n4::5::6\n", "::", False, False),
        ("0 4:1 5:1\n1 4:1 6:1\n", " ", False, False),
        ('a\tb\n1\tsays "so"\n2\tno\n', "\t", False, True),
        ('a;b\n"1\n2";x\n"3\n4";y\n', ";", True, True),
        ("0,a,b\n1,a,c\n", ",", False, False),
        ("a,b\na,b\na,c\n", ",", False, False),
        ("cats,b,click\n" + "Home > K17 > L5,5,0\n" * 20, ",", False, True),
        ("cats,click\n" + "a|b|c,5\n" * 9 + "torn\n", ",", False, True),
        ("cats;click\n" + "a, b, c;5\n" * 20, ";", False, True),
        ("a b c\n" + "1,5 2,5 3,5\n" * 20, " ", False, True),
        (",a,b\n0,1,x\n1,2,y\n", ",", False, True),  # as pandas writes a frame with its index
        ("a,b,\n1,x,\n2,y,\n", ",", False, True),
        ("a,,b\n1,x,3\n2,y,4\n", ",", False, False),
    ],
)
def test_dialects(text, delimiter, quoted, header):
    found = guess_dialect(text)
    assert (found.delimiter, found.quoted, found.header) == (delimiter, quoted, header)


def test_lists_in_brackets_and_days_that_may_be_months_are_no_features(tmp_path):
    days = [f"{1 + i % 12:02d}/{1 + i % 11:02d}/2024 {i % 24}:00" for i in range(600)]
    rows = "".join(f'{i % 2},{i % 5},"[{i % 7}, {i % 5}]",{day}\n' for i, day in enumerate(days))
    (tmp_path / "log.csv").write_text(f"click,site,items,when\n{rows}")
    text = guess(str(tmp_path / "log.csv")).text
    assert "#   items: lists in brackets: write their values with a separator" in text
    assert (
        "#   when: times that may be read in two ways, such as 01/01/2024 0:00: write 2024-01-01 or"
    ) in text
    assert "name: site" in text


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([3], range(13, 28), "times with the month first, such as 03/13/2024: .* as 2024-03-13"),
        (range(1, 28), [3], "times with the day first, such as 13/03/2024: .* as 2024-03-13"),
        (range(1, 28), range(28, 1, -1), "days and months in either order: write them as"),
        (
            [2],
            [1, 3],
            "times that may be read in two ways, such as 02/01/2024: .*-01-02 or 2024-02",
        ),
    ],
)
def test_days_beyond_12_say_where_the_month_is(first, second, said):
    pairs = itertools.islice(zip(itertools.cycle(first), itertools.cycle(second)), 120)
    when = [f"{a:02d}/{b:02d}/2024" for a, b in pairs]
    log = {"site": [*"abcde"] * 24, "when": when, "click": [0, 1, 0, 0] * 30}
    assert re.search(f"#   when: {said}", guess(log).text)


def test_numbers_that_cannot_be_read_are_no_features_and_say_what_to_write():
    draw = np.random.default_rng(0)
    numbers = draw.integers(100, 90_000, ROWS)
    grouped = [f"{number:,}" for number in numbers]
    signed = [f"${n / 100}" if n % 2 else f"{n / 100} EUR".replace(".", ",") for n in numbers]
    clear = [f"{number / 10:,}" for number in numbers]
    columns = {
        "thousands": grouped,
        "clear": clear,
        "price": signed,
        "share": [f"{n % 97}%" for n in numbers],
    }
    log = {"site": draw.choice([*"abc"], ROWS).tolist(), "click": draw.integers(0, 2, ROWS)}
    text = guess({**log, **columns}, "click").text
    declaration = yaml.safe_load(text)
    assert set(by_name(declaration)) == {"site"}
    assert "decimal" not in declaration["source"]
    assert "#   thousands: numbers that may be read in two ways, such as" in text
    assert "#   clear: numbers with a comma between thousands, such as" in text
    assert "#   price: numbers with a sign, such as" in text
    assert "#   share: numbers with a sign, such as" in text


def test_three_digits_behind_a_comma_are_decimals_where_they_cannot_be_thousands():
    draw = np.random.default_rng(0)
    long = [f"{a},{b}" for a, b in draw.integers(100, 130, (ROWS, 2))]  # none has less in front
    log = {
        "weight": [f"{n // 1000},{n % 1000:03}" for n in draw.integers(1, 9000, ROWS)],
        "length": long,
        "click": draw.integers(0, 2, ROWS),
    }
    declaration = declared(log, "click")
    assert declaration["source"]["decimal"] == ","
    assert {f["name"]: f["kind"] for f in declaration["features"]} == {
        "weight": "numeric",
        "length": "numeric",
    }


def test_integers_that_are_written_as_floats_say_so():
    draw = np.random.default_rng(0)
    log = {"user_id": [f"{n}.0" for n in draw.integers(1, 99, ROWS)]}
    text = guess({**log, "click": draw.integers(0, 2, ROWS)}, "click").text
    assert "with .0 at their ends: without it they would be others" in text


def test_counts_are_numbers_also_where_they_are_written_as_floats_or_most_are_zeros():
    draw = np.random.default_rng(0)
    pages = draw.poisson(draw.gamma(2.0, 10.0, ROWS))
    gains = np.where(draw.random(ROWS) < 0.9, 0, draw.choice([2174, 3103, 5178, 7298, 15024], ROWS))
    log = {"pages": [f"{n}.0" for n in pages], "balance": gains + draw.integers(0, 9, ROWS)}
    found = declared({**log, "click": draw.integers(0, 2, ROWS)}, "click")
    assert [feature["kind"] for feature in found["features"]] == ["numeric"] * 2


def test_amounts_that_seldom_come_again_are_numbers_where_their_order_tells_of_the_label():
    draw = np.random.default_rng(0)
    outlay = draw.lognormal(12, 1, ROWS).astype(int)
    click = draw.random(ROWS) < np.where(outlay > np.median(outlay), 0.6, 0.3)
    ranks = np.argsort(np.argsort(outlay))
    log = {
        "outlay": outlay,
        "visitor": outlay,  # a name that says that they are ids
        "order_id": outlay + 1,
        "line": ranks,  # without gaps: a count of the rows
        "other": draw.permutation(outlay),  # whose order tells nothing
        "shop": draw.integers(0, 9, ROWS),
        "click": click.astype(int),
    }
    text = guess(log, "click").text
    assert [feature["name"] for feature in yaml.safe_load(text)["features"]] == ["outlay", "shop"]
    assert "name: outlay, scale: quantiles, buckets: 20}  # from " in text
    assert "seldom the same again, but their order tells of the label: no ids?" in text
    for name in ("visitor", "order_id", "line", "other"):
        assert f"#   {name}: another value in nearly every row" in text


def test_negative_numbers_are_no_ids_but_for_minus_one():
    draw = np.random.default_rng(0)
    least = {"delta": -30, "shelf": -1}
    log = {
        name: (draw.permutation(60) + first)[np.minimum(draw.geometric(0.05, ROWS), 59)]
        for name, first in least.items()
    }
    found = by_name(declared({**log, "click": draw.integers(0, 2, ROWS)}, "click"))
    assert [found[name]["kind"] for name in log] == ["numeric", "categorical"]


def test_whole_numbers_that_might_count_are_said():
    draw = np.random.default_rng(0)
    places = np.minimum(draw.geometric(0.1, 1000), 40)
    log = {"lead": draw.geometric(0.02, 1000), "shelf": draw.permutation(41)[places]}
    text = guess({**log, "click": draw.integers(0, 2, 1000)}, "click").text
    lines = [line for line in text.splitlines() if "kind: categorical" in line]
    assert [("lead" in line, "may count or measure" in line) for line in lines] == [
        (True, True),
        (False, False),
    ]


def test_a_column_without_a_name_is_left_out(frame, tmp_path):
    frame.to_csv(tmp_path / "log.csv")
    declaration = guess(str(tmp_path / "log.csv"))
    assert "#   '': has no name in the header" in declaration.text
    assert by_name(yaml.safe_load(declaration.text)) == EXPECTED


def test_columns_of_one_name_may_be_named(tmp_path):
    rows = "".join(f"a{i % 3},{i % 2},b{i % 5}\n" for i in range(300))
    (tmp_path / "log.csv").write_text(f"user,click,user\n{rows}")
    found = guess(str(tmp_path / "log.csv"), columns=["user", "click", "other"])
    assert "columns: [user, click, other]" in found.text


def test_encodings():
    assert guess_encoding("é".encode()) == "utf-8"
    assert guess_encoding("é".encode()[:1]) == "utf-8"  # cut
    assert guess_encoding("né".encode("latin-1") + b",") == "latin-1"
    assert guess_encoding("né\n".encode("latin-1") + "né\nÅ\n".encode()) == "utf-8"  # a bad line
    assert guess_encoding("né".encode("utf-16")) == "utf-16"


def test_a_wide_file_without_a_header_has_its_label_first(tmp_path):
    draw = np.random.default_rng(0)
    rows = np.stack([draw.integers(0, 2, 300), draw.integers(0, 2, 300), draw.integers(0, 9, 300)])
    np.savetxt(tmp_path / "log.txt", rows.T, "%d", delimiter="\t")
    found = declared(str(tmp_path))
    assert found["source"] == {"format": "tsv", "header": False, "columns": ["c1", "c2", "c3"]}
    assert found["label"] == "c1"


def test_columns_without_a_header_may_be_named(tmp_path):
    draw = np.random.default_rng(0)
    rows = np.stack([draw.integers(0, 2, 300), draw.integers(0, 50, 300), draw.integers(0, 9, 300)])
    np.savetxt(tmp_path / "log.txt", rows.T, "%d", delimiter="\t")
    assert "# There is no header" in guess(str(tmp_path)).text
    named = guess(str(tmp_path), columns=["click", "item", "os"])
    assert "# There is no header" not in named.text
    found = yaml.safe_load(named.text)
    assert found["source"]["columns"] == ["click", "item", "os"]
    assert [feature["group"] for feature in found["features"]] == ["item", "user"]
    arguments = ["--source", str(tmp_path), "--out", str(tmp_path / "my.yaml")]
    shown = CliRunner().invoke(commands.init, [*arguments, "--columns", "click, item,os"])
    assert shown.output.startswith(named.text)


def test_a_header_may_be_renamed(tmp_path):
    pd.DataFrame({"a": [*"xyz"] * 50, "b": [0, 1] * 75}).to_csv(tmp_path / "log.csv", index=False)
    found = yaml.safe_load(guess(str(tmp_path), columns=["item", "click"]).text)
    assert found["source"] == {"format": "csv", "columns": ["item", "click"]}
    assert found["label"] == "click"


def test_names_of_columns_that_do_not_fit_are_refused(frame, tmp_path):
    frame.to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(ValueError, match=r"log\.csv has 14 columns \(row, user id, .*, and 2 are"):
        guess(str(tmp_path), columns=["a", "b"])
    with pytest.raises(ValueError, match="a column is named twice: a, a, "):
        guess(str(tmp_path), columns=["a", "a", *"cdefghijklmn"])
    with pytest.raises(ValueError, match="a frame has names of columns"):
        guess(frame, columns=["a"])
    (tmp_path / "log.csv").unlink()
    frame.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log\.parquet has names of columns in it: only CSV"):
        guess(str(tmp_path), columns=["a"])


# The command.


def test_a_file_is_never_overwritten_unless_forced(frame, tmp_path):
    frame.to_csv(tmp_path / "log.csv", index=False)
    out = tmp_path / "clicks.yaml"
    arguments = ["--source", str(tmp_path / "log.csv"), "--out", str(out)]
    shown = CliRunner().invoke(commands.init, arguments)
    assert shown.exit_code == 0, shown.output
    assert out.read_text() in shown.output
    assert f"ctr-keras prepare --dataset {out}" in shown.output
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="exists; choose another name or say --force"):
        write_declaration(str(tmp_path / "log.csv"), str(out))
    assert out.read_text() == "mine"
    assert CliRunner().invoke(commands.init, [*arguments, "--force"]).exit_code == 0
    assert "features:" in out.read_text()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_declaration(str(tmp_path / "log.csv"), str(tmp_path / "no" / "clicks.yaml"))


def test_looking_takes_seconds_and_imports_nothing_heavy(frame, tmp_path):
    pd.concat([frame] * 20).to_csv(tmp_path / "log.csv", index=False)
    code = (
        "import sys; from pipeline.guessing import guess; guess(sys.argv[1]); print(*sys.modules)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log.csv")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    assert not {"apache_beam", "keras", "tensorflow"} & set(done.stdout.split())


def test_lines_that_are_no_json_are_counted(tmp_path):
    rows = [json.dumps({"user": i % 7, "click": i % 2}) for i in range(200)]
    (tmp_path / "log.json").write_text("\n".join([*rows, "{", "[]"]))
    assert "# 2 lines of the sample are no JSON objects" in guess(str(tmp_path)).text


def test_json_values_are_spelled_as_the_pipeline_spells_them(tmp_path):
    rows = [
        {"who": {"a": 1}, "ok": i % 3 == 0, "n": float(i % 7), "t": [1, None]} for i in range(99)
    ]
    (tmp_path / "log.json").write_text("\n".join(map(json.dumps, rows)))
    declaration = guess(str(tmp_path))
    assert yaml.safe_load(declaration.text)["label"] == "ok"
    assert "#   who: no value that a feature could take" in declaration.text
