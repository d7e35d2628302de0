"""Runs with sample weights: their metrics weigh rows, unless one says otherwise."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ctr_keras import metrics
from ctr_keras.cli import main
from ctr_keras.compare import compare_runs, to_markdown
from ctr_keras.data import read_rows
from ctr_keras.explain.importance import run_importance
from ctr_keras.features import Statistics
from ctr_keras.training import (
    TrainConfig,
    evaluate_run,
    evaluation_table,
    load_run,
    predict_split,
    train,
)
from tests.data.shards import FEATURES, write_prepared
from tests.training.test_evaluation import VALUES
from tests.training.test_learning import WEIGHTED

ROWS = {"train": 300, "validation": 200, "test": 400}


def write_weighted(folder, rows):
    """Prepared data that declare weights and have a vocabulary."""
    write_prepared(folder, rows, WEIGHTED)
    Statistics(VALUES, {}).save(folder, WEIGHTED.vocabularies)
    return str(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_weighted(tmp_path_factory.mktemp("data") / "prepared", ROWS)


def trained(prepared, folder, **settings):
    """A short run's folder and its report."""
    config = TrainConfig(
        data=prepared,
        model="FM",
        out=str(folder),
        model_args={"dim": 2},
        batch_size=50,
        learning_rate=0.05,
        epochs=2,
        **settings,
    )
    return config.out, train(config)


@pytest.fixture(scope="module")
def runs(prepared, tmp_path_factory):
    """A run with weights, one without, and the first one's report."""
    folder = tmp_path_factory.mktemp("runs")
    weighted, report = trained(prepared, folder / "weighted", sample_weight="cost", group="b")
    return weighted, trained(prepared, folder / "plain", seed=1)[0], report


def scored(run, prepared, split="test"):
    """Labels, scores and costs of a split, and its packed inputs."""
    inputs, _ = read_rows(prepared, split, WEIGHTED, ROWS[split])
    costs, _ = read_rows(prepared, split, WEIGHTED, ROWS[split], ["cost"])
    labels, scores = predict_split(*load_run(run)[:2], prepared, split)
    return labels, scores, costs["cost"][:, 0], inputs


def expected(labels, scores, weights):
    """What scikit-learn computes; the log loss in float64, as its clipping depends on it."""
    scores = scores.astype("float64")
    return {
        "auc": roc_auc_score(labels, scores, sample_weight=weights),
        "log_loss": log_loss(labels, scores, sample_weight=weights),
        "pr_auc": average_precision_score(labels, scores, sample_weight=weights),
        "label_mean": np.average(labels, weights=weights),
    }


def of(found, names):
    return {name: found[name] for name in names}


def test_validation_weighs_rows(runs, prepared):
    run, _, report = runs
    labels, scores, costs, inputs = scored(run, prepared, "validation")
    right = expected(labels, scores, costs)
    assert of(report["validation"], right) == pytest.approx(right, rel=1e-5)
    by_group = metrics.auc_by_group(labels, scores, inputs["categorical"][:, 1], costs)
    assert report["validation"]["auc_by_group"] == pytest.approx(by_group, rel=1e-5)
    assert report["weighted_by"] == "cost"
    again = evaluate_run(run, "validation")
    assert again.pop("weighted_by") == "cost"
    assert again == pytest.approx(of(report["validation"], again), rel=1e-5)


def test_a_run_is_evaluated_as_it_was_trained(runs, prepared):
    for run, is_weighted in zip(runs[:2], (True, False), strict=True):
        labels, scores, costs, _ = scored(run, prepared)
        found = evaluate_run(run)
        right = expected(labels, scores, costs if is_weighted else None)
        assert of(found, right) == pytest.approx(right, rel=1e-5)
        assert ("weighted_by" in found) == is_weighted
        right = expected(labels, scores, None if is_weighted else costs)
        found = evaluate_run(run, weighted=not is_weighted)
        assert of(found, right) == pytest.approx(right, rel=1e-5)


def test_slices_buckets_intervals_and_baseline_weigh_rows(runs, prepared):
    labels, scores, costs, inputs = scored(runs[0], prepared)
    found = evaluate_run(
        runs[0], by=["b"], group="a", buckets=3, bootstrap=20, seed=5, baseline=runs[1]
    )
    report = metrics.report(
        labels, scores, costs, inputs["categorical"][:, 0], replicates=20, seed=5
    )
    assert found["intervals"]["auc"] == pytest.approx(report["intervals"]["auc"], rel=1e-4)
    assert found["ndcg_at_10"] == pytest.approx(report["ndcg_at_10"], rel=1e-4)
    assert [bucket["label_mean"] for bucket in found["calibration"]] == pytest.approx(
        [b["label_mean"] for b in metrics.calibration_buckets(labels, scores, costs, buckets=3)]
    )
    baseline = roc_auc_score(*scored(runs[1], prepared)[:2], sample_weight=costs)
    assert found["baseline_auc"] == pytest.approx(baseline, rel=1e-5)
    for of_value in found["slices"]["b"]:
        rows = inputs["categorical"][:, 1] == 5 + VALUES["b"].index(of_value["value"])
        right = expected(labels[rows], scores[rows], costs[rows])
        assert of(of_value, right) == pytest.approx(right, rel=1e-4)


