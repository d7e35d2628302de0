"""Runs on data with crossed features: models without them, with them, and of earlier versions."""

import os

import keras
import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.compare import Bench
from ctr_keras.explain.importance import run_importance
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Statistics
from ctr_keras.models import build_model
from ctr_keras.runs import write_settings
from ctr_keras.training import TrainConfig, evaluate_run, load_run, read_config, train
from ctr_keras.training.crosses import print_left_out
from ctr_keras.training.evaluation import input_names
from ctr_keras.trees import Trees
from tests.data import shards

FEATURES = FeatureSet(
    *shards.FEATURES.features,
    Crossed("a", "b"),
    label=shards.FEATURES.label,
    vocabulary_sizes={**shards.FEATURES.vocabulary_sizes, "a_x_b": 4},
)
VALUES = {
    **{"a": ["x", "y"], "b": ["u", "v"], "genres": ["drama", "noir", "war", "film"]},
    "a_x_b": ["x\x1fu", "x\x1fv", "y\x1fu", "y\x1fv"],
}
ROWS = {"train": 600, "validation": 300, "test": 300}
LEFT_OUT = "leaves out the crossed features a_x_b; to keep them: --set crossed=true"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    shards.write_prepared(folder, ROWS, FEATURES)
    Statistics(VALUES, {}).save(folder, FEATURES.vocabularies)
    return str(folder)


def command(name, prepared, run, *settings):
    options = [part for setting in settings for part in ("--set", setting)]
    arguments = ["train", "--data", prepared, "--model", name, "--out", str(run), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.fixture(scope="module")
def runs(prepared, tmp_path_factory):
    """Runs of LR without the crossed feature and with it, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs")
    settings = ["epochs=3", "batch_size=50", "learning_rate=0.1"]
    without = command("LR", prepared, folder / "without", *settings)
    crossed = command("LR", prepared, folder / "crossed", *settings, "crossed=true")
    return {
        "without": (str(folder / "without"), without),
        "crossed": (str(folder / "crossed"), crossed),
    }


def test_a_run_says_what_it_leaves_out_and_how_to_keep_it(runs):
    assert runs["without"][1].count(f"LR {LEFT_OUT}") == 1
    assert "leaves out" not in runs["crossed"][1]


def test_a_click_on_a_pair_is_seen_by_the_crossed_feature_alone(runs):
    assert evaluate_run(runs["without"][0])["auc"] < 0.65  # a click is `a` xor `b`
    assert evaluate_run(runs["crossed"][0])["auc"] > 0.9


def test_importance_is_of_the_features_that_the_model_reads(runs):
    found = {
        kind: {i.name for i in run_importance(run, repeats=1)} for kind, (run, _) in runs.items()
    }
    assert found["crossed"] - found["without"] == {"a_x_b"}


def test_the_same_folder_is_not_a_run_of_the_other_model(runs, prepared):
    config = load_run(runs["without"][0])[2]
    assert config.model_args == {}
    with pytest.raises(ValueError, match=r"holds a run with model_args=\{\}"):
        train(TrainConfig(**config.to_dict() | {"model_args": {"crossed": True}}))


@pytest.mark.parametrize("crossed", [False, True])
def test_a_run_of_an_earlier_version_has_its_crossed_features(crossed, prepared, tmp_path):
    run = tmp_path / "run"
    config = TrainConfig(data=prepared, model="FM", out=str(run), model_args={"dim": 2})
    os.makedirs(run)
    write_settings(str(run / "config.yaml"), config.to_dict())
    FEATURES.save(run / "features.json")
    (run / "metrics.json").write_text("{}")
    model = build_model("FM", FEATURES, dim=2, crossed=True)
    model.get_layer("linear").weighting.table.assign(
        keras.random.normal((FEATURES.id_count, 1), seed=0)
    )
    model.save(run / "model.keras")
    assert "crossed" in input_names(load_run(str(run))[0])
    assert evaluate_run(str(run))["rows"] == ROWS["test"]
    # What it has learned goes on in a model with or without them.
    still = {"data": prepared, "model": "FM", "epochs": 1, "learning_rate": 0.0}
    arguments = {"dim": 2, **({"crossed": True} if crossed else {})}
    further = str(tmp_path / "further")
    train(TrainConfig(**still, model_args=arguments, start_from=str(run), out=further))
    new, _, _ = load_run(further)
    assert ("crossed" in input_names(new)) == crossed
    table = new.get_layer("linear").weighting.table
    rows = FEATURES.id_ranges["b"].stop
    expected = model.get_layer("linear").weighting.table[1:rows]
    assert keras.ops.convert_to_numpy(table)[1:rows] == pytest.approx(
        keras.ops.convert_to_numpy(expected)
    )


def test_trees_split_on_crossed_features_where_they_are_asked_to(prepared, tmp_path):
    pytest.importorskip("lightgbm")
    settings = ["num_iterations=5", "max_depth=1", "num_threads=1", "learning_rate=0.5"]
    printed = {
        kind: command("LightGBM", prepared, tmp_path / kind, *settings, *more)
        for kind, more in {"without": [], "crossed": ["crossed=true"]}.items()
    }
    assert f"LightGBM {LEFT_OUT}" in printed["without"]
    assert "leaves out" not in printed["crossed"]
    columns = {kind: Trees.load(tmp_path / kind / "trees.json").columns for kind in printed}
    assert set(columns["crossed"]) - set(columns["without"]) == {"a_x_b of 5 ids"}
    assert evaluate_run(str(tmp_path / "without"))["auc"] < 0.65
    assert evaluate_run(str(tmp_path / "crossed"))["auc"] > 0.9
    trees = f"trees={tmp_path / 'crossed' / 'trees.json'}"
    command("GBDTLR", prepared, tmp_path / "leaves", trees, "crossed=true", "epochs=1")
    with pytest.raises(ValueError, match="set crossed=true"):
        train(read_config(None, [trees], data=prepared, model="GBDTLR", out=str(tmp_path / "no")))


def test_a_bench_keeps_them_in_all_models_that_leave_them_out():
    bench = Bench("d", ["LR", "OptInterM", "GBDTLR"], "o", 1, ["crossed=true"])
    trees, lr, optinter, on_trees = bench.configs()
    assert trees.crossed
    assert lr.model_args == {"crossed": True}
    assert optinter.model_args == {}
    assert on_trees.model_args["crossed"]


def test_of_many_crossed_features_three_are_named(capsys):
    features = FeatureSet(*map(Categorical, "abcd"), label=Label("y")).with_crossed_pairs(1)
    print_left_out("FM", features.without_crossed(), features)
    assert "features a_x_b, a_x_c, a_x_d and 3 more; to keep them" in capsys.readouterr().out
