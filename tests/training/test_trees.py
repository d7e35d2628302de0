"""Runs of LightGBM with sample weights, and of a model on their leaves."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import log_loss

from ctr_keras.cli import main
from ctr_keras.compare import compare_runs
from ctr_keras.data import read_rows
from ctr_keras.training import (
    TrainConfig,
    TreesConfig,
    evaluate_run,
    load_run,
    read_config,
    train,
)
from tests.data.shards import FEATURES, write_prepared
from tests.training.test_learning import WEIGHTED
from tests.training.test_weights import expected, of, scored, write_weighted

pytest.importorskip("lightgbm")

ROWS = {"train": 600, "validation": 200, "test": 400}  # of the latter two as in `test_weights`
SETTINGS = {"num_iterations": 8, "min_data_in_leaf": 5, "num_threads": 1, "learning_rate": 0.3}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_weighted(tmp_path_factory.mktemp("data") / "prepared", ROWS)


@pytest.fixture(scope="module")
def runs(prepared, tmp_path_factory):
    """The folders of a run with weights and one without, and the first one's report."""
    weighted, plain = (str(tmp_path_factory.mktemp("runs") / "run") for _ in range(2))
    train(TreesConfig(data=prepared, out=plain, **SETTINGS))
    config = TreesConfig(data=prepared, out=weighted, sample_weight="cost", **SETTINGS)
    return weighted, plain, train(config)


def test_validation_weighs_rows(runs, prepared):
    run, _, report = runs
    labels, scores, costs, _ = scored(run, prepared, "validation")
    right = expected(labels, scores, costs)
    assert of(report["validation"], right) == pytest.approx(right, rel=1e-5)
    assert report["weighted_by"] == "cost"
    with open(f"{run}/history.csv", encoding="utf-8") as file:
        best = list(csv.DictReader(file))[report["best_round"] - 1]
    assert float(best["validation_log_loss"]) == pytest.approx(right["log_loss"], rel=1e-5)
    inputs, labels = read_rows(prepared, "train", WEIGHTED, ROWS["train"])
    costs, _ = read_rows(prepared, "train", WEIGHTED, ROWS["train"], ["cost"])
    model = load_run(run)[0]
    scores = model.predict_on_batch({tensor.name: inputs[tensor.name] for tensor in model.inputs})
    right = log_loss(labels, scores.astype("float64"), sample_weight=costs["cost"][:, 0])
    assert float(best["train_log_loss"]) == pytest.approx(right, rel=1e-5)


def test_a_run_is_evaluated_and_compared_as_it_was_trained(runs, prepared):
    weighted, plain, _ = runs
    for run, is_weighted in ((weighted, True), (plain, False)):
        labels, scores, costs, _ = scored(run, prepared)
        found = evaluate_run(run)
        right = expected(labels, scores, costs if is_weighted else None)
        assert of(found, right) == pytest.approx(right, rel=1e-5)
        assert ("weighted_by" in found) == is_weighted
    found = compare_runs([weighted, plain], replicates=1)
    assert found.to_dict()["weighted_by"] == "cost"
    assert "weighted_by" not in compare_runs([plain], replicates=1).to_dict()


@pytest.mark.parametrize("model", ["GBDTLR", "GBDTFFM"])
def test_models_learn_on_weighted_trees(model, runs, prepared, tmp_path):
    given = {"data": prepared, "out": str(tmp_path / "run"), "epochs": 1, "trees": runs[0]}
    config = read_config(model=model, sample_weight="cost", **given)
    report = train(config)
    assert report["weighted_by"] == "cost"
    assert evaluate_run(config.out)["weighted_by"] == "cost"
    assert load_run(config.out)[0].get_layer("leaves").trees.trees


def test_weights_that_the_data_do_not_declare_are_refused(tmp_path):
    data = write_prepared(tmp_path / "data", dict.fromkeys(ROWS, 9))
    assert FEATURES.label.weight == ""
    command = ["train", "--data", data, "--model", "LightGBM", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*command, "--set", "sample_weight=cost"])
    assert result.exit_code != 0
    assert result.stderr.endswith(
        "sample_weight=cost: the data declare none; declare `weight: cost` in the data set's YAML "
        "and prepare the data again\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_run_without_weights_can_be_given_again(runs):
    config = load_run(runs[1])[2]
    with open(f"{runs[1]}/metrics.json", encoding="utf-8") as file:
        assert train(config) == json.load(file)
    with pytest.raises(ValueError, match="holds a run with sample_weight=''"):
        train(TreesConfig(**config.to_dict() | {"sample_weight": "cost"}))


@pytest.mark.parametrize(
    ("kind", "settings"), [(TreesConfig, SETTINGS), (TrainConfig, {"model": "LR"})]
)
def test_a_split_whose_rows_all_have_weight_zero_is_refused(tmp_path, kind, settings):
    data = write_prepared(tmp_path / "data", {"train": 200, "validation": 1, "test": 1}, WEIGHTED)
    costs, _ = read_rows(data, "validation", WEIGHTED, 1, ["cost"])
    assert not np.any(costs["cost"])
    config = kind(data=data, out=str(tmp_path / "run"), sample_weight="cost", **settings)
    with pytest.raises(ValueError, match="all rows of the validation split have the cost 0"):
        train(config)