def test_values_of_rows_without_weight_are_left_out(runs, tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 1, "validation": 1, "test": 12}, WEIGHTED)
    Statistics(VALUES, {}).save(data, WEIGHTED.vocabularies)
    costs, _ = read_rows(data, "test", WEIGHTED, 12, ["cost"])
    inputs, _ = read_rows(data, "test", WEIGHTED, 12)
    known = {
        genre
        for number, genre in enumerate(VALUES["genres"], 8)
        if costs["cost"][(inputs["genres"] == number).any(axis=1)].any()
    }
    found = evaluate_run(runs[0], data=data, by=["genres"])["slices"]["genres"]
    assert known < set(VALUES["genres"])  # or the test would show nothing
    assert {of_value["value"] for of_value in found} - {"(unknown)", "(missing)"} == known


def test_the_command_says_by_what_rows_are_weighted(runs):
    def evaluate(*options):
        return CliRunner().invoke(main, ["evaluate", "--run", runs[0], *options]).stdout

    assert "\n400 rows weighted by cost, " in f"\n{evaluate('--table')}"
    assert json.loads(evaluate())["weighted_by"] == "cost"
    plain = json.loads(evaluate("--unweighted"))
    assert plain == evaluate_run(runs[0], weighted=False)
    assert evaluation_table(plain).startswith("400 rows, ")


def test_each_round_says_by_what_rows_are_weighted(prepared, tmp_path, capsys):
    trained(prepared, tmp_path / "run", sample_weight="cost")
    assert capsys.readouterr().out.count("validation, weighted by cost: log loss 0.") == 2


def test_weights_that_the_data_do_not_declare_are_refused(tmp_path):
    data = write_prepared(tmp_path / "data", ROWS)
    assert FEATURES.label.weight == ""
    run, _ = trained(data, tmp_path / "run")
    with pytest.raises(ValueError, match="rows have no weights: the data set's YAML declares no"):
        evaluate_run(run, weighted=True)


def test_a_comparison_weighs_rows_where_a_run_does(runs, prepared):
    weighted, plain, _ = runs
    found = compare_runs([plain, weighted], by=["b"], replicates=20)
    assert "of them with click = 1, weighted by cost. " in to_markdown(found)
    assert found.to_dict()["weighted_by"] == "cost"
    for entry in found.entries:
        right = evaluate_run(entry.runs[0].folder, by=["b"], weighted=True)
        assert entry.mean("auc") == pytest.approx(right["auc"], rel=1e-5)
        buckets = metrics.calibration_buckets(*scored(entry.runs[0].folder, prepared)[:3])
        assert found.calibration(entry)[0] == pytest.approx(buckets[0], rel=1e-4)
        for (value, _, auc), of_value in zip(entry.slices["b"], right["slices"]["b"], strict=True):
            assert (value, auc) == (of_value["value"], pytest.approx(of_value["auc"], rel=1e-5))
    without = compare_runs([plain, weighted], replicates=1, weighted=False)
    assert "weighted by" not in to_markdown(without)
    for entry in without.entries:
        right = evaluate_run(entry.runs[0].folder, weighted=False)
        assert entry.mean("log_loss") == pytest.approx(right["log_loss"], rel=1e-5)
    assert "weighted by" not in to_markdown(compare_runs([plain], replicates=1))


def test_importance_is_that_of_weighted_rows(runs, prepared):
    run = runs[0]
    labels, scores, costs, inputs = scored(run, prepared)
    model = load_run(run)[0]
    permuted = dict(inputs, categorical=inputs["categorical"].copy())
    order = np.random.default_rng(0).permutation(len(labels))
    permuted["categorical"][:, 0] = inputs["categorical"][order, 0]
    names = [tensor.name for tensor in model.inputs]
    without = np.ravel(model.predict_on_batch({name: permuted[name] for name in names}))
    drop = metrics.auc(labels, scores, costs) - metrics.auc(labels, without, costs)
    found = {each.name: each for each in run_importance(run, repeats=1)}
    assert found["a"].auc_drop == pytest.approx(drop, abs=1e-6)
