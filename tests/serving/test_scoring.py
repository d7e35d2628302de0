"""`score` gives raw files the scores that training and serving give, row by row."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from ctr_keras.data import read_samples
from ctr_keras.features import FeatureSet
from ctr_keras.runs.folder import write_settings
from ctr_keras.training import TrainConfig
from pipeline.datasets import find_dataset
from pipeline.datasets.synthetic import write_synthetic_log
from pipeline.sources import Chunk
from serving.commands import score as command
from serving.export.scorer import Scorer
from serving.scoring import _Rows, score, score_files


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
    scorer = Scorer(run)
    first = {name: list(column[:3]) for name, column in frame.items()}
    np.testing.assert_allclose(scorer.score(first), scores[:3], atol=1e-6)
    with pytest.raises(ValueError, match="there is no column 'price'"):
        scorer.score(frame.drop(columns="price"))


def test_values_of_a_data_frame_are_spelled_as_in_training(run, samples, monkeypatch):
    monkeypatch.setattr(Scorer, "__call__", lambda self, raw: raw)
    scorer, frame = Scorer(run), samples[0][:30]
    flags = np.arange(30) % 2 == 1
    scorer._fitted = scorer.features.fit(frame.assign(user=flags.astype(str), device="7.0"))
    raw = scorer.score(frame.assign(user=flags, device=7.0))
    assert raw["user"].tolist() == flags.astype(str).tolist()
    assert raw["device"].tolist() == ["7"] * 30  # it is hashed
    with pytest.warns(UserWarning, match="column 'user': 100% of the values are unknown") as caught:
        scorer.score(frame.assign(user=np.arange(2, 32)))
    assert len(caught) == 1


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


# Of files that are read, with a scorer that gives each row its number.


class Numbers:
    """That scorer."""

    names = ("score",)

    def __call__(self, raw):
        return np.arange(len(next(iter(raw.values()))))


def read(dataset, source, *keep, columns=()):
    rows = _Rows(find_dataset(dataset), str(source), keep, columns)
    rows.check()
    blocks = list(rows.scored(Numbers()))
    return pa.Table.from_batches(blocks, rows.schema(Numbers.names))


def test_a_built_in_log_is_read_whole_and_without_its_label(tmp_path):
    write_synthetic_log(str(tmp_path / "log"), rows=300)  # next to which there is a truth.json
    assert read("synthetic", tmp_path / "log")["score"].to_pylist() == [*range(300)]
    lines = (tmp_path / "log" / "part-00000.tsv").read_text().splitlines()
    today = tmp_path / "today.tsv"
    today.write_text("".join(line.partition("\t")[2] + "\n" for line in lines))
    columns = find_dataset("synthetic").table.columns[1:]
    with pytest.raises(ValueError, match="no row with the 40 columns that are declared"):
        read("synthetic", today)
    with pytest.raises(ValueError, match="has no column 'C99'"):
        read("synthetic", today, "C99", columns=columns)
    table = read("synthetic", today, "C1", columns=columns)
    assert table["score"].to_pylist() == [*range(300)]
    assert table["C1"].to_pylist() == [line.split("\t")[14] for line in lines]


RATINGS = {"users.dat": "1::F::25::4::48067\n", "movies.dat": "7::Up (1999)::Drama|War\n"}


def test_rows_that_training_filters_are_scored_and_joins_reject_what_they_lack(tmp_path):
    for name, text in RATINGS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "ratings.dat").write_text("1::7::3::978300760\n2::7::5::978300760\n")
    table = read("movielens-1m", tmp_path, "rating")
    assert table["score"].to_pylist() == [0, None]
    assert table["rating"].to_pylist() == ["3", "5"]
    assert table["rejected"][1].as_py().endswith("ratings.dat, line 2: unknown user_id")
    with pytest.raises(ValueError, match="'history': what users did before is a column of files"):
        read("movielens-1m-history", tmp_path)


def test_lists_and_strings_that_mean_missing_are_as_declared(tmp_path):
    declaration = tmp_path / "my.yaml"
    declaration.write_text(
        "source: {format: jsonl, missing: ['-']}\nlabel: y\nweight: w\n"
        "features: [{kind: categorical, name: a}, {kind: multi_valued, name: b}, "
        "{kind: numeric, name: n}]\nsplit: {by: column, column: s, test: [x]}\n"
    )
    source = tmp_path / "rows.jsonl"
    source.write_text('{"a": "-", "b": ["p", "q"], "n": 1}\n{"a": 3, "b": null, "n": "-"}\n')
    (block,) = find_dataset(str(declaration)).table.read(Chunk(str(source), 0, None))
    raw = find_dataset(str(declaration)).scored(block, str(source))
    assert [raw[name].to_pylist() for name in "ab"] == [["", "3"], ["p|q", ""]]
    np.testing.assert_equal(raw["n"].to_pylist(), [1.0, np.nan])
    assert read(str(declaration), source)["score"].to_pylist() == [0, 1]
    with pytest.raises(ValueError, match="columns are named for delimited files without a header"):
        read(str(declaration), source, columns=["a", "b", "n"])
