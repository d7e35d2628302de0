"""The command line: what users see. The commands' work is tested where it is done."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import click
import pytest
from click.testing import CliRunner

import ctr_keras
from ctr_keras.cli import main
from ctr_keras.listing import FAMILIES, settings_of_searches, settings_of_training, trainable
from ctr_keras.models import MODELS
from ctr_keras.programs import program
from ctr_keras.search import SEARCHES
from tests.conftest import ROOT


def run(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(main, arguments, input=stdin)


CONTEXT = click.Context(main)


def test_help_lists_the_commands_of_all_packages():
    assert main.list_commands(CONTEXT) == [
        *("bench", "compare", "deploy", "drift", "embeddings", "evaluate", "explain", "export"),
        *("importance", "init", "join", "models", "predict", "prepare", "promote", "report"),
        *("rollback", "run", "score", "search", "serve", "stats", "synthesize", "train", "tune"),
        "verify",
    ]
    output = run("--help").output
    assert "Transform raw logs into TFRecords." in output
    assert "Write what the real TensorFlow Serving needs to serve models." in output
    assert "..." not in output.partition("Commands:")[2]  # nothing is cut off


@pytest.mark.parametrize("command", main.list_commands(CONTEXT))
def test_every_command_explains_itself_and_its_options(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    for parameter in main.get_command(CONTEXT, command).params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{command} --{parameter.name}"


def test_models_lists_families_of_name_summary_and_reference():
    result = run("models")
    assert result.exit_code == 0
    listed = trainable()
    assert listed.keys() - MODELS.keys() == {"LightGBM"}
    family, found = "", set()
    for line in result.output.splitlines():
        if not line.startswith(" "):
            family = line
            continue
        name = line.split()[0]
        entry = listed[name]
        found.add(name)
        assert family == f"{FAMILIES[entry.family]}:"
        assert entry.summary in line
        assert entry.reference in line
        assert all(need in line for need in entry.needs)
    assert found == listed.keys()


def test_models_shows_arguments_and_presets_of_one():
    result = run("models", "OptInter")
    assert result.exit_code == 0
    assert re.search(r"^  cross_dim=10 +Width of a pair's vector", result.output, re.M)
    assert "preset=avazu: batch_size=2000" in result.output
    assert "crossed features: those of memorized pairs" in result.output
    assert "unknown model 'Opt'" in run("models", "Opt").output


def titles(output):
    return re.findall(r"^(\w[\w ]*):$", output, re.M)


def test_models_lists_the_settings_of_training():
    output = run("models", "FM").output
    assert titles(output) == ["Arguments of FM", "Settings of a run", "How its weights learn"]
    assert {"batch_size=auto", "epochs=50", "table_optimizer=null"} <= {*output.split()}
    in_force = {"preset=default", "dropout=0.4", "learning_rate=0.003"}
    assert in_force <= {*output.split()}
    assert "; null, as with a plan, for what builders have" in " ".join(output.split())
    assert titles(run("models", "LightGBM").output) == ["Settings of LightGBM"]
    for command in ("train", "tune", "bench"):
        assert "`ctr-keras models NAME`" in " ".join(run(command, "--help").output.split())


def test_help_of_train_lists_the_settings_and_those_of_a_model():
    groups = ["Settings of a run", "How its weights learn"]
    assert titles(run("train", "--help").output) == ["Options", *groups]
    for option in (["--model", "autoint"], ["--model=AutoInt"]):
        output = run("train", *option, "--help").output
        assert titles(output) == ["Options", "Arguments of AutoInt", *groups]
        assert re.search(r"^  heads=2 +Number of attention heads$", output, re.M)


def test_help_shows_what_a_run_takes_by_its_data():
    lines = run("train", "--model", "DeepFM", "--help").output.splitlines()
    shown = [line.strip() for line in lines]
    assert any(line.startswith("net_l2=200 / rows ") for line in shown)
    assert any(line.startswith("numeric_embedding=ordered ") for line in shown)


@pytest.mark.parametrize("name", trainable())
def test_every_setting_is_described(name):
    for lines in settings_of_training(name).values():
        assert [setting for setting, means in lines if not means] == []


def test_help_of_search_lists_the_settings_of_each_method():
    output = run("search", "--help").output
    _, *sections = re.split(r"^Settings of (\w+):$", output, flags=re.M)
    methods = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(methods) == list(SEARCHES)
    assert re.search(r"^  c=null +How hard GRDA's threshold presses$", methods["autofis"], re.M)
    assert re.search(r"^  mu=0.8 +How its pressure grows with the steps$", methods["autofis"], re.M)
    assert re.search(r"^  dims_mu=0.8 +How its pressure grows$", methods["aim"], re.M)
    assert "learning_rate=" not in methods["aim"].replace("_learning_rate=", "")  # it is shared
    assert re.search(r"^  like=must be given +InteractionPlan, or path", methods["random"], re.M)
    shared = methods["statistics"]
    assert re.search(r"^  learning_rate=0.01 +Of the weights$", shared, re.M)
    assert re.search(r"^  batch_size=auto +", shared, re.M)


def test_every_setting_of_a_search_is_described():
    for lines in settings_of_searches().values():
        assert [setting for setting, means in lines if not means] == []


def test_models_says_what_one_cannot_learn():
    assert "the two only add" in " ".join(run("models", "MIAN").output.split())


def test_models_shows_the_settings_of_lightgbm():
    result = run("models", "LightGBM")
    assert result.exit_code == 0
    assert re.search(r"^  num_leaves=31 +Leaves of a tree, at most$", result.output, re.M)
    assert "crossed features: left out; with crossed=true trees split on them" in result.output
    assert not {"data", "out", "model"} & {line.split()[0] for line in result.output.splitlines()}
    assert run("models", "lightgbm").output == result.output
    assert run("models", "lightgmb").output.endswith("; did you mean 'LightGBM'?\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--dataset", "kdd", "--source", "x", "--out", "y"], "unknown data set 'kdd'"),
        (
            ["prepare", "--dataset", "criteo", "--source", "/nowhere", "--out", "y"],
            "no file matches",
        ),
        (["train", "--out", "r", "--model", "AutoInt"], "data is not given"),
        (["train", "--out", "r", "--data", ".", "--model", "DCNX"], "unknown model 'DCNX'"),
        (
            ["train", "--out", "r", "--data", ".", "--model", "LightGBM", "--set", "epochs=1"],
            "--set epochs=1: unknown setting 'epochs'; available: data, out, num_iterations",
        ),
        (
            ["bench", "--out", "r", "--data", ".", "--models", "FM,Deepfmm,XYZ"],
            "unknown model 'Deepfmm'; did you mean 'DeepFM'?; unknown model 'XYZ'; available: ",
        ),
        (["compare", "."], "holds no run"),
        (
            ["train", "--out", "r", "--data", ".", "--model", "AutoInt", "--set", "x=1"],
            "setting 'x'",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "FM", "--set", "preset=ml"],
            "FM has no preset 'ml'; available: default, criteo, avazu",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--set", "model=[3]"],
            "--set model=[3]: unknown model [3]; available: ",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "FM", "--set", "preset=[3]"],
            "--set preset=[3]: FM has no preset [3]; available: default, criteo, avazu",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "XYZ"],
            ", LightGBM",
        ),
        (
            ["bench", "--out", "r", "--data", ".", "--models", "XYZ"],
            ", LightGBM",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "FM"],
            ". holds no prepared data: there is no features.json",
        ),
        (
            ["train", "--out", "r", "--data", ".", "--model", "FM", "--set", "out=s"],
            "--set out=s: out is given twice, by --out r too",
        ),
        *(
            ([*command, "--set", f"{key}=s"], f"--set {key}=s: {key} is given twice, by --{key} ")
            for command, keys in (
                (["tune", "--out", "r", "--data", ".", "--model", "FM"], ("out", "data", "model")),
                (
                    ["search", "--out", "r", "--data", ".", "--method", "aim"],
                    ("out", "data", "method"),
                ),
                (["bench", "--out", "r", "--data", ".", "--models", "FM"], ("out", "data")),
            )
            for key in keys
        ),
        (
            [
                *("search", "--out", "r", "--data", ".", "--method", "autofis"),
                *("--base", "FM", "--set", "base=IPNN"),
            ],
            "--set base=IPNN: base is given twice, by --base FM too",
        ),
        *(
            (command, f"Error: {where}nowhere is not there\n")
            for command, where in (
                (["evaluate", "--run", "nowhere"], "--run "),
                (["export", "--run", "nowhere", "--out", "m"], "--run "),
                (["train", "--data", "nowhere", "--out", "r", "--model", "FM"], "--data "),
                (["compare", "nowhere"], ""),
            )
        ),
        (["stats", "--data", "nowhere"], "nowhere holds no prepared data: there is no report.json"),
        (
            ["synthesize", "--rows", "3", "--out", "/dev/null/log"],
            "/dev/null/log: Not a directory\n",
        ),
        (["evaluate", "--run", "."], "holds no run"),
        (["export", "--run", ".", "--out", "m"], "holds no run"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


def test_a_reader_that_has_gone_gets_no_message():
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does after its lines
    command = [sys.executable, "-m", "ctr_keras.cli", "models"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert ended.returncode == 1
    assert "pipe" not in ended.stderr.lower()  # in an error, or ignored at the end


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from ctr_keras.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    heavy = {"keras", "tensorflow", "apache_beam", "tensorflow_transform", "numpy", "pydantic"}
    assert not heavy & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("apache_beam", "pipeline"),
        ("tensorflow_serving.apis", "serving"),
        ("keras", None),
    ],
)
def test_a_missing_module_names_the_extra_that_brings_it(module, extra, tmp_path, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("ctr_keras.partitions.join", fail)
    result = run("join", str(tmp_path), "--out", "joined")
    hint = f": pip install 'ctr-keras[{extra}]'" if extra else ""
    assert (result.exit_code, result.output) == (1, f"Error: No module named {module!r}{hint}\n")


def test_a_command_of_another_package_names_the_extra_of_that(monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(main.get_command(CONTEXT, "init"), "callback", fail)
    assert run("init", "--source", "x", "--out", "y").output.endswith(
        "No module named 'pyarrow': pip install 'ctr-keras[pipeline]'\n"
    )


def test_shells_complete_the_names_of_models():
    words = {"_CTR_KERAS_COMPLETE": "bash_complete", "COMP_WORDS": "ctr-keras train --model deepf"}
    completed = subprocess.run(
        _MAIN, env={**os.environ, **words, "COMP_CWORD": "3"}, capture_output=True, text=True
    )
    assert completed.stdout == "plain,DeepFM\n", completed.stderr


_MAIN = [sys.executable, "-c", "from ctr_keras.cli import main; main(prog_name='ctr-keras')"]


@pytest.mark.parametrize(
    "command",
    [
        [*_MAIN, "serve", "--help"],
        [*_MAIN, "init", "--help"],
        program("serving.codes"),
    ],
)
def test_a_folder_named_as_a_package_leads_no_command_astray(command, tmp_path):
    for package in ("serving", "pipeline"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('astray')")
    helped = subprocess.run(
        command,
        **{"capture_output": True, "text": True, "cwd": tmp_path},
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert helped.returncode == 0, helped.stderr
    assert "astray" not in helped.stderr


def test_importing_tensorflow_prints_nothing_and_leaves_no_garbage_to_look_for(tmp_path):
    code = "from ctr_keras.quiet import quiet_tensorflow; quiet_tensorflow(); import tensorflow"
    seen = "import gc; print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))"
    imported = subprocess.run(
        [sys.executable, "-c", f"{code}; {seen}"], capture_output=True, text=True
    )
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "True True\n", "")
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'why'); raise ImportError(1)")
    failed = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("why")


def test_rooms_are_there_without_importing_each():
    code = "import ctr_keras, sys; print('keras' in sys.modules, ctr_keras.plan.FUNCTIONS)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.startswith("False ('inner',"), shown.stderr
    assert {"layers", "models", "load_model"} <= set(dir(ctr_keras))
    with pytest.raises(AttributeError, match="no attribute 'laiers'"):
        ctr_keras.laiers  # noqa: B018


def test_load_model_imports_every_room_that_registers_classes_with_keras():
    package = ROOT / "ctr_keras"
    modules = [
        path.relative_to(package).with_suffix("").as_posix().replace("/", ".")
        for path in package.rglob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text()
    ]
    code = (
        "import ctr_keras, sys\n"
        "try: ctr_keras.load_model('no.keras')\n"
        "except ValueError: print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert len(modules) > 50
    assert not {f"ctr_keras.{module}" for module in modules} - {*shown.stdout.split()}


def test_the_extras_bring_what_the_command_line_says():
    from ctr_keras.cli import _EXTRAS

    packages = metadata.packages_distributions()
    for module, extra in _EXTRAS.items():
        assert any(
            re.match(rf"{re.escape(name)}\b.*extra == .{extra}.$", line, re.I)
            for name in packages[module]
            for line in metadata.requires("ctr-keras")
        ), f"{module} is not in {extra}"


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 2: not JSON"), ("[1]", "line 2: expected an object of columns, got")],
)
def test_predict_names_the_line_that_is_no_row(line, message):
    from serving.commands import _read_rows

    with pytest.raises(ValueError, match=message):
        list(_read_rows([json.dumps({"a": 1}), line]))
