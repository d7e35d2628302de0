"""The command line: what users see. The commands' work is tested where it is done."""

import json

import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.models import MODELS


def run(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(main, arguments, input=stdin)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_and_its_options(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    for parameter in main.commands[command].params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{command} --{parameter.name}"


def test_models_lists_name_summary_and_reference():
    result = run("models")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == len(MODELS)
    for line, (name, entry) in zip(lines, MODELS.items(), strict=True):
        assert line.split()[0] == name
        assert entry.summary in line
        assert entry.reference in line


def test_models_shows_arguments_and_presets_of_one():
    result = run("models", "OptInter")
    assert result.exit_code == 0
    assert "cross_dim                10" in result.output
    assert "preset=avazu: batch_size=2000" in result.output
    assert "unknown model 'Opt'" in run("models", "Opt").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--dataset", "kdd", "--source", "x", "--out", "y"], "unknown data set 'kdd'"),
        (
            ["prepare", "--dataset", "criteo", "--source", "/nowhere", "--out", "y"],
            "no file matches",
        ),
        (["train", "--out", "r", "--model", "AutoInt"], "data is not given"),
        (["train", "--out", "r", "--data", ".", "--model", "FFM"], "unknown model 'FFM'"),
        (
            ["train", "--out", "r", "--data", ".", "--model", "AutoInt", "--set", "x=1"],
            "setting 'x'",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "FM", "--set", "preset=ml"],
            "FM has no preset 'ml'; it has criteo, avazu",
        ),
        (["evaluate", "--run", "."], "holds no finished run"),
        (["export", "--run", ".", "--out", "m"], "holds no finished run"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 2: no JSON"), ("[1]", "line 2: a row is an object")],
)
def test_predict_names_the_line_that_is_no_row(line, message):
    from ctr_keras.cli import _read_rows

    with pytest.raises(ValueError, match=message):
        list(_read_rows([json.dumps({"a": 1}), line]))
