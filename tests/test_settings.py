"""Settings: what a value may be, and where a wrong one was written."""

import dataclasses
import datetime
from typing import Literal

import pytest
import yaml

from ctr_keras.settings import (
    BoolOrAuto,
    Count,
    Source,
    TupleOf,
    check_settings,
    did_you_mean,
    write_yaml,
)
from tests.test_imports import modules_after


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    sizes: TupleOf[int] = ()

    __post_init__ = check_settings


@dataclasses.dataclass(frozen=True)
class Whole:
    parts: list[object]
    epochs: Count = 1
    rate: float = 0.1
    jit: BoolOrAuto = "auto"
    method: Literal["one", "two"] = "one"
    limit: Count | None = None

    __post_init__ = check_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": True}, "epochs must be an integer, got True"),
        ({"epochs": 2.0}, "epochs must be an integer, got 2.0"),
        ({"rate": "0.1"}, "rate must be a number, got '0.1'"),
        ({"rate": False}, "rate must be a number, got False"),
        ({"jit": 1}, "jit must be true or false or 'auto', got 1"),
        ({"method": "three"}, "method must be 'one' or 'two', got 'three'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"parts": "ab"}, "parts must be a list, got 'ab'"),
    ],
)
def test_values_are_what_their_field_takes(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Whole(**{"parts": []} | changes)


def test_integers_are_numbers_and_lists_are_tuples():
    assert Whole([], rate=1).rate == 1.0
    assert Part("a", sizes=[1, 2]).sizes == (1, 2)
    with pytest.raises(ValueError, match=r"^sizes\[1\] must be an integer, got 'b'$"):
        Part("a", sizes=[1, "b"])
    for several in ("ab", 3, {"a": 1}):
        with pytest.raises(ValueError, match=r"^sizes must be a list, got "):
            Part("a", sizes=several)


FILE = """\
epochs: 2
parts:
- kind: part
  name: a
- {kind: part, nam: b}
- kind: other
- kind: part
  name: c
  sizes:
  - 1
  - two
- 3
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(FILE)
    return Source.read(str(path))


def test_parts_are_built_of_what_stands_below(source):
    assert source.build(Whole).epochs == 2
    assert source.at("parts", 0).build_one_of("kind", {"part": Part}) == Part("a")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (1, "line 5: unknown setting 'nam'; did you mean 'name'?"),
        (2, "line 6: unknown kind 'other'; available: part"),
        (3, "line 11: sizes[1] must be an integer, got 'two'"),
        (4, "line 12: expected keys and values, got 3"),
    ],
)
def test_mistakes_in_parts_are_located(source, index, message):
    with pytest.raises(ValueError, match="line") as error:
        source.at("parts", index).build_one_of("kind", {"part": Part})
    assert str(error.value) == f"{source.path}, {message}"


def test_what_is_missing_is_located_where_it_should_be(source):
    with pytest.raises(ValueError, match=r"whole\.yaml, line 6: name is not given"):
        dataclasses.replace(source.at("parts", 2), values={}).build(Part)
    with pytest.raises(ValueError, match=r"whole\.yaml: data is not given"):
        source.require("epochs", "data")


def test_all_mistakes_are_said_at_once(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("parts: []\nepochs: 0\nrate: fast\n")
    with pytest.raises(ValueError, match="; ") as raised:
        Source.read(str(path), ["limit=0"]).build(Whole)
    assert str(raised.value) == (
        f"{path}, line 2: epochs must be at least 1, got 0; "
        f"{path}, line 3: rate must be a number, got 'fast'; "
        "--set limit=0: limit must be at least 1, got 0"
    )
    with pytest.raises(ValueError, match="; ") as raised:
        Source.read(overrides=["epoch=1", "zzz=1", "xxx=1"]).build(Whole)
    assert str(raised.value) == (
        "--set epoch=1: unknown setting 'epoch'; did you mean 'epochs'?; "
        "--set zzz=1: unknown setting 'zzz'; --set xxx=1: unknown setting 'xxx'; "
        "available: parts, epochs, rate, jit, method, limit"
    )
    with pytest.raises(ValueError, match=r"^data is not given; out is not given$"):
        Source.read().require("data", "out")


def test_an_error_of_another_kind_can_be_located(source):
    with (
        pytest.raises(ValueError, match=r"whole\.yaml, line 4: 'a' is declared twice"),
        source.located("parts", 0, "name"),
    ):
        raise ValueError("'a' is declared twice")


def test_merged_keys_are_located_too(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("one: &one\n  epochs: 0\ntwo:\n  <<: *one\n  parts: []\n")
    with pytest.raises(ValueError, match=r"merged\.yaml, line 2: epochs must be at least 1"):
        Source.read(str(path)).at("two").build(Whole)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 1e-3),
        ("1E9", 1e9),
        ("-1.5e3", -1500.0),
        ("-.1", -0.1),
        ("[1e-3, x]", [1e-3, "x"]),
        ("'1e-3'", "1e-3"),
        ("1e", "1e"),
        ("12e45f", "12e45f"),
        ("089", "089"),
        ("12", 12),
        ("2020-01-01", datetime.date(2020, 1, 1)),
    ],
)
def test_numbers_are_written_as_users_write_them(written, value, tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text(f"rate: {written}\n")
    for source in (Source.read(None, [f"rate={written}"]), Source.read(str(path))):
        assert source.values == {"rate": value}
        assert type(source.values["rate"]) is type(value)
    named = Source.read(str(path), more_numbers=False).values
    assert named == yaml.safe_load(path.read_text())


def test_strings_that_look_like_numbers_are_read_back(tmp_path):
    path = tmp_path / "written.yaml"
    settings = {"out": "1e3", "rate": 1e-5, "several": ["-.1", 12]}
    with path.open("w") as file:
        write_yaml(settings, file)
    assert Source.read(str(path)).values == yaml.safe_load(path.read_text()) == settings


def test_names_are_suggested_whatever_their_case():
    assert did_you_mean("fm", ["FM", "FNN"]) == "; did you mean 'FM'?"
    assert did_you_mean(3, []) == "; available: none"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("AutoInt+", "AutoIntPlus"),
        ("GBDT+LR", "GBDTLR"),
        ("gbdt+ffm", "GBDTFFM"),
        ("OptInter-M", "OptInterM"),
        ("OptInter-F", "OptInterF"),
        ("learning-rate", "learning_rate"),
    ],
)
def test_names_of_papers_are_recognized(written, meant):
    known = ["AutoInt", "AutoIntPlus", "FFM", "GBDTLR", "GBDTFFM", "LR", "LightGBM"]
    known += ["OptInter", "OptInterM", "OptInterF", "learning_rate"]
    assert did_you_mean(written, known) == f"; did you mean {meant!r}?"


def test_settings_need_neither_keras_nor_tensorflow():
    assert not modules_after("import ctr_keras.settings") & {"keras", "tensorflow"}
