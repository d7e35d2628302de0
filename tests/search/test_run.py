"""A search from the command line, killed, re-run, and trained on."""

import dataclasses
import json
import os
import shutil

import pytest
import yaml
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.features import FeatureSet
from ctr_keras.partitions import rows_digest
from ctr_keras.plan import InteractionPlan
from ctr_keras.runs import Optimization, kept_for
from ctr_keras.search import SEARCH_PRESETS, SEARCHES, read_search, run_search
from tests.data.shards import write_prepared
from tests.processes import Command

SETTINGS = ["dim=4", "batch_size=20", "epochs=3", "learning_rate=0.05", "jit_compile=false"]
SET = [part for setting in [*SETTINGS, "c=0.01"] for part in ("--set", setting)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A click is `a` xor `b`, mostly."""
    rows = {"train": 600, "validation": 100, "test": 100}
    return write_prepared(tmp_path_factory.mktemp("prepared") / "data", rows)


def search(prepared, out, *more):
    arguments = ["--data", prepared, "--method", "autofis", "--base", "FM", "--out", str(out)]
    return CliRunner().invoke(main, ["search", *arguments, *SET, *more])


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """A search that nobody disturbed; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished") / "search"
    assert search(prepared, folder).exit_code == 0
    return folder


def test_searched_and_trained_on(prepared, tmp_path):
    found = search(prepared, tmp_path / "search", "--order", "3")
    assert found.exit_code == 0, found.output
    plan = InteractionPlan.load(tmp_path / "search" / "plan.json")
    assert found.stdout == plan.summary() + "\n"
    assert ("a", "b") in {interaction.fields for interaction in plan.interactions}
    assert "gates open" in found.stderr
    files = {"config.yaml", "features.json", "history.csv", "plan.json"}
    files |= {"gates.csv", "kept.csv", "verdict.json"}
    assert set(os.listdir(tmp_path / "search")) == files
    trained = CliRunner().invoke(
        main,
        [
            *("train", "--data", prepared, "--model", "DeepFM", "--out", str(tmp_path / "run")),
            *("--set", f"interactions={tmp_path}/search/plan.json", "--set", "hidden=[8]"),
            *("--set", "batch_size=20", "--set", "learning_rate=0.01", "--set", "epochs=3"),
        ],
    )
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["validation"]["auc"] > 0.7


def test_given_again_it_reports_and_with_other_settings_it_refuses(prepared, finished):
    written = (finished / "plan.json").stat().st_mtime_ns
    again = search(prepared, finished)
    assert again.stdout == InteractionPlan.load(finished / "plan.json").summary() + "\n"
    assert (finished / "plan.json").stat().st_mtime_ns == written
    other = search(prepared, finished, "--set", "mu=0.5")
    assert other.exit_code == 1
    assert "holds a run with mu=0.8, not 0.5" in other.output


def test_a_search_that_failed_before_its_first_round_leaves_nothing(prepared, tmp_path):
    out = tmp_path / "search"
    wrong = search(prepared, out, "--set", "table_learning_rates={nowhere: 0.1}")
    assert "no layer 'nowhere' of the model holds a table" in wrong.output
    assert not out.exists()


def test_a_folder_of_a_run_is_refused_and_one_that_another_process_works_in(prepared, tmp_path):
    with kept_for("search", str(tmp_path)):
        assert f"another process works in {tmp_path}" in search(prepared, tmp_path).output
    (tmp_path / "config.yaml").write_text("model: FM\n")
    assert f"{tmp_path} holds a run: choose another folder" in search(prepared, tmp_path).output
    assert (tmp_path / "config.yaml").read_text() == "model: FM\n"


def test_a_folder_of_an_earlier_version_is_read(prepared, tmp_path):
    """It has fewer settings: what it does not name is as it was."""
    search = read_search("autofis", None, [*SETTINGS, "base=FM", "learning_rate_decay=0.7"])
    plan = run_search("autofis", search, prepared, str(tmp_path))
    path = tmp_path / "config.yaml"
    written = yaml.safe_load(path.read_text())
    new = {field.name for field in dataclasses.fields(Optimization)}
    new -= {"learning_rate", "learning_rate_decay", "epsilon"}
    path.write_text(yaml.safe_dump({k: v for k, v in written.items() if k not in new}))
    assert run_search("autofis", search, prepared, str(tmp_path)) == plan
    other = dataclasses.replace(search, optimizer="adagrad")
    with pytest.raises(ValueError, match="holds a run with optimizer='adam', not 'adagrad'"):
        run_search("autofis", other, prepared, str(tmp_path))


def test_a_search_of_other_data_is_refused(prepared, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "search")
    features = FeatureSet.load(folder / "features.json")
    changed = features.to_dict()
    changed["vocabulary_sizes"]["a"] += 1
    FeatureSet.from_dict(changed).save(folder / "features.json")
    assert "holds a search of other data" in search(prepared, folder).output
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(rows_digest(prepared), "0123456789abcdef"))
    assert "was prepared anew, with other rows or splits" in search(prepared, folder).output


