"""Mistakes are said before Keras is imported, in the words that come after it."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from ctr_keras import outlines
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.listing import trainable
from ctr_keras.models import MODELS, model_arguments
from ctr_keras.models.registry import _parameters
from ctr_keras.search import SEARCHES
from ctr_keras.settings import fields_of
from ctr_keras.training import TrainConfig, TreesConfig

HAND_ON = ("OptInterF", "OptInterM")  # what they are given


def test_outlines_name_all_models_and_searches():
    assert {*outlines.models()} == MODELS.keys()
    assert outlines.searches() == {name: kind.__name__ for name, kind in SEARCHES.items()}
    bases = {name: getattr(kind, "base", None) for name, kind in SEARCHES.items()}
    assert {n: outlines.base_of(kind) for n, kind in outlines.searches().items()} == bases


@pytest.mark.parametrize("model", MODELS)
def test_outlines_have_the_arguments_of_a_model(model):
    found = outlines.builder(model)
    if model in HAND_ON:
        assert found is None
        return
    assert [*found.types] == [*model_arguments(model)]
    assert_same_or_any(found.types, {n: of.annotation for n, of in _parameters(model).items()})


@pytest.mark.parametrize("kind", [TrainConfig, TreesConfig, *SEARCHES.values()])
def test_outlines_have_the_settings_of_a_dataclass(kind):
    found, wanted = outlines.dataclass(kind.__name__), fields_of(kind)
    assert ([*found.types], found.required) == ([*wanted.types], wanted.required)
    assert_same_or_any(found.types, wanted.types)


@pytest.mark.parametrize("model", MODELS)
def test_outlines_have_the_defaults_of_a_model(model):
    assert outlines.builder_defaults(model) == model_arguments(model)


@pytest.mark.parametrize("kind", [TrainConfig, TreesConfig, *SEARCHES.values()])
def test_outlines_have_the_defaults_of_a_dataclass(kind):
    made = {
        field.name: {} if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
        if field.name not in fields_of(kind).required
    }
    assert outlines.dataclass_defaults(kind.__name__) == made


def test_what_is_listed_of_models_is_what_they_were_registered_with():
    for name, entry in MODELS.items():
        listed = trainable()[name]._asdict()
        assert listed == {key: getattr(entry, key) for key in listed}


def assert_same_or_any(found, wanted):
    for name, kind in found.items():
        assert kind is Any or str(kind) == str(wanted[name]), name


def test_usual_types_are_known():
    fields = [outlines.dataclass(k.__name__) for k in (TrainConfig, TreesConfig)]
    fields += [outlines.builder(model) for model in MODELS if model not in HAND_ON]
    unknown = {name for of in fields for name, kind in of.types.items() if kind is Any}
    usual = (
        "optimizer",
        "epochs",
        "batch_size",
        "num_leaves",
        "dim",
        "hidden",
        "dropout",
        "net_l2",
    )
    assert not unknown & {*usual}


MISTAKES = [
    ("train --data data --out r --model DepFM", "unknown model 'DepFM'; did you mean 'DeepFM'?"),
    (
        "train --data data --out r --model DeepFM --set epoch=1",
        "--set epoch=1: unknown setting 'epoch'; did you mean 'epochs'?",
    ),
    (
        "train --data data --out r --model DeepFM --set epochs=x",
        "--set epochs=x: epochs must be an integer, got 'x'",
    ),
    (
        "train --data data --out r --model autoint --set heads=0",
        "--set heads=0: heads must be at least 1, got 0",
    ),
    (
        "train --data data --out r --config c.yaml",
        "c.yaml, line 3: heads must be an integer, got 'two'",
    ),
    (
        "train --data data --out r --model FM --set preset=avasu",
        "--set preset=avasu: FM has no preset 'avasu'; did you mean 'avazu'?",
    ),
    (
        "train --data data --out r --model lightgbm --set num_leaves=1",
        "--set num_leaves=1: num_leaves must be at least 2, got 1",
    ),
    (
        "train --data . --out r --model FM",
        ". holds no prepared data: there is no features.json",
    ),
    (
        "tune --data data --out r --model FM --set dmi=3",
        "--set dmi=3: unknown setting 'dmi'; did you mean 'dim'?",
    ),
    ("bench --data data --out r --models FM,DepFM", "unknown model 'DepFM'; did you mean 'DeepFM'"),
    ("bench --data data --out r --models FM --by ab", "unknown field 'ab'; did you mean 'a'?"),
    ("models DepFM", "unknown model 'DepFM'; did you mean 'DeepFM'?"),
    (
        "search --data data --out r --method autofi",
        "unknown method 'autofi'; did you mean 'autofis'?",
    ),
    (
        "search --data data --out r --method aim --set order=two",
        "--set order=two: order must be 2, 3 or 4, got 'two'",
    ),
    (
        "search --data data --out r --method autofis --base FMM",
        "unknown model 'FMM'; did you mean 'FmFM'?",
    ),
    (
        "search --data data --out r --method autofield --base FM",
        "autofield takes no base: its model is FNN",
    ),
    ("evaluate --run data", "data holds no run: there is no config.yaml"),
    ("evaluate --run run --require acu>=0.6", "no metric 'acu'; did you mean 'auc'?"),
    ("evaluate --run run --by ab", "unknown field 'ab'; did you mean 'a'?"),
    ("evaluate --run run --group b", "unknown field 'b'; available: a"),
    ("run flow.yaml", "flow.yaml, line 5: evaluate: no metric 'acu'; did you mean 'auc'?"),
    ("trian", "No such command 'trian'; did you mean 'train'? See `ctr-keras --help`."),
    (
        "train --modle FM",
        "No such option '--modle'. Did you mean '--model'? See `ctr-keras train --help`.",
    ),
    ("serve --models nothere", "no directory of models: nothere"),
    ("serve --models data --rest_api_port 99999", "--rest_api_port is 0 to 65535, not 99999"),
    ("train", "Missing option '--out'. See `ctr-keras train --help`."),
]


GIVE_ALL = """
import json, sys
from click.testing import CliRunner
from ctr_keras.cli import main
give = lambda command: CliRunner().invoke(main, command.split(), prog_name="ctr-keras").output
print(json.dumps([[*map(give, json.load(sys.stdin))], sorted(sys.modules)]))
"""


LISTS = ["models", "models AutoInt", "train --model FM --help", "search --help"]


def test_models_and_settings_are_listed_without_keras():
    ended = subprocess.run(
        [sys.executable, "-c", GIVE_ALL], input=json.dumps(LISTS), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    said, modules = json.loads(ended.stdout)
    for wanted, output in zip(("DeepFM", "heads=2", "linear=true", "mu=0.8"), said, strict=True):
        assert wanted in output
    assert not {"keras", "tensorflow", "apache_beam"} & {*modules}


def test_mistakes_are_said_before_keras_is_imported(tmp_path):
    for folder in ("data", "run"):
        (tmp_path / folder).mkdir()
        features = FeatureSet(Categorical("a"), label=Label("y"))
        features.save(tmp_path / folder / "features.json")
    (tmp_path / "run" / "config.yaml").touch()
    (tmp_path / "c.yaml").write_text("model: AutoInt\nmodel_args:\n  heads: two\n")
    (tmp_path / "flow.yaml").write_text(
        "out: flow\n"
        "prepare: {dataset: synthetic, source: c.yaml}\n"
        "train:\n"
        "  {model: FM}\n"
        "evaluate: {require: [acu>=0.6]}\n"
    )
    before = {*tmp_path.rglob("*")}
    ended = subprocess.run(
        [sys.executable, "-c", GIVE_ALL],
        input=json.dumps([command for command, _ in MISTAKES]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr
    said, modules = json.loads(ended.stdout)
    for (command, wanted), output in zip(MISTAKES, said, strict=True):
        assert output.startswith(f"Error: {wanted}"), command
        assert output.count("\n") == 1, command
    assert not {"keras", "tensorflow", "apache_beam"} & {*modules}
    assert {*tmp_path.rglob("*")} == before, "a refused command left something behind"
