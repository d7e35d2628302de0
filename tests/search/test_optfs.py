"""OptFS keeps the values that matter, and models read these alone."""

import json

import keras
import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks, planted_tables
from ctr_keras.explain import plan_of_model
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.models import build_model
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search import OptFSSearch, RandomSelection, StatisticsSelection
from ctr_keras.search.verdict import read_verdicts
from ctr_keras.training import load_run
from tests.data.shards import write_prepared
from tests.parameters import whole_on_jax
from tests.search.commands import run

TOWER = {"dim": 4, "hidden": [16], "normalization": None}


@pytest.mark.backend
@whole_on_jax
@pytest.mark.slow
def test_default_settings_keep_the_values_that_matter():
    """Of two of four fields, half of the values, and only together."""
    table = np.zeros((10, 10))
    table[:5, :5] = 2 * np.random.default_rng(1).normal(size=(5, 5))
    rows = {"train_rows": 20_000, "validation_rows": 5000, "test_rows": 10}
    data = planted_tables({(0, 1): table}, 1, 4, 10, linear=0.0, noise=0.5, **rows)
    search = OptFSSearch(model_args=TOWER, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    kept = {name: values[1:] for name, values in plan.values.items()}  # no value is unknown
    assert all(kept[name][:5].all() for name in ("f0", "f1"))
    assert sum(kept[name][5:].sum() for name in ("f0", "f1")) <= 2
    assert not any(kept[name].any() for name in ("f2", "f3"))
    assert plan.interactions == ()


def quick(**changes):
    settings = {"batch_size": 100, "epochs": 1, "rounds": 1, "verbose": False, "model_args": TOWER}
    return OptFSSearch(**settings | changes)


def count(plan):
    return sum(int(values.sum()) for values in plan.values.values())


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_so_many_as_asked_for_are_kept_and_none_where_the_penalty_closes_all(tmp_path):
    data = planted_clicks([(0, 1)], fields=3, categories=4, train_rows=400, test_rows=100)
    rows = (data.features, data.train, data.test)
    two, three = (quick(keep=keep).search(*rows) for keep in (2, 3))
    assert (count(two), count(three)) == (2, 3)
    assert all((three.values[name] >= two.values[name]).all() for name in three.values)
    closing = quick(penalty=100.0, gate_learning_rate=1.0)
    assert count(closing.search(*rows, str(tmp_path))) == 0
    (verdict,) = read_verdicts(str(tmp_path))
    assert verdict.says[0] == "keeps 0 of 15 values"
    assert verdict.says[-1].endswith("closed all gates. Set a smaller penalty")


def test_from_the_command_line_with_verdict_pictures_and_a_run(tmp_path):
    prepared = write_prepared(tmp_path / "data", {"train": 200, "validation": 60, "test": 60})

    few = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "batch_size=50")
    out = tmp_path / "search"
    found = run("search", "--data", prepared, "--method", "optfs", "--out", out, *few,
                "--set", "keep=4")  # fmt: skip
    plan = InteractionPlan.load(out / "plan.json")
    assert count(plan) == 4
    assert found.stdout == plan.summary() + "\n"
    assert "keeps 4 of" in found.stderr
    pictures = run("explain", "--run", out, "--out", tmp_path / "pictures", "--other", out).stdout
    assert "rounds-1" in pictures
    assert "agreement" in pictures
    trained = tmp_path / "run"
    run("train", "--data", prepared, "--model", "DeepFM", "--out", trained, *few,
        "--set", f"interactions={out}/plan.json")  # fmt: skip
    assert "kept_values" in {layer.name for layer in load_run(str(trained))[0].layers}


@pytest.fixture
def features():
    return FeatureSet(
        *(Categorical("a"), Categorical("b"), Numeric("n"), MultiValued("m", max_length=2)),
        *(Categorical("c", vocabulary_of="a"), Crossed("a", "b")),
        label=Label("y"),
        vocabulary_sizes={"a": 3, "b": 4, "m": 2, "a_x_b": 12},
    )


KEPT = {"a": [True, False, True, True], "m": [False, False, True]}


@pytest.mark.backend
@pytest.mark.parametrize("name", ["FM", "DeepFM", "IPNN", "AIM"])
def test_a_model_of_a_plan_reads_other_values_as_missing(name, features, tmp_path):
    keras.utils.set_random_seed(0)
    tower = {} if name == "FM" else {"hidden": [30]}
    tower["embeddings_initializer"] = "glorot_uniform"
    plan = InteractionPlan([], values=KEPT)
    model = build_model(name, features, dim=2, interactions=plan, **tower)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert plan_of_model(loaded, features).values["a"].tolist() == KEPT["a"]
    inputs = {
        "categorical": np.array([[2, 5, 3], [0, 5, 3]]),
        "numeric": np.array([[0.5], [0.5]]),
        "m": np.array([[10, 11], [0, 11]]),
    }
    for one in (model, loaded):
        dropped, missing = one.predict(inputs, verbose=0)
        np.testing.assert_array_equal(dropped, missing)
    inputs["categorical"][0, 0] = 4
    scores = model.predict(inputs, verbose=0)
    assert scores[0] != scores[1]


def test_a_plan_is_saved_with_its_values_and_beside_interactions(features, tmp_path):
    plan = InteractionPlan([Interaction(("a", "b"))], values=KEPT)
    plan.save(tmp_path / "plan.json")
    assert InteractionPlan.load(tmp_path / "plan.json") == plan
    model = build_model("FM", features, dim=2, interactions=plan)
    assert len(model.get_layer("inner_2").terms) == 1
    assert plan_of_model(model, features).values["m"].tolist() == KEPT["m"]
    assert [" ".join(line.split()) for line in plan.summary().splitlines()[-2:]] == [
        "a 4 3",
        "m 3 1",
    ]
    written = json.loads((tmp_path / "plan.json").read_text())
    written["values"]["a"]["count"] = 40
    (tmp_path / "plan.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match="is not an interaction plan: 1 bytes hold no 40 bits"):
        InteractionPlan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("kept", [{"a": [True] * 5}, {"z": [True]}])
def test_values_of_other_data_are_refused(features, kept):
    with pytest.raises(ValueError, match=r"the plan is of \d values of .* search these data"):
        build_model("FM", features, interactions=InteractionPlan([], values=kept))


def test_models_that_read_all_fields_refuse_a_plan_of_values(features):
    with pytest.raises(ValueError, match="the plan is one of values"):
        build_model("OptInter", features, interactions=InteractionPlan([], values=KEPT))


def test_random_values_are_as_many_and_statistics_select_none(features):
    like = InteractionPlan([], values=KEPT)
    found = RandomSelection(like=like).search(features)
    counts = {name: int(values.sum()) for name, values in found.values.items()}
    assert counts == {"a": 3, "m": 1}
    with pytest.raises(ValueError, match="the plan is one of values"):
        StatisticsSelection(like=like).search(
            features, ({}, np.zeros((0, 1))), ({}, np.zeros((0, 1)))
        )
