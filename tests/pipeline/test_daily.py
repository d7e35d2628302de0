"""A new day: prepared like an earlier one, its new values appended, read with it, learned from."""

import dataclasses
import pathlib

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.data import read_rows, read_samples
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.features.growth import id_moves, is_grown_from
from ctr_keras.features.layout import Vocabulary
from ctr_keras.files import read_json
from ctr_keras.models import build_model
from ctr_keras.partitions import join
from ctr_keras.training import TrainConfig, evaluate_run, load_run, train
from ctr_keras.training.start_from import started
from pipeline.datasets import find_dataset
from pipeline.datasets.base import Dataset
from pipeline.earlier import dataset_like, warnings_of
from pipeline.growth import append_keys
from pipeline.parsing.delimited import Delimited
from pipeline.prepare import prepare
from pipeline.report import check_rows
from pipeline.splits import SPLITS, OneSplit
from pipeline.storage import Output

DECLARATION = """
source: {format: csv, missing: ["-"]}
label: click
features:
  - {kind: categorical, name: user, min_count: 5}
  - {kind: categorical, name: item, hash_buckets: 3}
  - {kind: categorical, name: hour, column: time, time_part: hour}
  - {kind: numeric, name: price, scale: z_score}
  - {kind: numeric, name: age, scale: quantiles, buckets: 5}
  - {kind: multi_valued, name: tags, max_length: 2}
  - {kind: crossed, first: user, second: age, min_count: 2}
split: {by: random, validation: 0.2, test: 0.2}
"""
CLICKS = {"a": 0.1, "b": 0.5, "c": 0.9, "new": 0.95, "other": 0.05, "rare": 0.5}  # by user


def log(path: pathlib.Path, users: list[str], seed: int, rows: int = 400) -> pd.DataFrame:
    """Writes a day's log, and returns its rows as `FeatureSet.pack` takes them."""
    draw = np.random.default_rng(seed)
    user = draw.choice(users, rows)
    frame = pd.DataFrame(
        {
            "user": user,
            "item": draw.choice(list("pqrst"), rows),
            "time": [f"2024-03-01 {hour:02d}:30" for hour in draw.integers(seed, 12, rows)],
            "price": draw.normal(seed, 1, rows).round(3),
            "age": draw.integers(10 * seed, 90, rows),
            "tags": ["|".join(draw.choice(list("wxyz")[: 3 + seed], 2)) for _ in range(rows)],
            "click": (draw.random(rows) < [CLICKS[name] for name in user]).astype(int),
        }
    )
    frame.to_csv(path, index=False)
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Monday's log and data, and Tuesday's: like Monday's, grown and all for training."""
    folder = tmp_path_factory.mktemp("daily")
    (folder / "clicks.yaml").write_text(DECLARATION)
    log(folder / "monday.csv", ["a", "b", "c"], 0)
    rare = log(folder / "tuesday.csv", ["a", "c", "new", "other"], 1)
    rare.loc[:3, "user"] = "rare"  # four times, one too few
    rare.to_csv(folder / "tuesday.csv", index=False)
    prepare(str(folder / "clicks.yaml"), str(folder / "monday.csv"), str(folder / "monday"))
    (folder / "clicks.yaml").unlink()  # the prepared folder has what it needs
    prepare(
        None,
        str(folder / "tuesday.csv"),
        str(folder / "tuesday"),
        like=str(folder / "monday"),
        grow=True,
        split="train",
    )
    join([str(folder / "monday"), str(folder / "tuesday")], str(folder / "both"))
    return folder


def frame_of(path: pathlib.Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"user": str})


def sorted_rows(packed: dict[str, np.ndarray]) -> np.ndarray:
    rows = np.concatenate([packed[name] for name in sorted(packed)], axis=1)
    return rows[np.lexsort(rows.T)]


def test_the_same_rows_like_themselves_are_the_same_records(folder):
    like = str(folder / "monday")
    source, out = str(folder / "monday.csv"), folder / "again"
    report = prepare(None, source, str(out), like=like)
    assert report == prepare(None, source, str(out), like=like)  # the finished one
    for split in ("train", "validation", "test"):
        shards = [sorted((day / "examples").glob(f"{split}-*")) for day in (folder / "monday", out)]
        assert [path.name for path in shards[0]] == [path.name for path in shards[1]]
        features = FeatureSet.load_fitted(out)
        rows = [read_rows(str(day), split, features, 1000) for day in (folder / "monday", out)]
        for name, values in rows[0][0].items():
            np.testing.assert_array_equal(values, rows[1][0][name], name)
        np.testing.assert_array_equal(rows[0][1], rows[1][1])
    names = ("features.json", "numbers.json", "dataset.yaml", "samples.jsonl")
    for name in (*names, "transform_fn/assets/vocabulary"):
        assert (out / name).read_bytes() == (folder / "monday" / name).read_bytes(), name