@pytest.mark.slow
def test_killed_for_real_and_given_again(prepared, finished, tmp_path):
    arguments = ("search", "--data", prepared, *SET, "--method", "autofis", "--base", "FM")
    process = Command(*arguments, "--out", tmp_path / "killed")
    process.wait_until(lambda: any(tmp_path.glob("killed/checkpoints/*/*/state.json")))
    process.kill()
    assert not (tmp_path / "killed" / "plan.json").exists()
    assert search(prepared, tmp_path / "killed").exit_code == 0
    plans = [InteractionPlan.load(out / "plan.json") for out in (tmp_path / "killed", finished)]
    assert plans[0] == plans[1]


@pytest.mark.parametrize("method", ["random", "statistics"])
def test_selections_are_made_like_a_plan(method, prepared, tmp_path):
    InteractionPlan.complete(["a", "b"]).save(tmp_path / "plan.json")
    arguments = ["--data", prepared, "--method", method, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["search", *arguments, "--set", f"like={tmp_path}/plan.json"])
    assert result.exit_code == 0, result.output
    assert len(InteractionPlan.load(tmp_path / "out" / "plan.json").interactions) == 1


@pytest.mark.parametrize(
    ("method", "preset"),
    [(method, preset) for method, presets in SEARCH_PRESETS.items() for preset in presets],
)
def test_presets_are_settings_of_their_search(method, preset):
    search = read_search(method, None, [f"preset={preset}", "seed=7"])
    assert search.seed == 7
    given = SEARCH_PRESETS[method][preset]
    for name, value in given.items():
        assert getattr(search, name, search.model_args.get(name)) == value
    if "c" in given:
        assert read_search(method, None, [f"preset={preset}", "c=0.5"]).c == 0.5


def test_settings_come_from_yaml_too(tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text("order: 3\ndim: 8\nc: 0.01\n")
    search = read_search("aim", str(path), ["order=2"])
    assert (search.order, search.model_args, search.c) == (2, {"dim": 8}, 0.01)


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("darts", [], "unknown method 'darts'; available: autofis, aim, optinter"),
        ("autofis", ["depth=3"], "unknown setting 'depth'; available: .*order, .*dim, .*hidden"),
        (
            "autofis",
            ["preset=kdd"],
            "autofis has no preset 'kdd'; available: criteo, criteo-fm,",
        ),
        ("random", ["preset=avazu"], "random has no preset 'avazu'; available: none"),
        ("autofis", ["epochs=many"], "epochs must be an integer or 'auto', got 'many'"),
        ("autofis", ["base=IPN"], "--set base=IPN: unknown model 'IPN'; did you mean 'IPNN'"),
        ("autofis", ["base=FNN"], "base must be 'FM', 'DeepFM' or 'IPNN', got 'FNN'"),
        ("autofis", ["order=5"], "order must be 2, 3 or 4, got 5"),
        ("aim", ["functions=[inner, max]"], r"functions\[1\] must be 'inner', .*, got 'max'"),
        ("aim", ["functions=[]"], r"functions must be a non-empty list, got \[\]"),
        ("random", [], "like is not given"),
        ("aim", ["dim=wide"], "--set dim=wide: dim must be an integer, got 'wide'"),
    ],
)
def test_mistakes_are_named(method, overrides, message):
    with pytest.raises(ValueError, match=message):
        read_search(method, None, overrides)


def test_the_command_line_names_every_search_for_an_unknown_one(tmp_path):
    arguments = ["search", "--data", str(tmp_path), "--method", "darts", "--out", "o"]
    output = CliRunner().invoke(main, arguments).output
    assert output == f"Error: unknown method 'darts'; available: {', '.join(SEARCHES)}\n"
