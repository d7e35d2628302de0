"""Columns may be called anything, from the file to the score of a request."""

import json
import pathlib

import httpx
import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.training import TrainConfig, train
from pipeline.prepare import prepare
from serving.client import Client
from serving.export import export_run
from serving.export.columns import argument_names
from serving.server.server import Server
from serving.verify import verify

COLUMNS = ("site id", "price.eur", "2nd-cat", "категория", "a/b:c", "self", "row.key", "numeric")
YAML = """
source: {format: csv}
label: "clicked? 1/0"
weight: w g/t
features:
  - {kind: categorical, name: site, column: site id, group: user}
  - {kind: numeric, name: price, column: price.eur, scale: z_score, group: item}
  - {kind: categorical, name: cat, column: 2nd-cat, group: item}
  - {kind: categorical, name: kind, column: категория}
  - {kind: multi_valued, name: tags, column: "a/b:c"}
  - {kind: categorical, name: me, column: self}
  - {kind: categorical, name: key, column: row.key}
  - {kind: numeric, name: n, column: numeric}
  - {kind: sequence, name: past, column: "seen before", vocabulary_of: cat}
history: {column: seen before, user: кто, item: 2nd-cat, time: "time; in s"}
split: {by: random, key: кто, validation: 0.2, test: 0.3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scored_here) -> pathlib.Path:
    """A log, prepared, trained on and exported."""
    folder = tmp_path_factory.mktemp("names")
    draw = np.random.default_rng(0)
    lines = [",".join(["clicked? 1/0", "w g/t", "кто", *COLUMNS, "time; in s"])]
    for i in range(400):
        cells = (f"s{i % 7}", i / 100, f"c{i % 3}", f"к{i % 5}", f"x|y{i % 4}", "me", "k1", i % 9)
        cells = (int(draw.random() < 0.3), 1 + i % 2, f"user {i % 53}", *cells, i)
        lines.append(",".join(map(str, cells)))
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    (folder / "my.yaml").write_text(YAML)
    data, run = str(folder / "data"), str(folder / "run")
    prepare(str(folder / "my.yaml"), str(folder / "log.csv"), data)
    arguments = {"layers": 1, "head_dim": 4, "dim": 4}
    train(
        TrainConfig(
            data, "AutoInt", run, arguments, epochs=1, sample_weight="w g/t", cache=f"{run}-cache"
        )
    )
    export_run(run, str(folder / "models" / "ctr"))
    return folder


@pytest.fixture(scope="module")
def served(folder):
    with Server(str(folder / "models"), rest_api_port=0, port=0) as server:
        yield server


@pytest.mark.slow
def test_requests_carry_the_names_of_columns(folder, served):
    rows = [json.loads(line) for line in (folder / "data/samples.jsonl").read_text().splitlines()]
    assert rows[0].keys() == {*COLUMNS, "seen before"}
    url = f"http://{served.rest_address}"
    request = {"instances": rows[:5]}
    answer = httpx.post(f"{url}/v1/models/ctr:predict", json=request).json()
    scores = json.loads((folder / "models/ctr/1/assets.extra/sample_scores.json").read_text())
    np.testing.assert_allclose(answer["predictions"], scores["scores"][:5], atol=1e-6)

    examples = [serialized(row) for row in rows[:5]]
    with Client(f"grpc://{served.grpc_address}") as client:
        parsed = client.predict(
            "ctr", {"examples": np.array(examples, object)}, signature_name="serialized_examples"
        )
        explained = client.predict("ctr", rows[:5], signature_name="explain")
    np.testing.assert_allclose(parsed["score"], scores["scores"][:5], atol=1e-6)
    np.testing.assert_allclose(explained["score"], scores["scores"][:5], atol=1e-6)


def serialized(row: dict) -> bytes:
    feature = {}
    for name, value in row.items():
        if isinstance(value, str):
            values = tf.train.BytesList(value=[value.encode()])
            feature[name] = tf.train.Feature(bytes_list=values)
        else:
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.mark.slow
def test_nothing_differs_between_training_and_serving(folder, served):
    urls = [f"http://{served.rest_address}", f"grpc://{served.grpc_address}"]
    compared = list(verify(str(folder / "models"), str(folder / "data"), urls=urls))
    assert len(compared) == 2 * 10
    assert not [str(comparison) for comparison in compared if comparison.different]


@pytest.mark.slow
def test_a_session_as_tensorflow_serving_has_one_takes_the_names(folder):
    rows = [json.loads(line) for line in (folder / "data/samples.jsonl").read_text().splitlines()]
    version = folder / "models/ctr/1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        signature = loaded.signature_def["serving_default"]
        feed = {info.name: [rows[0][name]] for name, info in signature.inputs.items()}
        (score,) = session.run(signature.outputs["score"].name, feed)
    scores = json.loads((version / "assets.extra/sample_scores.json").read_text())["scores"]
    assert score == pytest.approx(scores[0], abs=1e-6)


def test_arguments_are_identifiers_of_their_own():
    columns = ["b", "self", "x y", "x.y", "_lead", "é"]
    names = ["a", "b", "c", "x", "d", "e"]
    features = (Categorical(n, column=c) for n, c in zip(names, columns, strict=True))
    arguments = argument_names(FeatureSet(*features, label=Label("y")))
    assert arguments == {"b": "b", "self": "b_", "x y": "c", "x.y": "x", "_lead": "d", "é": "e"}