def test_values_keep_their_places_and_frequent_new_ones_follow_as_in_python(folder):
    monday, tuesday = (FeatureSet.load_fitted(folder / day) for day in ("monday", "tuesday"))
    assert (monday.vocabulary_version, tuesday.vocabulary_version) == (1, 2)
    assert is_grown_from(monday, tuesday)
    assert set(tuesday.statistics.values["user"][3:]) == {"new", "other"}
    grown = monday.grow(frame_of(folder / "tuesday.csv"))  # all of them are training rows
    assert grown == tuesday
    for name, values in grown.statistics.values.items():
        assert list(values) == list(tuesday.statistics.values[name]), name
    assert tuesday.statistics.numbers == monday.statistics.numbers


def test_records_and_requests_have_the_ids_of_the_grown_vocabularies(folder):
    frame = frame_of(folder / "tuesday.csv")
    features = FeatureSet.load_fitted(folder / "tuesday")
    expected = features.pack(frame)
    packed, _ = read_rows(str(folder / "tuesday"), "train", features, 1000)
    np.testing.assert_allclose(sorted_rows(packed), sorted_rows(expected), rtol=1e-6)
    transform = tf.saved_model.load(str(folder / "tuesday" / "transform_fn"))
    raw = {
        name: tf.constant(frame[name].astype(str if kind == "string" else "float32").to_numpy())
        for name, kind in features.raw_columns.items()
    }
    served = transform.transform_fn(raw)
    for name, values in expected.items():
        np.testing.assert_allclose(served[name].numpy(), values, rtol=1e-6, err_msg=name)


def test_days_of_two_versions_are_read_as_one(folder):
    features = FeatureSet.load_fitted(folder / "both")
    packed, _ = read_rows(str(folder / "both"), "train", features, 1000)
    monday, tuesday = (
        read_rows(str(folder / day), "train", FeatureSet.load_fitted(folder / day), 1000)[0]
        for day in ("monday", "tuesday")
    )
    moves = id_moves(FeatureSet.load_fitted(folder / "monday"), features)
    assert moves["categorical"].tolist() == [0, 2, 2, 2]  # behind the users, two of which are new
    moved = {name: np.where(of == 0, 0, of + moves.get(name, 0)) for name, of in monday.items()}
    both = {name: np.concatenate([moved[name], tuesday[name]]) for name in packed}
    np.testing.assert_array_equal(sorted_rows(packed), sorted_rows(both))
    assert read_samples(str(folder / "both"), features).rows  # Monday's, as Tuesday has no test


@pytest.fixture(scope="module")
def run(folder) -> TrainConfig:
    config = TrainConfig(
        data=str(folder / "monday"),
        model="FM",
        out=str(folder / "run"),
        epochs=5,
        learning_rate=0.05,
        model_args={"dim": 2},
        batch_size=50,
        calibrate=False,
        averaging=0,
    )
    train(config)
    return config


def test_a_model_that_starts_from_earlier_weights_scores_old_rows_as_before_and_learns_new_ones(
    folder, run
):
    features = FeatureSet.load_fitted(folder / "both").without_crossed()
    earlier = FeatureSet.load_fitted(folder / "monday").without_crossed()
    further = dataclasses.replace(
        run, data=str(folder / "both"), out=str(folder / "further"), start_from=run.out
    )
    model = load_run(run.out)[0]
    grown = started(build_model("FM", features, **run.model_args), features, further)
    frame = frame_of(folder / "monday.csv")

    def scores(model: keras.Model, features: FeatureSet, frame: pd.DataFrame) -> np.ndarray:
        packed = features.pack(frame)
        return np.ravel(model.predict_on_batch({t.name: packed[t.name] for t in model.inputs}))

    np.testing.assert_array_equal(scores(grown, features, frame), scores(model, earlier, frame))
    rows = frame_of(folder / "tuesday.csv")
    unknown = scores(model, earlier, rows)
    np.testing.assert_array_equal(scores(grown, features, rows), unknown)
    train(further)
    after = scores(load_run(further.out)[0], features, rows)
    for user, direction in (("new", 1), ("other", -1)):
        is_user = (rows["user"] == user).to_numpy()
        assert direction * (after - unknown)[is_user].mean() > 0.2, user
    assert evaluate_run(further.out)["auc"] > 0.6  # on Monday's test rows


