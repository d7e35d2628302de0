"""A finished data set is taken for another one's as soon as anything that decides it differs."""

import os
import pathlib

import pytest

from pipeline.datasets import find_dataset
from pipeline.description import describe, difference

DECLARATION = """
source: {format: csv, missing: [NA]}
label: click
features:
  - {kind: categorical, name: site, min_count: 5}
  - {kind: numeric, name: price}
  - {kind: sequence, name: seen, vocabulary_of: site}
history: {column: seen, user: user, item: site, time: day}
split: {by: random, seed: 1}
"""
HEADER = "site,price,user,day,click,adult\n"


@pytest.fixture
def log(tmp_path) -> pathlib.Path:
    folder = tmp_path / "log"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text(HEADER)
    return folder


def described(log: pathlib.Path, declaration: str = DECLARATION) -> dict:
    path = log.parent / "my.yaml"
    path.write_text(declaration)
    dataset = find_dataset(str(path))
    return describe(dataset, str(log), dataset.files(str(log)))


def test_the_same_declaration_and_files_are_the_same(log):
    assert difference(described(log), described(log)) is None


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("missing: [NA]", "missing: [NA, '-']", "missing was ['NA'] and is ['NA', '-']"),
        ("label: click", "label: adult", "label was 'click' and is 'adult'"),
        ("min_count: 5", "min_count: 6", "min_count of feature site was 5 and is 6"),
        ("  - {kind: numeric, name: price}\n", "", "feature price was removed"),
        ("seed: 1", "seed: 2", "seed of split was 1 and is 2"),
        ("by: random, seed: 1", "by: time, column: day, validation_from: 1, test_from: 2", "split"),
        ("time: day", "time: day, max_length: 9", "max_length of history was 30 and is 9"),
        ("format: csv", "format: csv, quoted: false", "quoted of table was True and is False"),
        ("format: csv", "format: csv, files: 'a.*'", "pattern was '' and is 'a.*'"),
    ],
)
def test_whatever_is_declared_otherwise_is_named(log, before, now, said):
    assert before in DECLARATION
    found = difference(described(log), described(log, DECLARATION.replace(before, now)))
    assert found is not None
    assert said in found


def test_files_that_are_added_removed_or_changed_are_named(log):
    before = described(log)
    (log / "c.csv").write_text(HEADER)
    (log / "d.csv").write_text(HEADER)
    assert difference(before, described(log)) == "2 files were added"
    (log / "a.csv").unlink()
    (log / "d.csv").unlink()
    assert difference(before, described(log)) == "file c.csv was added and file a.csv was removed"
    (log / "b.csv").write_text(HEADER + "\n")
    assert "file b.csv was changed" in difference(before, described(log))


def test_a_file_of_the_same_size_has_changed_if_its_time_has(log):
    before = described(log)
    os.utime(log / "a.csv", ns=(0, 1))
    assert difference(before, described(log)) == "file a.csv was changed"


def test_a_source_that_is_a_file_is_called_the_source(log):
    (log.parent / "my.yaml").write_text(DECLARATION)
    dataset, path = find_dataset(str(log.parent / "my.yaml")), log / "a.csv"
    before = describe(dataset, str(path), dataset.files(str(path)))
    path.write_text(HEADER + "\n")
    assert (
        difference(before, describe(dataset, str(path), dataset.files(str(path))))
        == "the source was changed"
    )


def test_tables_that_are_joined_count_too(tmp_path):
    for name in ("ratings.dat", "users.dat", "movies.dat"):
        (tmp_path / name).write_text("1::2\n")
    dataset = find_dataset("movielens-1m")
    files = describe(dataset, str(tmp_path), dataset.files(str(tmp_path)))["files"]
    assert list(files) == ["movies.dat", "ratings.dat", "users.dat"]
