"""An exported ONNX model scores raw rows as the model does that was trained, without TensorFlow."""

import json
import math
import pathlib
import subprocess
import sys

import keras
import numpy as np
import onnx
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.runs.folder import write_settings
from ctr_keras.training import TrainConfig
from serving.export import ExportOptions, export_model
from serving.export.blessing import NotBlessedError
from serving.export.columns import raw_arrays
from serving.onnx_scorer import OnnxScorer
from tests.serving.click_log import scrambled

MODELS = {
    "FM": {"dim": 2, "crossed": True},
    "DeepFM": {"dim": 2, "hidden": [3]},
    "AutoInt": {"dim": 2, "layers": 1, "heads": 1, "head_dim": 2, "crossed": True},
}
STRANGE = [
    dict.fromkeys(["user", "age", "item", "price", "genres", "device", "history"]),
    {"user": "nobody", "item": "", "genres": "x", "device": "fridge", "history": "i1  nothing"},
    {"user": "u1", "age": 1e6, "item": "i2", "price": 1e6, "device": "🚀" * 40},
    {"user": "u2", "age": -5, "price": math.nan, "genres": "war|war|war|crime|drama"},
    {"item": "i3", "history": "i1 i2 i3 i4 i5 i6 i7"},
]


def small_model(name: str, features: FeatureSet, **arguments) -> keras.Model:
    """With weights about as large as those of trained models."""
    model = scrambled(build_model(name, features, **{**MODELS[name], **arguments}))
    for weight in model.trainable_weights:
        weight.assign(weight * 0.3)
    return model


@pytest.fixture(scope="module", params=MODELS)
def exported(request, clicks, tmp_path_factory) -> tuple[keras.Model, pathlib.Path]:
    """The model of a finished run, and the version that the command has made of it."""
    folder = tmp_path_factory.mktemp(request.param)
    features = FeatureSet.load(clicks / "features.json")
    model = small_model(request.param, features)
    run = folder / "run"
    run.mkdir()
    config = TrainConfig(data=str(clicks), model=request.param, out=str(run))
    write_settings(str(run / "config.yaml"), config.to_dict())
    features.save(run / "features.json")
    model.save(run / "model.keras")
    (run / "metrics.json").write_text("{}")
    command = ["export", "--run", str(run), "--out", str(folder / "ctr"), "--format", "onnx"]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, result.output) == (0, f"{folder}/ctr/1\n")
    return model, folder / "ctr" / "1"


