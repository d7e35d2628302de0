"""DeepLight prunes pairs, tower and embeddings as it learns, and leaves a run of what is left."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.planted_log import planted_clicks
from ctr_keras.cli import main
from ctr_keras.plan import InteractionPlan
from ctr_keras.search import DeepLightSearch
from ctr_keras.search.verdict import read_verdicts
from ctr_keras.training import evaluate_run, load_run
from tests.data.shards import write_prepared
from tests.parameters import whole_on_jax

TOWER = {"dim": 4, "hidden": [16], "normalization": None}


@pytest.mark.backend
@whole_on_jax
@pytest.mark.slow
def test_default_settings_keep_exactly_the_planted_pairs():
    planted = [(0, 1), (2, 5)]
    rows = {"train_rows": 20_000, "validation_rows": 5000, "test_rows": 10}
    data = planted_clicks(planted, fields=6, linear=0.5, noise=0.5, **rows)
    search = DeepLightSearch(model_args=TOWER, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert {i.fields for i in plan.interactions} == {("f0", "f1"), ("f2", "f5")}


def few(**changes):
    settings = {"batch_size": 20, "epochs": 1, "rounds": 1, "verbose": False, "keep": None}
    return DeepLightSearch(**settings | {"model_args": TOWER} | changes)


@pytest.mark.backend
def test_so_many_pairs_are_left_as_pair_sparsity_says(tmp_path):
    data = planted_clicks([(0, 1)], fields=5, categories=4, train_rows=400, test_rows=100)
    search = few(pair_sparsity=0.7, table_sparsity=0.5, damping=0.0)
    plan = search.search(data.features, data.train, data.test, str(tmp_path))
    assert len(plan.interactions) == 3
    (verdict,) = read_verdicts(str(tmp_path))
    assert verdict.facts["open_before_closing"] == 3
    zeros = {"the tower's weights": 0.9, "embeddings": 0.5}
    assert verdict.facts["zeros"] == pytest.approx(zeros, abs=0.01)
    assert verdict.says[-1] == "a smaller pair_sparsity would leave more pairs to choose from"
    assert not (tmp_path / "pruned").exists()  # arrays are no data to evaluate a run on


def test_from_the_command_line_to_a_pruned_run_that_scores_as_the_search_did(tmp_path):
    rows = {"train": 200, "validation": 60, "test": 60}
    prepared = write_prepared(tmp_path / "data", rows)

    out = tmp_path / "search"
    settings = ("epochs=1", "hidden=[8]", "dim=4", "rounds=1", "damping=0.0", "keep=2")
    few = [part for setting in settings for part in ("--set", setting)]
    arguments = ["search", "--data", prepared, "--method", "deeplight", "--out", str(out), *few]
    found = CliRunner().invoke(main, [*arguments, "--set", "batch_size=20"])
    assert found.exit_code == 0, found.output
    assert "keeps 2 of 6 gates" in found.stderr
    assert "90% of the tower's weights are zero" in found.stderr
    plan = InteractionPlan.load(out / "plan.json")
    model, _, config = load_run(str(out / "pruned"))
    assert (config.model, config.data) == ("DeepFM", prepared)
    assert len(model.get_layer("inner_2").terms) == len(plan.interactions) == 2
    gates = keras.ops.convert_to_numpy(model.get_layer("inner_2").gates)
    np.testing.assert_allclose(sorted(gates), sorted(i.gate for i in plan.interactions))
    kernel = model.get_layer("deep").blocks[0].kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(0.9, abs=0.03)
    evaluated = evaluate_run(str(out / "pruned"), "validation")
    said = json.loads((out / "pruned" / "metrics.json").read_text())["validation"]
    assert said == pytest.approx({name: evaluated[name] for name in said}, abs=1e-6)
