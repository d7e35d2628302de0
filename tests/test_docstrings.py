"""Docstrings: pytest runs their examples, and what they say of arguments is so."""

import ast
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import ctr_keras
import pipeline
import serving
from ctr_keras import (
    compare,
    data,
    explain,
    features,
    layers,
    metrics,
    models,
    optimizers,
    plan,
    search,
    testing,
    training,
    trees,
)
from ctr_keras.metrics import streaming

MODULES = sorted(
    module.name
    for package in (ctr_keras, pipeline, serving)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
# Modules with examples that are not run (`# doctest: +SKIP`), and why.
SKIPPED = {
    "serving.deploy.labels": "writes a file",
    "serving.drift": "needs a log of requests",
    "serving.export.blessing": "needs an exported model",
    "serving.export.export": "needs a finished run",
    "serving.onnx_scorer": "needs an exported version",
    "serving.export.scorer": "needs a finished run",
    "serving.scoring": "needs a finished run",
    "serving.verify": "needs prepared data and a folder of models",
}
ROOMS = (
    *(data, explain, features, layers, metrics, models, optimizers, search, streaming, testing),
    *(compare, training, trees),
)
PUBLIC = {
    f"{room.__name__}.{name}": getattr(room, name)
    for room in ROOMS
    for name in room.__all__
    if callable(getattr(room, name))
}
PUBLIC |= {
    f"ctr_keras.plan.{kind.__name__}": kind for kind in (plan.Interaction, plan.InteractionPlan)
}
NEEDS_PREPARED_DATA = {
    *(f"ctr_keras.data.{name}" for name in data.__all__),
    *("ctr_keras.training.evaluate_run", "ctr_keras.training.load_run"),
    *("ctr_keras.training.predict_split", "ctr_keras.training.train"),
    *("ctr_keras.compare.compare_runs", "ctr_keras.compare.run_bench"),
    "ctr_keras.compare.to_markdown",
    *("ctr_keras.explain.explain_run", "ctr_keras.search.run_search"),
    "ctr_keras.search.StatisticsSelection",
}


def is_skipped(example):
    return example.options.get(doctest.SKIP, False)


def test_pytest_runs_the_examples_of_all_packages(pytestconfig):
    assert pytestconfig.getoption("doctestmodules")
    assert set(pytestconfig.getini("testpaths")) >= {"ctr_keras", "pipeline", "serving"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_skipped_for_a_reason_only(name):
    found = doctest.DocTestFinder().find(importlib.import_module(name))
    skipped = any(is_skipped(example) for test in found for example in test.examples)
    assert skipped == (name in SKIPPED)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_things_are_documented(name):
    text = inspect.getdoc(PUBLIC[name])
    assert text
    if name not in NEEDS_PREPARED_DATA and "Attributes:" not in text:
        examples = doctest.DocTestParser().get_examples(text)
        assert not all(map(is_skipped, examples)), f"{name} has no example that runs"


def documented_arguments(text):
    """(names, description) of each entry below `Args:`."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    entries = re.split(r"^    (?=[\w*])", section[1] if section else "", flags=re.MULTILINE)
    for entry in entries:
        names, colon, description = entry.partition(":")
        if colon:
            yield names.strip().replace("*", "").split(", "), " ".join(description.split())


def test_the_reader_of_docstrings_reads():
    arguments = "    a, b: as in\n        `f`.\n    c: int. Defaults to `3`.\n"
    text = f"Adds.\n\nArgs:\n{arguments}\nReturns:\n    x: y"
    assert list(documented_arguments(text)) == [
        (["a", "b"], "as in `f`."),
        (["c"], "int. Defaults to `3`."),
    ]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_documented_arguments_and_defaults_are_the_real_ones(name):
    parameters = inspect.signature(PUBLIC[name]).parameters
    text = inspect.getdoc(PUBLIC[name])
    if "Args:" not in text:
        assert "Attributes:" in text or set(parameters) <= {"name"}
        return
    documented = list(documented_arguments(text))
    assert {name for names, _ in documented for name in names} == set(parameters)
    for names, description in documented:
        default = parameters[names[0]].default
        stated = re.search(r"Defaults to `(.*?)`[.:]", description)
        if stated:
            assert ast.literal_eval(stated[1]) == default, names
        elif len(names) == 1 and not _is_factory(default):
            assert default is inspect.Parameter.empty, f"{names} has the default {default!r}"


def _is_factory(default):
    return type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"


def test_layers_take_few_arguments_by_position():
    for name in layers.__all__:
        signature = inspect.signature(getattr(layers, name))
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 5, name


def test_features_are_plain_data():
    assert all(dataclasses.is_dataclass(feature) for feature in features.FEATURE_KINDS.values())
