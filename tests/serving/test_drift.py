"""Logged requests next to training rows: the rows themselves do not drift, others do."""

import json

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import prediction_log_pb2

from ctr_keras.features import MultiValued, Numeric
from ctr_keras.files import read_json
from serving.commands import drift as command
from serving.drift import _compare, _Tally, _texts, _weighed, measure_drift


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


def test_a_file_that_is_still_written_counts_up_to_its_last_whole_record(clicks, tmp_path):
    write_log(tmp_path, raw_rows(clicks)[:14])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert measure_drift(str(tmp_path), str(clicks)).rows == 7


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
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        measure_drift(str(log), str(tmp_path))


def test_rows_that_a_sample_left_out_are_made_up_for():
    # 10 clicks and 90 other rows, of which a tenth was kept.
    assert _weighed(19, 0.1, 0.1) == pytest.approx(100)
    assert _weighed(19, 0.1, 1.0) == pytest.approx(19)
    assert _weighed(0, None, 0.1) == 0


def test_numbers_that_training_has_not_have_no_distance():
    split = {"rows": 4, "missing": 4, "missing_share": 1.0, "missing_click_rate": 0.5}
    described = {"values": [], "splits": {"train": split}, "drift": {"measure": "Jensen-Shannon"}}
    tally = _Tally(Numeric("age"), described)
    tally.add(np.float32([1, np.nan, 3]))
    summary = {"features": {"age": described}, "splits": {"train": {"click_rate": 0.5}}}
    found = _compare(tally, summary, 1.0)
    assert (found.distance, found.missing) == (None, (1.0, pytest.approx(1 / 3)))


def test_weights_are_no_part_of_values():
    tags = MultiValued("tags", weight_separator=":")
    found = _texts(tags, np.array([b"a:0.5|12:30:2|b|:3", b""], object))
    assert found == [["a", "12:30", "b"], []]
