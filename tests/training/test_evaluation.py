"""Evaluating a run: what it measures of which rows, and the tables that it prints."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from ctr_keras import metrics
from ctr_keras.cli import main
from ctr_keras.data import read_rows
from ctr_keras.features import Statistics
from ctr_keras.metrics import bootstrap
from ctr_keras.models import build_model
from ctr_keras.runs import write_settings
from ctr_keras.training import TrainConfig, evaluate_run, evaluation_table, predict_split
from tests.data.shards import FEATURES, write_prepared

ROWS = {"train": 60, "validation": 60, "test": 700}
VALUES = {"a": ["x", "y"], "b": ["u", "v"], "genres": ["drama", "noir", "war", "film"]}


def write_run(folder, prepared, seed):
    """A run that nobody has trained."""
    keras.utils.set_random_seed(seed)
    os.makedirs(folder)
    config = TrainConfig(data=prepared, model="FM", out=str(folder), model_args={"dim": 2})
    write_settings(str(folder / "config.yaml"), config.to_dict())
    FEATURES.save(folder / "features.json")
    (folder / "metrics.json").write_text("{}")
    model = build_model("FM", FEATURES, dim=2)
    draw = np.random.default_rng(seed)
    model.set_weights([draw.normal(0, 0.5, w.shape) for w in model.get_weights()])
    model.save(folder / "model.keras")
    return str(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    write_prepared(folder, ROWS)
    Statistics(VALUES, {}).save(folder, FEATURES.vocabularies)
    return str(folder)


@pytest.fixture(scope="module")
def runs(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / str(seed), prepared, seed) for seed in range(2)]


@pytest.fixture(scope="module")
def test_rows(prepared, runs):
    """Inputs, labels and scores of the test split."""
    inputs, _ = read_rows(prepared, "test", FEATURES, ROWS["test"])
    model = keras.saving.load_model(pathlib.Path(runs[0]) / "model.keras")
    return inputs, *predict_split(model, FEATURES, prepared, "test")


@pytest.mark.backend
def test_without_options_it_is_the_metrics_of_all_rows(runs, test_rows):
    _, labels, scores = test_rows
    assert evaluate_run(runs[0]) == pytest.approx(metrics.evaluate(labels, scores), rel=1e-5)
    assert evaluate_run(runs[0], "validation")["rows"] == ROWS["validation"]


def test_slices_measure_the_rows_of_each_value(runs, test_rows):
    inputs, labels, scores = test_rows
    found = evaluate_run(runs[0], by=["b", "genres", "row"])["slices"]
    assert list(found) == ["b", "genres", "row"]
    assert {of_value["value"] for of_value in found["b"]} == {"u", "v"}
    for of_value in found["b"]:
        rows = inputs["categorical"][:, 1] == 5 + VALUES["b"].index(of_value.pop("value"))
        expected = metrics.evaluate(labels[rows], scores[rows])
        assert of_value == pytest.approx(expected, rel=1e-4)
    by_genre = {of_value["value"]: of_value["rows"] for of_value in found["genres"]}
    for number, genre in enumerate(VALUES["genres"], 8):
        assert by_genre[genre] == (inputs["genres"] == number).any(axis=1).sum()
    assert by_genre["(unknown)"] == (inputs["genres"] == 7).any(axis=1).sum()
    assert by_genre["(missing)"] == (inputs["genres"] == 0).all(axis=1).sum()
    assert sum(of_value["rows"] for of_value in found["row"]) == ROWS["test"]


def test_groups_k_and_intervals_reach_the_metrics(runs, test_rows, monkeypatch):
    monkeypatch.setattr(bootstrap, "_FEWEST_UNITS", 2)
    inputs, labels, scores = test_rows
    found = evaluate_run(runs[0], group="a", k=3, bootstrap=20, seed=7)
    groups = inputs["categorical"][:, 0]
    expected = metrics.report(labels, scores, groups=groups, k=3, replicates=20, seed=7)
    assert found["auc_by_group"] == pytest.approx(expected["auc_by_group"], rel=1e-5)
    assert found["ndcg_at_3"] == pytest.approx(expected["ndcg_at_3"], rel=1e-5)
    assert found["groups"] == 2
    assert found["intervals"]["auc"] == pytest.approx(expected["intervals"]["auc"], rel=1e-4)


def test_calibration_has_buckets(runs, test_rows):
    _, labels, scores = test_rows
    found = evaluate_run(runs[0], buckets=4)["calibration"]
    for bucket, other in zip(
        found, metrics.calibration_buckets(labels, scores, buckets=4), strict=True
    ):
        assert bucket == pytest.approx(other, rel=1e-4)


def test_rela_impr_is_over_another_run(runs):
    found = evaluate_run(runs[0], baseline=runs[1], by=["a"])
    assert found["baseline_auc"] == pytest.approx(evaluate_run(runs[1])["auc"], rel=1e-5)
    for part in (found, *found["slices"]["a"]):
        if part["baseline_auc"] > 0.5:
            expected = metrics.rela_impr(part["auc"], part["baseline_auc"])
            assert part["rela_impr"] == pytest.approx(expected)
        else:
            assert part["rela_impr"] is None
            assert "baseline AUC above 0.5" in part["undefined"]["rela_impr"]


def test_one_class_is_no_crash(runs, tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 60, "validation": 60, "test": 1})
    Statistics(VALUES, {}).save(data, FEATURES.vocabularies)
    options = {"by": ["a"], "group": "b", "bootstrap": 10, "buckets": 3, "baseline": runs[1]}
    found = evaluate_run(runs[0], data=data, **options)
    for part in (found, *found["slices"]["a"]):
        assert part["auc"] is part["auc_by_group"] is part["rela_impr"] is None
        assert part["undefined"]["auc"].startswith("AUC needs both classes")
        assert part["log_loss"] > 0
    assert json.loads(json.dumps(found)) == found  # no NaN, nothing of NumPy
    table = evaluation_table(found)
    assert "auc                         -" in table
    assert "auc: AUC needs both classes" in table
    assert "no auc for " in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ["c"]}, "unknown field 'c'; available: a, b, row, genres, history"),
        ({"group": "gender"}, "unknown field 'gender'; did you mean 'genres'"),
        ({"group": "row"}, "'row' is a numeric field"),
        ({"group": "genres"}, "'genres' is a multi_valued field"),
    ],
)
def test_what_cannot_be_had_is_one_line(runs, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_run(runs[0], **options)


def evaluate(*arguments):
    return CliRunner().invoke(main, ["evaluate", *arguments])


def test_the_command_prints_json_for_scripts_and_tables_for_people(runs, monkeypatch):
    options = ["--run", runs[0], "--by", "a", "--by", "b", "--group", "a", "--k", "3"]
    options += ["--bootstrap", "100", "--seed", "3", "--buckets", "2", "--baseline", runs[1]]
    found = json.loads(evaluate(*options).stdout)
    expected = evaluate_run(
        runs[0], by=["a", "b"], group="a", k=3, bootstrap=100, seed=3, buckets=2, baseline=runs[1]
    )
    assert found == json.loads(json.dumps(expected))
    assert json.loads(evaluate(*options, "--json").stdout) == found
    assert evaluate(*options, "--table").stdout == f"{evaluation_table(expected)}\n"
    assert {*found["no_interval"].values()} == {"the bootstrap needs 20 groups, got 2"}
    too_few = evaluate("--run", runs[0], "--bootstrap", "10")
    assert "Invalid value for '--bootstrap'" in too_few.stderr
    assert "intervals" not in json.loads(evaluate("--run", runs[0]).stdout)


TABLE = """\
1,000 rows, 25.00% positive
7 groups, 2 of one class, 1 without a positive row; 30 rows without a group

