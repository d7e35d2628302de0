"""`score` gives raw files the scores that training and serving give, row by row."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from ctr_keras.data import read_samples
from ctr_keras.features import FeatureSet
from ctr_keras.runs.folder import write_settings
from ctr_keras.training import TrainConfig
from serving.commands import score as command
from serving.scoring import score, score_files


@pytest.fixture(scope="module")
def run(clicks, autoint, tmp_path_factory):
    """A finished run whose model is that of `autoint`."""
    folder = tmp_path_factory.mktemp("score") / "run"
    folder.mkdir()
    config = TrainConfig(data=str(clicks), model="AutoInt", out=str(folder))
    write_settings(str(folder / "config.yaml"), config.to_dict())
    FeatureSet.load(clicks / "features.json").save(folder / "features.json")
    autoint.model.save(folder / "model.keras")
    (folder / "metrics.json").write_text("{}")
    return str(folder)


@pytest.fixture(scope="module")
def samples(clicks, autoint):
    """Raw rows of the test split, and the scores of what `prepare` has made of them."""
    samples = read_samples(str(clicks), FeatureSet.load(clicks / "features.json"))
    used = {tensor.name: samples.inputs[tensor.name] for tensor in autoint.model.inputs}
    return pd.DataFrame(samples.rows), np.ravel(autoint.model(used, training=False))


@pytest.fixture
def written(samples, tmp_path):
    """The samples as two files, without a label, in another order of columns."""
    frame = samples[0][sorted(samples[0].columns, reverse=True)]
    half = len(frame) // 2
    frame[:half].to_csv(tmp_path / "clicks-1.csv", index=False)
    frame[half:].to_csv(tmp_path / "clicks-2.csv.gz", index=False)
    return str(tmp_path / "clicks-*")


def test_raw_files_have_the_scores_of_prepared_rows_in_their_order(run, samples, written, tmp_path):
    out = tmp_path / "new" / "scores.parquet"
    frame, scores = samples
    result = score_files(run, written, str(out), keep=["item", "age"])
    assert result == {"rows": len(frame), "scored": len(frame), "rejected_because": {}}
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == ["item", "age", "score", "rejected"]
    np.testing.assert_allclose(table["score"], scores, atol=1e-6)
    assert table["item"].to_pylist() == frame["item"].to_list()
    assert [*out.parent.iterdir()] == [out]


def test_csv_has_the_same_scores_and_columns_as_they_stand_in_the_file(
    run, samples, written, tmp_path
):
    out = tmp_path / "scores.csv"
    given = ["--run", run, "--source", written, "--out", str(out), "--keep", "genres, item"]
    result = CliRunner().invoke(command, given)
    assert json.loads(result.output)["scored"] == len(samples[0])
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["genres"] for row in rows] == samples[0]["genres"].to_list()
    np.testing.assert_allclose([float(row["score"]) for row in rows], samples[1], atol=1e-6)


def test_a_bad_row_keeps_its_place_and_says_why_it_has_no_score(run, samples, tmp_path):
    source, out = tmp_path / "clicks.csv", tmp_path / "scores.parquet"
    frame = samples[0][:4].astype(object)
    frame.loc[1, "price"] = "dear"
    lines = frame.to_csv(index=False).splitlines()
    lines.insert(4, "too,few")
    source.write_text("\n".join(lines))
    result = score_files(run, str(source), str(out), ["item"])
    assert (result["rows"], result["scored"]) == (5, 3)
    reasons = {"price is not a number": 1, "expected 7 columns, got 2": 1}
    assert result["rejected_because"] == reasons
    rows = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["score"] is None for row in rows] == [False, True, False, True, False]
    assert [row["rejected"] for row in rows if row["score"] is not None] == [None] * 3
    assert rows[1]["rejected"] == f"{source}, line 3: price is not a number"
    assert rows[3]["rejected"] == f"{source}, line 5: expected 7 columns, got 2"
    assert [row["item"] for row in rows] == [*frame["item"][:3], None, frame["item"][3]]
    scores = [row["score"] for row in rows if row["score"] is not None]
    np.testing.assert_allclose(scores, samples[1][[0, 2, 3]], atol=1e-6)


def test_a_data_frame_has_the_scores_of_prepared_rows(run, samples):
    frame, scores = samples
    np.testing.assert_allclose(score(run, frame), scores, atol=1e-6)
    first = {name: list(column[:3]) for name, column in frame.items()}
    np.testing.assert_allclose(score(run, first), scores[:3], atol=1e-6)
    with pytest.raises(ValueError, match="there is no column 'price'"):
        score(run, frame.drop(columns="price"))


@pytest.mark.parametrize(
    ("out", "keep", "message"),
    [
        ("scores.txt", [], r"scores.txt must end in .parquet or .csv$"),
        ("scores.csv", ["score"], "the output has a score of its own"),
        ("scores.csv", ["itm"], "clicks.csv has no column 'itm'; did you mean 'item'"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    out, keep, message, run, samples, tmp_path
):
    samples[0].to_csv(tmp_path / "clicks.csv", index=False)
    with pytest.raises(ValueError, match=message) as caught:
        score_files(run, str(tmp_path / "clicks.csv"), str(tmp_path / out), keep)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["clicks.csv"]


def test_files_none_of_whose_rows_can_be_scored_are_refused_and_leave_nothing(
    run, samples, tmp_path
):
    source, out = tmp_path / "clicks.csv", tmp_path / "scores.csv"
    out.write_text("of yesterday")
    samples[0][:3].assign(price="dear").to_csv(source, index=False)
    with pytest.raises(ValueError, match="none of the 3 rows can be scored: 3 x price is not"):
        score_files(run, str(source), str(out))
    source.write_text("")
    with pytest.raises(ValueError, match="has no rows"):
        score_files(run, str(source), str(out))
    assert out.read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"clicks.csv", "scores.csv"}
