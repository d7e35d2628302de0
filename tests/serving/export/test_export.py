"""Export: versions whole or not at all, and no skew between training and serving.

For raw rows of the test split of every data set: raw row -> SavedModel over REST gives the ids and
scores of raw row -> prepare -> TFRecord -> `model.predict`.
"""

import collections
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from click.testing import CliRunner, Result
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from ctr_keras.cli import main
from ctr_keras.data import open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from serving.client import predict_rows
from serving.export import ExportOptions, export_model
from serving.server.server import Server
from serving.versions import WARMUP_FILE
from tests.parameters import first_of
from tests.prepared import prepare_once, synthetic_log_once
from tests.processes import Command

# By the name of the test, the log and its declaration; in the other order than tests of packing
# have them, as two workers would wait for each other to prepare the same.
SOURCES = {
    "movielens-1m-history": ("movielens-1m-part", "movielens-1m-history"),
    "criteo-head": ("criteo-head", "criteo"),  # whose features the synthetic log has
    "movielens-1m": ("movielens-1m-part", "movielens-1m"),
    "avazu": ("avazu", "avazu"),
    "criteo-terabyte": ("criteo-terabyte", "criteo-terabyte"),
    "criteo": ("criteo", "criteo"),
}


def small_model(features: FeatureSet) -> keras.Model:
    """Untrained, MIAN where there are histories, with weights far from zero: every id matters."""
    keras.utils.set_random_seed(1)
    if features.sequences:
        model = build_model("MIAN", features, dim=8, heads=2)
    else:
        model = build_model("AutoInt", features, dim=8, layers=1, head_dim=8)
    for weight in model.trainable_weights:
        weight.assign(np.random.normal(scale=0.2, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def prepared_synthetic(tmp_path_factory) -> pathlib.Path:
    return prepare_once("synthetic", synthetic_log_once(tmp_path_factory), tmp_path_factory)


@pytest.fixture(
    scope="module",
    params=["synthetic", *first_of(SOURCES)],
)
def exported(
    request, tmp_path_factory
) -> tuple[pathlib.Path, FeatureSet, keras.Model, pathlib.Path]:
    """Prepared data, features, a model and the folder of models it is exported to."""
    if request.param == "synthetic":
        prepared = request.getfixturevalue("prepared_synthetic")
    else:
        source, dataset = SOURCES[request.param]
        source = request.getfixturevalue("real_sources")[source]
        prepared = prepare_once(dataset, source, tmp_path_factory)
    models = tmp_path_factory.mktemp("skew")
    features = FeatureSet.load(prepared / "features.json")
    model = small_model(features)
    export_model(model, features, str(prepared), str(models / "ctr"), ExportOptions(force=True))
    return prepared, features, model, models


@pytest.mark.slow
def test_no_skew_between_training_and_serving(exported):
    prepared, features, model, models = exported
    rows = [json.loads(line) for line in (prepared / "samples.jsonl").read_text().splitlines()]
    assert len(rows) >= 500
    packed = collections.defaultdict(list)
    for inputs, _ in open_examples(str(prepared), "test", features).read(4096):
        for name, values in inputs.items():
            packed[name].append(np.asarray(values))
    packed = {name: np.concatenate(values) for name, values in packed.items()}
    used = {name: packed[name] for name in (tensor.name for tensor in model.inputs)}
    trained = dict(zip(row_ids(packed), model.predict(used, verbose=0)[:, 0], strict=True))

    with Server(str(models), rest_api_port=0, port=0) as server:
        url = f"http://{server.rest_address}"
        served = list(predict_rows(url, "ctr", rows))
        transformed = list(predict_rows(url, "ctr", rows, signature_name="transform_features"))
    if len(packed) == 1:  # REST drops the name of a single output
        transformed = [dict.fromkeys(packed, row) for row in transformed]
    served_ids = row_ids({k: np.array([row[k] for row in transformed]) for k in packed})
    for ids, score in zip(served_ids, served, strict=True):
        assert ids in trained, "a served row has inputs that no prepared row has"
        # With weights as large as these, sums in another order differ by more than 1e-6.
        assert abs(trained[ids] - score) <= 2e-6
    assert len({round(score, 6) for score in served}) > len(rows) / 10  # the ids do matter


def row_ids(packed: dict[str, np.ndarray]) -> list[bytes]:
    """Each row's packed inputs as one key; floats by their bits."""
    typed = [
        packed[name].astype(np.float32 if name == "numeric" else np.int32)
        for name in sorted(packed)
    ]
    return [b"|".join(values[i].tobytes() for values in typed) for i in range(len(typed[0]))]


# The artefact, on the synthetic log alone.


@pytest.fixture(scope="module")
def run(prepared_synthetic, tmp_path_factory) -> pathlib.Path:
    """A finished training run, made by the command line."""
    run = tmp_path_factory.mktemp("runs") / "run"
    command = ["train", "--data", str(prepared_synthetic), "--model", "AutoInt", "--out", str(run)]
    for setting in ("epochs=1", "batch_size=500", "layers=1", "head_dim=4"):
        command += ["--set", setting]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    return run


def export_command(run: pathlib.Path, out: pathlib.Path) -> list[str]:
    return ["export", "--run", str(run), "--out", str(out)]


def export(run: pathlib.Path, out: pathlib.Path, *options: str) -> Result:
    return CliRunner().invoke(main, [*export_command(run, out), *options])


@pytest.fixture(scope="module")
def version(run, tmp_path_factory) -> pathlib.Path:
    """An exported version."""
    out = tmp_path_factory.mktemp("models") / "ctr"
    return pathlib.Path(export(run, out).stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def signatures(version):
    loaded = tf.saved_model.load(str(version))
    return loaded.signatures


@pytest.fixture(scope="module")
def rows(prepared_synthetic) -> list[dict]:
    lines = (prepared_synthetic / "samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:50]]


def feed(rows: list[dict], features: FeatureSet) -> dict[str, tf.Tensor]:
    kinds = {"string": (tf.string, ""), "float": (tf.float32, float("nan"))}
    return {
        name: tf.constant([kinds[k][1] if r[name] is None else r[name] for r in rows], kinds[k][0])
        for name, k in features.raw_columns.items()
    }


def test_label_is_no_input(signatures, run):
    features = FeatureSet.load(run / "features.json")
    inputs = signatures["serving_default"].structured_input_signature[1]
    assert set(inputs) == set(features.raw_columns)
    assert list(signatures["serving_default"].structured_outputs) == ["score"]


def test_examples_and_columns_score_alike_also_where_values_are_missing(signatures, rows, run):
    features = FeatureSet.load(run / "features.json")
    examples = []
    for row in rows:
        example = tf.train.Example()
        for name, kind in features.raw_columns.items():
            if row[name] in (None, ""):
                continue  # missing: no such feature
            feature = example.features.feature[name]
            if kind == "float":
                feature.float_list.value.append(row[name])
            else:
                feature.bytes_list.value.append(row[name].encode())
        examples.append(example.SerializeToString())
    assert any(value in (None, "") for row in rows for value in row.values())
    columns = signatures["serving_default"](**feed(rows, features))["score"]
    parsed = signatures["serialized_examples"](examples=tf.constant(examples))["score"]
    np.testing.assert_array_equal(columns, parsed)
    assert columns.shape == (50,)


def test_signature_says_what_an_absent_input_stands_for(version, run):
    features = FeatureSet.load(run / "features.json")
    proto = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    defaults = proto.meta_graphs[0].signature_def["serving_default"].defaults
    assert set(defaults) == set(features.raw_columns)
    assert tf.make_ndarray(defaults["C1"]).tolist() == [b""]
    assert np.isnan(tf.make_ndarray(defaults["I1"])).all()


def test_warmup_requests_are_real_rows_of_several_batch_sizes(version, signatures, rows):
    sizes = []
    for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        assert request.model_spec.name == "ctr"
        assert np.ravel(inputs["C1"])[0].decode() == rows[0]["C1"]
        name = request.model_spec.signature_name
        score = signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})["score"]
        sizes.append((name, int(tf.size(score))))
    batches = [("serving_default", size) for size in (1, 32)]
    assert sizes == [*batches, ("rank", 32), ("explain", 1)]


def test_versions_count_up_and_a_killed_export_leaves_none(run, version, tmp_path):
    out = tmp_path / "ctr"
    shutil.copytree(version, out / "1")
    process = Command(*export_command(run, out))
    process.wait_until((out / ".partial").exists)
    process.kill()
    assert sorted(os.listdir(out)) == [".partial", "1"]
    assert export(run, out, "--force").exit_code == 0
    assert sorted(os.listdir(out)) == ["1", "2"]
    for name in ("assets/vocabulary", str(WARMUP_FILE)):
        assert (out / "2" / name).read_bytes() == (version / name).read_bytes()


def test_two_exports_of_a_model_do_not_meet(run, version, tmp_path):
    out = tmp_path / "ctr"
    shutil.copytree(version, out / "1")
    first = Command(*export_command(run, out), "--force")
    first.wait_until((out / ".partial").exists)
    first.pause()  # it would else end before the other, which reads the run first, has begun
    second = export(run, out, "--force")
    first.resume()
    assert second.exit_code == 1
    message = f"another process exports to {out}: export again when it has ended"
    assert second.stderr.splitlines()[-1] == f"Error: {message}"
    assert first.ended() == 0
    assert sorted(os.listdir(out)) == ["1", "2"]


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), tf.errors.ResourceExhaustedError(None, None, "full")],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch, error):
    def fail(module, path, signatures):
        os.makedirs(path)
        raise error

    monkeypatch.setattr(tf.saved_model, "save", fail)
    result = export(run, tmp_path / "ctr")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert not os.listdir(tmp_path)


