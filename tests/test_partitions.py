"""Prepared folders that are read as one."""

import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.data import open_examples, read_rows, read_samples
from ctr_keras.features import FeatureSet
from ctr_keras.partitions import join, partitions, rows_digest
from tests.data.shards import FEATURES, write_prepared

LOG = {"a": list("xxy"), "b": list("xxy"), "row": [0, 0, 0], "genres": ["p|q|r", "s", ""]}
MONDAY = FEATURES.fit(
    LOG | {"history": [""] * 3}
)  # of the sizes that `write_prepared` takes for known
NEW = {"a": ["z"], "b": ["x"], "row": [0], "genres": ["t|u"], "history": [""]}
TUESDAY = MONDAY.grow(NEW)


def prepared(folder, features: FeatureSet, rows: int) -> str:
    """A folder of `rows` training rows with the ids of `MONDAY`, whatever the features."""
    counts = {"train": rows, "validation": 10, "test": 10}
    path = write_prepared(folder, counts, FEATURES)
    features.save_fitted(path)
    report = {"rows": counts, "label_mean": {"train": rows / 100, "validation": 0.5, "test": None}}
    (folder / "report.json").write_text(json.dumps(report))
    return path


@pytest.fixture
def days(tmp_path) -> list[str]:
    return [prepared(tmp_path / "mon", MONDAY, 20), prepared(tmp_path / "tue", MONDAY, 40)]


def test_the_same_rows_have_one_digest_wherever_they_were_prepared(tmp_path):
    def digest(split: str = "random", **report) -> str:
        file = {"bytes": 9, "modified": report.get("wall_seconds")}
        declaration = {"split": split, "files": {"a.csv": file}}
        (tmp_path / "report.json").write_text(json.dumps({"declaration": declaration, **report}))
        return rows_digest(str(tmp_path))

    first = digest(source="here", wall_seconds=1, rows={"train": 5})
    assert digest(source="there", wall_seconds=2, rows={"train": 5}) == first
    assert digest(source="here", wall_seconds=1, rows={"train": 6}) != first
    assert digest("time", source="here", wall_seconds=1, rows={"train": 5}) != first


def test_all_rows_of_all_folders_are_read(days, tmp_path):
    both = str(tmp_path / "both")
    report = join(days, both)
    assert report["rows"] == {"train": 60, "validation": 20, "test": 20}
    assert report["label_mean"]["train"] == pytest.approx((20 * 0.2 + 40 * 0.4) / 60)
    features = FeatureSet.load_fitted(both)
    assert features == MONDAY
    assert features.statistics == MONDAY.statistics
    inputs, labels = read_rows(both, "train", features, 100)
    parts = [read_rows(day, "train", features, 100) for day in days]
    for name, values in inputs.items():
        of_parts = np.concatenate([part[0][name] for part in parts])
        np.testing.assert_array_equal(
            np.sort(values, axis=0), np.sort(of_parts, axis=0), err_msg=name
        )
    assert len(labels) == 60
    streamed = next(iter(open_examples(both, "train", features).stream(60, seed=0)))
    np.testing.assert_array_equal(
        np.sort(np.ravel(streamed[0]["numeric"])), np.sort(np.ravel(inputs["numeric"]))
    )


@pytest.mark.parametrize("how", ["streamed", "cached", "resident"])
def test_rows_of_an_earlier_version_have_the_ids_of_the_newest(how, days, tmp_path):
    grown = prepared(tmp_path / "wed", TUESDAY, 0)
    both = str(tmp_path / "both")
    join([days[0], grown], both)
    features = FeatureSet.load_fitted(both)
    assert features == TUESDAY
    options = {
        "streamed": {},
        "cached": {"cache": str(tmp_path / "cache")},
        "resident": {"resident": True},
    }[how]
    (inputs, _), *_ = open_examples(both, "train", features, **options).read(100)
    before, _ = read_rows(days[0], "train", MONDAY, 100)
    moved = TUESDAY.id_ranges["b"].start - MONDAY.id_ranges["b"].start
    assert moved == 1  # `a` has one value more, and `b` comes behind
    for name, move in {"categorical": [0, 1], "genres": 1, "history": 0}.items():
        old = before[name]
        np.testing.assert_array_equal(inputs[name], np.where(old == 0, 0, old + move), name)