@pytest.fixture(scope="module")
def samples(clicks) -> list[dict]:
    return [json.loads(line) for line in (clicks / "samples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def version(clicks, tmp_path_factory) -> pathlib.Path:
    features = FeatureSet.load(clicks / "features.json")
    options = ExportOptions(format="onnx", force=True)
    out = tmp_path_factory.mktemp("onnx") / "ctr"
    return pathlib.Path(
        export_model(small_model("FM", features), features, str(clicks), str(out), options)
    )


def by_tensorflow(model: keras.Model, prepared: pathlib.Path, rows: list[dict]) -> np.ndarray:
    """Scores by the transform graph and the Keras model."""
    features = FeatureSet.load(prepared / "features.json")
    whole = [{name: row.get(name) for name in features.raw_columns} for row in rows]
    raw = {name: tf.constant(values) for name, values in raw_arrays(features, whole).items()}
    packed = tf.saved_model.load(str(prepared / "transform_fn")).transform_fn(raw)
    return np.ravel(model({t.name: tf.cast(packed[t.name], t.dtype) for t in model.inputs}))


def test_rows_have_the_scores_of_the_model_also_strange_ones(exported, clicks, samples):
    model, version = exported
    rows = [*samples, *STRANGE]
    expected = by_tensorflow(model, clicks, rows)
    scorer = OnnxScorer(version)
    scores = scorer.score(rows)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    assert scores.dtype == np.float32
    assert len({*scores.round(4).tolist()}) > len(rows) / 4  # the rows do matter
    alone = [scorer.score([row, samples[0]])[0] for row in STRANGE]
    np.testing.assert_allclose(alone, expected[-len(STRANGE) :], rtol=0, atol=1e-6)


def test_rows_columns_and_frames_score_alike(version, samples):
    scorer = OnnxScorer(version)
    scores = scorer.score(samples)
    frame = pd.DataFrame(samples).assign(click=1)  # a column that the model does not read
    np.testing.assert_array_equal(scorer.score(frame), scores)
    np.testing.assert_array_equal(scorer.score(frame.to_dict("list")), scores)
    assert scorer.score([]).shape == scorer.score(frame[:0]).shape == (0,)


def test_more_rows_than_are_scored_at_once_are_scored_in_their_order(version, samples):
    scorer = OnnxScorer(version)
    rows = (samples * 12)[: 4096 + 3]
    np.testing.assert_allclose(
        scorer.score(rows), np.resize(scorer.score(samples), len(rows)), rtol=0, atol=1e-6
    )


def test_scoring_imports_neither_tensorflow_nor_keras_nor_beam(version, samples):
    code = f"""
import json, sys
from serving.onnx_scorer import OnnxScorer
OnnxScorer({str(version)!r}).score(json.loads(sys.stdin.read()))
print(*sys.modules.keys() & {{"tensorflow", "keras", "apache_beam", "tensorflow_transform"}})
"""
    process = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(samples), capture_output=True, text=True
    )
    assert (process.returncode, process.stdout) == (0, "\n"), process.stderr


def test_crossed_features_that_the_model_does_not_read_are_left_out(exported, samples):
    model, version = exported
    scorer = OnnxScorer(version)
    inputs = [tensor.name for tensor in model.inputs]
    assert ("crossed" in inputs) == bool(scorer.features.crossed)
    assert scorer.names == ("score",)


def test_a_version_whose_scores_are_others_is_refused(clicks, tmp_path, monkeypatch):
    from serving.export import export

    def other(model, inputs):
        return np.full((len(inputs["categorical"]), 1), 0.9)

    monkeypatch.setattr(export, "_scores", other)
    features = FeatureSet.load(clicks / "features.json")
    model, out = small_model("FM", features), str(tmp_path / "ctr")
    with pytest.raises(NotBlessedError, match=r"scores \d+ of \d+ sample rows differently"):
        export_model(model, features, str(clicks), out, ExportOptions(format="onnx"))


def test_what_cannot_be_had_is_one_line_and_leaves_nothing(clicks, version, tmp_path, monkeypatch):
    features = FeatureSet.load(clicks / "features.json")
    model = small_model("FM", features)

    def export(out: pathlib.Path, **options) -> None:
        export_model(model, features, str(clicks), str(out), ExportOptions(**options))

    with pytest.raises(ValueError, match="is of format onnx: export savedmodel to"):
        export(version.parent)
    assert [path.name for path in version.parent.iterdir()] == ["1"]
    with pytest.raises(ValueError, match="item columns are for `rank`"):
        export(tmp_path / "ctr", format="onnx", item_columns=["item"])
    monkeypatch.setattr("serving.export.onnx._MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"GiB, and an ONNX file holds less than 2: export it as"):
        export(tmp_path / "ctr", format="onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"tf2onnx: pip install 'ctr-keras\[onnx\]'$"):
        export(tmp_path / "ctr", format="onnx")
    assert not [*tmp_path.iterdir()]


def test_a_process_without_onnx_runtime_says_what_to_install():
    code = "import sys; sys.modules['onnxruntime'] = None; import serving.onnx_scorer"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stderr.splitlines()[-1].endswith(
        "scoring with ONNX needs onnxruntime: pip install 'ctr-keras[onnx]'"
    )


def test_a_folder_and_rows_that_are_not_as_they_should_be_are_named(version, tmp_path, samples):
    with pytest.raises(FileNotFoundError, match=r"model\.onnx: `ctr-keras export --format onnx`"):
        OnnxScorer(tmp_path)
    scorer = OnnxScorer(version)
    with pytest.raises(ValueError, match="there is no column 'user'; did you mean 'usr'"):
        scorer.score([{**{k: v for k, v in samples[0].items() if k != "user"}, "usr": "u1"}])
    with pytest.raises(ValueError, match="column 'price', row 1: 'dear' is not a number"):
        scorer.score([samples[0], {**samples[0], "price": "dear"}])


def test_int8_takes_a_quarter_of_a_table_and_leaves_the_model_as_it_is(clicks, tmp_path, samples):
    features = FeatureSet.load(clicks / "features.json")
    model = small_model("FM", features, dim=8)
    before = by_tensorflow(model, clicks, samples)
    options = ExportOptions(format="onnx", int8=True, margin=0.02)
    version = export_model(model, features, str(clicks), str(tmp_path / "ctr"), options)
    np.testing.assert_array_equal(by_tensorflow(model, clicks, samples), before)
    difference = np.abs(OnnxScorer(version).score(samples) - before)
    assert 0 < difference.max() < 0.1
    tables = onnx.load(f"{version}/model.onnx").graph.initializer
    (table,) = (t for t in tables if t.data_type == onnx.TensorProto.INT8)
    assert [*table.dims] == [features.id_count, 8]