def invoke(*arguments: object):
    return CliRunner().invoke(main, ["prepare", *map(str, arguments)])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user,item,time,price,years,tags,click", "new.csv has no column 'age'; available"),
        (
            "user,item,time,price,age,tags,clicked",
            "new.csv has no column 'click'; did you mean 'clicked'?",
        ),
    ],
)
def test_rows_that_do_not_fit_are_one_line(header, message, folder, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text(f"{header}\na,p,2024-03-01 10:00,1,20,x,1\n")
    result = invoke("--like", folder / "monday", "--source", new, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what the rows are: --dataset, or --like an earlier prepared folder"),
        (("--grow",), "--grow needs --like: an earlier prepared folder"),
        (("--dataset", "criteo", "--grow"), "--grow needs --like"),
        (("--dataset", "criteo", "--split", "test"), "--split test needs --like"),
        (("--like", "out"), "--like and --out are both out: choose another folder"),
        (("--dataset", "criteo", "--like", "x"), "give one, x knows its own"),
        (("--like", "nowhere"), "nowhere holds no prepared data: there is no report.json"),
        (("--like", "x", "--cross-min-count", "2"), "features are those of x, crossed ones"),
        (("--like", "x", "--grow", "--split", "test"), "--split test leaves none"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments, "--source", tmp_path, "--out", "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_declaration_in_python_is_asked_for_and_checked(folder, tmp_path):
    """As the folder of one has no YAML file."""
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for name in ("features.json", "report.json"):
        (earlier / name).write_text((folder / "monday" / name).read_text())
    source, out = str(folder / "monday.csv"), str(tmp_path / "out")
    with pytest.raises(ValueError, match=f"^{earlier} was prepared from a declaration in Python"):
        prepare(None, source, out, like=str(earlier))
    columns = ("user", "click")
    other = Dataset(
        "mine", FeatureSet(Categorical("user"), label=Label("click")), Delimited(columns)
    )
    with pytest.raises(ValueError, match=f"^{earlier} was prepared with other features than"):
        prepare(other, source, out, like=str(earlier))


def test_a_joined_folder_has_the_statistics_of_all_rows(folder):
    shown = CliRunner().invoke(main, ["stats", "--data", str(folder / "both")])
    assert shown.exit_code == 0, shown.output
    found = read_json(str(folder / "both" / "statistics.json"))
    report = read_json(str(folder / "both" / "report.json"))
    assert {of: found["splits"][of]["rows"] for of in SPLITS} == {
        of: report["rows"][of] for of in SPLITS
    }
    rows = pd.concat([frame_of(folder / f"{day}.csv") for day in ("monday", "tuesday")])
    for name in ("user", "item"):
        values = {v["value"]: sum(v["rows"].values()) for v in found["features"][name]["values"]}
        assert values == rows[name].value_counts().to_dict()
    new = next(v for v in found["features"]["user"]["values"] if v["value"] == "new")
    assert new["click_rate"]["train"] == rows[rows["user"] == "new"]["click"].mean()
    arguments = ["--data", str(folder / "tuesday"), "--against", str(folder / "monday")]
    compared = CliRunner().invoke(main, ["stats", *arguments])
    assert compared.exit_code == 0, compared.output
    assert "user has values that train has not: " in compared.output


def test_a_joined_folder_is_one_to_prepare_like(folder):
    dataset = dataset_like(str(folder / "both"), OneSplit("test"))
    assert (dataset.name, dataset.split) == ("clicks", OneSplit("test"))
    assert dataset.features == FeatureSet.load(folder / "tuesday" / "features.json")


def test_histories_that_begin_anew_are_warned_of():
    assert warnings_of(find_dataset("criteo")) == []
    (warning,) = warnings_of(find_dataset("movielens-1m-history"))
    assert warning.startswith("column 'history' is made of the new rows alone")


def test_only_new_keys_are_appended_and_nothing_else_changes(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text('{"user": 2, "item": 1}\nuser\nuser=b\nuser=a\nhashed\nitem\nitem=x\n')
    vocabularies = [Vocabulary("user"), Vocabulary("hashed", hash_buckets=3), Vocabulary("item")]
    keys = [[b"user=c", b"user=a", b"user=="], [], [b"item=x"]]
    append_keys(str(before), str(after), vocabularies, keys)
    assert after.read_text() == (
        '{"user": 4, "item": 1}\nuser\nuser=b\nuser=a\nuser=c\nuser==\nhashed\nitem\nitem=x\n'
    )


def test_a_day_to_score_needs_no_training_rows(tmp_path):
    rows = {"read": 3, "train": 0, "validation": 0, "test": 3, "filtered": 0, "rejected": 0}
    output = Output(str(tmp_path / "out"))
    check_rows({"rows": rows}, 0.0, output, ("train", "validation", "test"))
    with pytest.raises(ValueError, match=r"^no row falls into train: \{"):
        check_rows({"rows": rows}, 0.0, output)
