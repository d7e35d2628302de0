"""Logged requests next to training rows: the rows themselves do not drift, others do."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import prediction_log_pb2

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.files import read_json
from pipeline.statistics.columns import count_columns
from pipeline.statistics.counted import Counted
from pipeline.statistics.summary import summarize
from serving.commands import drift as command
from serving.drift import _compare, _Rows, _weighed, measure_drift


def raw_rows(clicks):
    return [json.loads(line) for line in (clicks / "samples.jsonl").read_text().splitlines()]


def write_log(folder, rows, model="ctr", signature="", per_request=7):
    folder.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / f"{model}-{signature}.tfrecord")) as writer:
        for start in range(0, len(rows), per_request):
            part = rows[start : start + per_request]
            made = prediction_log_pb2.PredictionLog()
            made.log_metadata.model_spec.name = model
            request = made.predict_log.request
            request.model_spec.signature_name = signature
            for name in part[0]:
                values = [row[name] for row in part]
                if name in ("age", "price"):
                    values = np.array([np.nan if v is None else v for v in values], np.float32)
                else:
                    values = ["" if v is None else v for v in values]
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            score = tf.make_tensor_proto(np.full(len(part), 0.25, np.float32))
            made.predict_log.response.outputs["score"].CopyFrom(score)
            writer.write(made.SerializeToString())


def by_name(found):
    return {feature.name: feature for feature in found.features}


def test_requests_like_the_test_split_drift_as_it_does(clicks, tmp_path):
    rows = raw_rows(clicks)
    write_log(tmp_path / "log", rows)
    found = measure_drift(str(tmp_path / "log"), str(clicks))
    assert (found.model, found.rows, found.left_out, found.score) == ("ctr", len(rows), 0, 0.25)
    described = read_json(str(clicks / "statistics.json"))["features"]
    assert by_name(found).keys() == described.keys()
    assert {s["rows"] for s in (f["splits"]["test"] for f in described.values())} == {len(rows)}
    for name, feature in by_name(found).items():
        assert feature.distance == pytest.approx(described[name]["drift"]["test"], abs=1e-6)
        assert feature.missing[1] == pytest.approx(
            described[name]["splits"]["test"]["missing_share"]
        )


def test_what_has_changed_is_said_and_fails(clicks, tmp_path):
    rows = [{**row, "device": "watch", "age": None, "price": 1e6} for row in raw_rows(clicks)]
    write_log(tmp_path / "log", rows)
    write_log(tmp_path / "log", rows[:7], signature="rank")
    page = tmp_path / "page.html"
    asked = ["--log", str(tmp_path / "log"), "--data", str(clicks), "--out", str(page)]
    told = CliRunner().invoke(command, asked)
    assert told.exit_code == 1
    lines = told.output.splitlines()
    assert lines[0].startswith(f"ctr: {len(rows)} rows, mean score 0.2500, click rate of training")
    said = "\n".join(lines[1:])
    for expected in ("device drifts by ", "price drifts by ", "age is missing in 100.0% of the"):
        assert expected in said
    assert "item" not in said
    assert "1 requests without rows are left out" in page.read_text()
    assert CliRunner().invoke(command, [*asked, "--limit", "1"]).exit_code == 0


def test_words_that_mean_a_missing_value_are_missing(clicks, tmp_path):
    data = shutil.copytree(clicks, tmp_path / "data")
    features = json.loads((data / "features.json").read_text())
    (data / "features.json").write_text(json.dumps({**features, "missing": ["?", "-1"]}))
    rows = [{**row, "device": "?", "price": -1.0} for row in raw_rows(clicks)]
    write_log(tmp_path / "log", rows)
    found = by_name(measure_drift(str(tmp_path / "log"), str(data)))
    assert found["device"].missing[1] == found["price"].missing[1] == 1.0


def test_values_that_training_never_had_are_said(clicks, tmp_path):
    rows = [{**row, "user": f"{row['user']}.0"} for row in raw_rows(clicks)]
    write_log(tmp_path / "log", rows)
    found = measure_drift(str(tmp_path / "log"), str(clicks))
    assert by_name(found)["user"].new == (0.0, 1.0)
    assert by_name(found)["item"].new == (0.0, 0.0)
    assert by_name(found)["price"].new is None
    assert "user has values new to training in 100.0%, not 0.0%" in found.broken(0.5)


IPS = FeatureSet(Categorical("ip"), label=Label("click"))


def ips_of_training(number=10_000):
    """Counts of twice as many rows: each value is in two of training, a tenth in validation."""
    values = pa.array([f"{place}" for place in range(number)])
    rows = np.zeros((number, 2), np.int64)
    parts = [count_columns({"ip": values}, rows, IPS) for _ in range(2)]
    held_out = pa.array([f"{place * 1.1:.0f}" for place in range(number // 10)])
    rows = np.repeat([[1, 0]], len(held_out), axis=0)
    return Counted.merge([*parts, count_columns({"ip": held_out}, rows, IPS)])


@pytest.mark.parametrize(
    ("served", "distance", "new"),
    [
        (["108278.0"] * 300, 1.0, None),  # one, which a sample of the values may miss
        ([f"{place}.0" for place in range(10_000)], 0.0, 1.0),  # each is rare
        ([f"{place}" for place in range(10_000)], 0.0, 0.0),
    ],
)
def test_new_values_of_a_feature_of_many_are_seen(served, distance, new):
    training = ips_of_training()
    rows = _Rows(IPS)
    for start in range(0, len(served), 1000):
        rows.add({"ip": np.array([s.encode() for s in served[start : start + 1000]], object)})
    together = Counted.merge([training.moved((0, None, None)), rows.counted()])
    (found,) = _compare(together, summarize(training, IPS), IPS)
    assert found.distance == pytest.approx(distance, abs=0.01)
    assert found.new[0] == pytest.approx(0.0, abs=0.01)
    assert new is None or found.new[1] == pytest.approx(new, abs=0.1)


def test_a_file_that_is_still_written_counts_up_to_its_last_whole_record(clicks, tmp_path):
    write_log(tmp_path, raw_rows(clicks)[:14])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    found = measure_drift(str(tmp_path), str(clicks))
    assert (found.rows, found.unread) == (7, [])


def test_a_damaged_record_and_what_of_its_file_is_not_counted_are_said(clicks, tmp_path):
    log = tmp_path / "log"
    write_log(log, raw_rows(clicks)[:70])
    write_log(log, raw_rows(clicks)[:7], signature="serving_default")
    file = log / "ctr-.tfrecord"
    content = bytearray(file.read_bytes())
    content[len(content) * 35 // 100] ^= 1  # in the fourth of ten
    file.write_bytes(content)
    page = tmp_path / "page.html"
    asked = ["--log", str(log), "--data", str(clicks), "--out", str(page), "--limit", "1"]
    told = CliRunner().invoke(command, asked)
    said = r"record 4 is damaged; it and what follows, (69|70|71)% of the file, are not counted"
    assert re.fullmatch(f"Warning: {file}: {said}\n", told.stderr)
    assert told.stdout.startswith("ctr: 28 rows, ")
    assert re.search(said, page.read_text())


def test_what_cannot_be_compared_is_said(clicks, tmp_path):
    log, rows = tmp_path / "log", raw_rows(clicks)[:7]
    log.mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no \.tfrecord file in"):
        measure_drift(str(log), str(clicks))
    write_log(log, rows, signature="rank")
    with pytest.raises(ValueError, match="has no requests with rows"):
        measure_drift(str(log), str(clicks))
    write_log(log, rows, model="other")
    with pytest.raises(ValueError, match="several models; --model is one of ctr, other"):
        measure_drift(str(log), str(clicks))
    assert measure_drift(str(log), str(clicks), "other").rows == 7
    write_log(log, [{"zip": "1"}], model="zips")
    with pytest.raises(ValueError, match="are of other features: requests to zips have a column"):
        measure_drift(str(log), str(clicks), "zips")
    write_log(log, [{"age": 20.0, "item": 3.0}], model="item")
    with pytest.raises(ValueError, match="have another type than string in column 'item'"):
        measure_drift(str(log), str(clicks), "item")
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        measure_drift(str(log), str(tmp_path))


def test_rows_that_a_sample_left_out_are_made_up_for():
    # 10 clicks and 90 other rows, of which a tenth was kept.
    assert _weighed(19, 0.1, 0.1) == pytest.approx(100)
    assert _weighed(19, 0.1, 1.0) == pytest.approx(19)
    assert _weighed(0, None, 0.1) == 0


def test_numbers_that_training_has_not_have_no_distance():
    features = FeatureSet(Numeric("age"), label=Label("click"))
    missing = pa.array(np.full(4, np.nan, np.float32))
    training = count_columns({"age": missing}, np.zeros((4, 2), np.int64), features)
    rows = _Rows(features)
    rows.add({"age": np.float32([1, np.nan, 3])})
    together = Counted.merge([training, rows.counted()])
    (found,) = _compare(together, summarize(training, features), features)
    assert (found.distance, found.new) == (None, None)
    assert found.missing == (1.0, pytest.approx(1 / 3))
