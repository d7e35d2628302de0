"""Values with weights, from a log to scores: prepared, learned, exported, explained."""

import json
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras import metrics
from ctr_keras.data import open_examples, read_samples
from ctr_keras.explain.importance import run_importance
from ctr_keras.features import FeatureSet
from ctr_keras.training import TrainConfig, load_run, predict_split, train
from pipeline.prepare import prepare
from serving.codes import Code
from serving.export.export import ExportOptions, export_run
from serving.export.scorer import Scorer
from serving.onnx_scorer import OnnxScorer
from serving.server.errors import as_status_error
from tests.prepared import made_once

ROWS = 1500
WRONG = ["good:-1", "good:2|bad:nan", "bad:1e39|good:x"]
REASONS = [
    f"a weight of tags is {weight!r}, which is not a finite number of at least 0"
    for weight in ("-1", "nan", "1e39")
]


def write_log(folder):
    """All rows have the same two values; their weights decide about a click."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    lines = ["tags,hour,click"]
    for good, bad in draw.gamma(1.0, 1.0, (ROWS, 2)):
        click = draw.random() < good / (good + bad)
        lines.append(f"good:{good:.4f}|:9||bad:{bad:.4g},{draw.integers(3)},{int(click)}")
    lines += [f"{wrong},1,1" for wrong in WRONG]
    (folder / "log.csv").write_text("\n".join(lines))
    (folder / "log.yaml").write_text(
        textwrap.dedent("""\
            source: {format: csv, files: log.csv}
            label: click
            features:
              - {kind: multi_valued, name: tags, weight_separator: ":", max_length: 3}
              - {kind: categorical, name: hour}
            """)
    )
    prepare(str(folder / "log.yaml"), str(folder), str(folder / "data"), max_rejected=0.01)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(made_once("weighted-values", write_log, tmp_path_factory) / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "lr")
    settings = {"epochs": 4, "batch_size": 64, "averaging": 0.0, "learning_rate": 0.05}
    train(TrainConfig(data=data, model="LR", out=folder, **settings))
    return folder


def test_rows_with_another_weight_are_rejected_with_it(data):
    with open(f"{data}/report.json", encoding="utf-8") as file:
        report = json.load(file)
    assert report["rejected_because"] == dict.fromkeys(REASONS, 1)


def test_prepared_rows_are_those_that_pack_gives(data):
    features = FeatureSet.load_fitted(data)
    assert {*features.statistics.values["tags"]} == {"good", "bad"}
    samples = read_samples(data, features)
    packed = features.pack({name: [row[name] for row in samples.rows] for name in ("tags", "hour")})
    for name, values in packed.items():
        assert values.dtype == samples.inputs[name].dtype == features.packed_types[name]
        np.testing.assert_array_equal(values, samples.inputs[name])
    assert (packed["tags_weights"][:, :2] > 0).all()
    assert not packed["tags_weights"][:, 2].any()


def test_statistics_count_values_without_their_weights(data):
    with open(f"{data}/statistics.json", encoding="utf-8") as file:
        values = json.load(file)["features"]["tags"]["values"]
    assert {of["value"] for of in values} == {"good", "bad"}


def test_weights_are_learned_from_by_batches_and_by_a_cache(run, data, tmp_path):
    model, features, _ = load_run(run)
    labels, scores = predict_split(model, features, data, "test")
    assert metrics.auc(labels, scores) > 0.75
    names = [tensor.name for tensor in model.inputs]
    assert "tags_weights" in names
    (expected, _), (cached, _) = (
        next(iter(open_examples(data, "test", features, cache=cache).read(ROWS)))
        for cache in ("", str(tmp_path))
    )
    for name in names:
        np.testing.assert_array_equal(cached[name], expected[name])


def test_an_exported_model_gives_raw_rows_the_scores_of_prepared_ones(
    run, data, tmp_path, scored_here
):
    version = export_run(run, str(tmp_path / "lr"))
    signatures = tf.saved_model.load(version).signatures
    model, features, _ = load_run(run)
    samples = read_samples(data, features)
    raw = {name: [row[name] for row in samples.rows] for name in ("tags", "hour")}
    expected = np.asarray(model(samples.inputs))[:, 0]
    columns = {name: tf.constant(values) for name, values in raw.items()}
    served = signatures["serving_default"](**columns)["score"]
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-6)
    ranked = signatures["rank"](**columns | {"tags": columns["tags"][:1]})
    same = columns | {"tags": tf.repeat(raw["tags"][0], len(expected))}
    again = signatures["serving_default"](**same)
    np.testing.assert_allclose(ranked["score"], again["score"], rtol=0, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a weight of tags") as refused:
        signatures["serving_default"](tags=tf.constant(["good:-1"]), hour=tf.constant(["1"]))
    answer = as_status_error(refused.value)
    told = "[a weight of tags is not a finite number of at least 0: ] [good:-1]"
    assert (answer.code, answer.message) == (Code.INVALID_ARGUMENT, f"assertion failed: {told}")


def test_frames_and_onnx_have_the_same_scores(run, data, tmp_path):
    version = export_run(run, str(tmp_path / "lr"), ExportOptions(format="onnx"))
    scorer = OnnxScorer(version)
    rows = read_samples(data, scorer.features).rows
    frame = {name: [row[name] for row in rows] for name in ("tags", "hour")}
    expected = Scorer(run, data).score(frame)
    np.testing.assert_allclose(scorer.score(rows), expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"column 'tags', row 1: 'good:x' has the weight 'x'"):
        scorer.score([rows[0], {"tags": "good:x", "hour": "1"}])


def test_weights_are_permuted_with_their_values(run):
    importance = {found.name: found for found in run_importance(run, repeats=1)}
    assert importance["tags"].auc_drop > 0.2