def test_samples_are_the_last_that_there_are_with_the_ids_of_the_newest(days, tmp_path):
    grown = prepared(tmp_path / "wed", TUESDAY, 1)
    for folder, rows in ((days[0], 1), (days[1], 2), (grown, 0)):
        with open(os.path.join(folder, "samples.jsonl"), "w") as file:
            file.writelines(f'{{"a": "{folder}"}}\n' for _ in range(rows))
        shard = os.path.join(folder, "examples", "test-00000-of-00003.tfrecord.gz")
        shutil.copyfile(shard, os.path.join(folder, "samples.tfrecord.gz"))
    both = str(tmp_path / "both")
    join([*days, grown], both)
    samples = read_samples(both, TUESDAY)
    assert [row["a"] for row in samples.rows] == [days[1]] * 2
    before = read_samples(days[1], MONDAY).inputs["categorical"]
    np.testing.assert_array_equal(samples.inputs["categorical"] - before, [[0, 1]] * 2)


def test_joined_folders_are_joined_again_as_their_parts(days, tmp_path):
    both, all_three = str(tmp_path / "both"), str(tmp_path / "more" / "all")
    os.mkdir(tmp_path / "more")
    join(days, both)
    join([both, prepared(tmp_path / "wed", TUESDAY, 5)], all_three)
    assert [os.path.basename(part.folder) for part in partitions(all_three)] == [
        *("mon", "tue", "wed")
    ]
    assert FeatureSet.load(os.path.join(all_three, "features.json")) == TUESDAY
    shutil.move(str(tmp_path), f"{tmp_path}-moved")
    moved = all_three.replace(str(tmp_path), f"{tmp_path}-moved")
    assert open_examples(moved, "train", TUESDAY).count == 65
    shutil.move(f"{tmp_path}-moved", str(tmp_path))


def test_the_same_again_is_the_report_and_anything_else_is_refused(days, tmp_path):
    both = str(tmp_path / "both")
    assert join(days, both) == join(days, both)
    with pytest.raises(FileExistsError, match=f"^{both} exists and holds something else; choose"):
        join(days[:1], both)
    with pytest.raises(ValueError, match=f"^{days[0]} is there twice: its rows would count twice$"):
        join([both, days[0]], str(tmp_path / "more"))


def test_folders_of_other_vocabularies_or_numbers_are_refused_by_name(days, tmp_path):
    other = FEATURES.fit(LOG | {"b": list("vvw"), "history": [""] * 3})
    assert other == MONDAY  # by its sizes, which alone would not tell
    strange = prepared(tmp_path / "strange", other, 5)
    out = str(tmp_path / "out")
    result = CliRunner().invoke(main, ["join", *days, strange, "--out", out])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {days[0]} was prepared with other features, vocabularies or numbers than "
        f"{strange}: prepare it by `ctr-keras prepare --like {strange}`\n"
    )
    assert not os.path.exists(out)
    fork = prepared(tmp_path / "fork", MONDAY.grow(NEW | {"a": ["w"]}), 5)
    with pytest.raises(ValueError, match="fork was prepared with other features"):
        join([days[0], fork, prepared(tmp_path / "wed", TUESDAY, 5)], out)


def test_parts_that_have_changed_or_gone_are_named(days, tmp_path):
    both = str(tmp_path / "both")
    join(days, both)
    report = json.loads((tmp_path / "tue" / "report.json").read_text())
    (tmp_path / "tue" / "report.json").write_text(json.dumps(report | {"wall_seconds": 3}))
    with pytest.raises(ValueError, match=f"^{days[1]} has been prepared again since {both} was jo"):
        read_rows(both, "train", MONDAY, 1)
    shutil.rmtree(days[1])
    with pytest.raises(
        FileNotFoundError, match=f"^what {both} was joined from .*: {days[1]} holds"
    ):
        read_rows(both, "train", MONDAY, 1)


def test_the_command_prints_rows_and_names_what_is_no_prepared_data(days, tmp_path):
    both = tmp_path / "both"
    result = CliRunner().invoke(main, ["join", *days, "--out", str(both)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"train": 60, "validation": 20, "test": 20}
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(main, ["join", str(tmp_path / "empty"), "--out", str(both)])
    assert f"{tmp_path / 'empty'} holds no prepared data: there is no report.json" in result.stderr
