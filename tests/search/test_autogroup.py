"""AutoGroup finds fields that mean something together, and models are built on its groups."""

import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras.explain import plan_of_model
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.plan import Group, InteractionPlan
from ctr_keras.search import AutoGroupSearch, RandomSelection, StatisticsSelection
from ctr_keras.search.verdict import read_verdicts
from ctr_keras.training import load_run
from tests.data.shards import write_prepared
from tests.parameters import whole_on_jax
from tests.search.commands import run

PAIRS = {"dim": 4, "hidden": [16], "groups": [0, 4]}


@pytest.mark.backend
@whole_on_jax
@pytest.mark.slow
def test_default_settings_find_the_pairs_that_matter_and_nothing_else():
    rows = {"train_rows": 20_000, "validation_rows": 5000, "test_rows": 10}
    data = planted_clicks([(0, 1), (2, 5)], fields=6, linear=0.0, noise=0.5, **rows)
    search = AutoGroupSearch(model_args=PAIRS, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert {group.fields for group in plan.groups} == {("f0", "f1"), ("f2", "f5")}
    assert plan.interactions == ()


def small():
    return planted_clicks([(0, 1)], fields=3, categories=4, train_rows=400, test_rows=100)


def quick(**changes):
    settings = {"batch_size": 100, "epochs": 1, "rounds": 1, "verbose": False, "model_args": PAIRS}
    return AutoGroupSearch(**settings | changes)


@pytest.mark.backend
@pytest.mark.usefixtures("eager")
def test_so_many_places_as_asked_for_are_kept_in_groups_of_two_fields_at_least(tmp_path):
    data = small()
    plan = quick(keep=12).search(data.features, data.train, data.test, str(tmp_path))
    every = ("f0", "f1", "f2")
    assert [(group.fields, group.order) for group in plan.groups] == [(every, 2)] * 4
    (verdict,) = read_verdicts(str(tmp_path))
    assert verdict.says[0] == "keeps 12 of 12 gates"
    assert verdict.says[-1] == "their groups: 4 of order 2"
    assert [row["function"] for row in verdict.kept] == ["order 2"] * 4
    assert quick(keep=1).search(data.features, data.train, data.test).groups == ()


@pytest.mark.usefixtures("eager")
def test_logits_may_go_far_beyond_doubt_and_crossed_features_are_in_no_group():
    data = planted_clicks(
        [(0, 1)], fields=3, categories=4, train_rows=400, test_rows=100, crossed=True
    )
    certain = {"gate_learning_rate": 1e4, "keep": None, "gumbel_noise": False}
    search = quick(**certain, model_args={**PAIRS, "crossed": True})
    plan = search.search(data.features, data.train)
    assert {group.gate for group in plan.groups} == {1.0}
    assert {name for group in plan.groups for name in group.fields} <= {"f0", "f1", "f2"}


@pytest.mark.usefixtures("eager")
def test_without_keep_places_more_probable_than_not_are_kept_and_no_rows_judge_them():
    data = small()
    still = {"gate_learning_rate": 0.0, "keep": None, "gumbel_noise": False}
    plan = quick(**still).search(data.features, data.train)
    assert all(0.5 < group.gate < 0.501 for group in plan.groups)


def test_from_the_command_line_with_verdict_pictures_and_a_run(tmp_path):
    prepared = write_prepared(tmp_path / "data", {"train": 200, "validation": 60, "test": 60})

    few = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "batch_size=50")
    out = tmp_path / "search"
    found = run("search", "--data", prepared, "--method", "autogroup", "--out", out, *few,
                "--set", "keep=8", "--set", "groups=[1,2]")  # fmt: skip
    plan = InteractionPlan.load(out / "plan.json")
    assert found.stdout == plan.summary() + "\n"
    assert "keeps 8 of" in found.stderr
    pictures = run("explain", "--run", out, "--out", tmp_path / "pictures", "--other", out).stdout
    for name in ("agreement", "groups", "rounds-1", "effects-1"):
        assert f"{name}.png" in pictures
    trained = tmp_path / "run"
    run("train", "--data", prepared, "--model", "AutoGroup", "--out", trained, *few,
        "--set", f"interactions={out}/plan.json")  # fmt: skip
    model, features, _ = load_run(str(trained))
    built = plan_of_model(model, features).groups
    assert [(one.fields, one.order) for one in built] == [
        (one.fields, one.order) for one in plan.groups
    ]


def test_random_groups_have_as_many_fields_and_statistics_select_none():
    features = FeatureSet(*map(Categorical, "abcd"), label=Label("y"))
    like = InteractionPlan([], groups=[Group(("a", "b")), Group(("b", "c", "d"), 3)])
    found = RandomSelection(like=like, seed=1).search(features).groups
    assert [(len(group.fields), group.order) for group in found] == [(2, 2), (3, 3)]
    assert {name for group in found for name in group.fields} <= {*"abcd"}
    with pytest.raises(ValueError, match="the plan is one of groups"):
        StatisticsSelection(like=like).search(features, ({}, []), ({}, []))