auc           0.7500 [0.7000, 0.8000]
pr_auc        0.5000
auc_by_group  -

auc_by_group: why

no interval of pr_auc: few

scores            rows  predicted  positive
0.1000 to 0.2000   500     0.1500    0.1400

by site      rows  positive                   auc  auc_by_group
a          12,345    50.00%  0.500 [0.400, 0.600]             -
(missing)       3     0.00%                     -             -

no auc for (missing): one class
no auc_by_group for a: small; so 1 more

a: no interval of pr_auc, log_loss: some; so 1 more"""


def test_a_table_by_eye():
    bucket = {"low": 0.1, "high": 0.2, "rows": 500, "score_mean": 0.15, "label_mean": 0.14}
    first = {"value": "a", "auc": 0.5, "auc_by_group": None, "label_mean": 0.5, "rows": 12345}
    first |= {"intervals": {"auc": (0.4, 0.6)}, "undefined": {"auc_by_group": "small"}}
    last = {"value": "(missing)", "auc": None, "auc_by_group": None, "label_mean": 0.0, "rows": 3}
    last |= {"intervals": {}, "undefined": {"auc": "one class", "auc_by_group": "none"}}
    first["no_interval"] = {"pr_auc": "some", "log_loss": "some"}
    last["no_interval"] = {"pr_auc": "few"}
    measured = {"auc": 0.75, "pr_auc": 0.5, "auc_by_group": None, "label_mean": 0.25, "rows": 1000}
    measured |= {"groups": 7, "groups_of_one_class": 2, "groups_without_click": 1}
    measured |= {"rows_without_group": 30, "undefined": {"auc_by_group": "why"}}
    measured |= {"intervals": {"auc": (0.7, 0.8), "pr_auc": None}, "calibration": [bucket]}
    measured |= {"no_interval": {"pr_auc": "few"}}
    measured |= {"slices": {"site": [first, last]}}
    assert evaluation_table(measured) == TABLE