def test_an_item_column_that_is_none_is_named(run, tmp_path):
    result = export(run, tmp_path / "ctr", "--item-columns", "C1, C99")
    assert result.exit_code == 1
    assert "there is no column C99 to vary by item" in result.stderr
    assert not os.listdir(tmp_path)


def test_a_run_whose_data_have_moved_is_exported_from_where_they_are(
    run, prepared_synthetic, tmp_path, scored_here
):
    moved = shutil.copytree(run, tmp_path / "run")
    settings = yaml.safe_load((moved / "config.yaml").read_text())
    (moved / "config.yaml").write_text(yaml.safe_dump({**settings, "data": "gone"}))
    result = export(moved, tmp_path / "ctr")
    assert result.stderr.splitlines()[-1] == (
        f"Error: {moved} was trained on gone, which is not there: name its prepared data by --data"
    )
    assert not (tmp_path / "ctr").exists()
    assert export(moved, tmp_path / "ctr", "--data", str(prepared_synthetic)).exit_code == 0


def test_export_of_an_unfinished_run_says_so(tmp_path):
    (tmp_path / "run").mkdir()
    result = export(tmp_path / "run", tmp_path / "out")
    assert result.exit_code == 1
    assert "holds no run: there is no config.yaml" in result.stderr
    assert "Traceback" not in result.stderr
