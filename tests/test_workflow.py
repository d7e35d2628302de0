"""A graph of commands: what is run, in which order, what is not run again and why."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from ctr_keras import workflow
from ctr_keras.cli import main
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.limits import Limit, metric_names
from ctr_keras.workflow import read_workflow, run_workflow
from tests.conftest import ROOT

STEPS = "prepare: {dataset: synthetic, source: log}\ntrain: {model: LR, set: {epochs: 1}}\n"
ALL = f"{STEPS}name: ctr\nstats:\nevaluate: {{require: [auc>=0.5]}}\nexport:\ndeploy:\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that reads steps from a file, next to a log."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "train.csv").write_text("rows")

    def read(text):
        (tmp_path / "flow.yaml").write_text(f"out: flow\n{text}")
        return read_workflow("flow.yaml", lambda name: main.get_command(None, name))[1]

    return read


@pytest.fixture
def ran(monkeypatch):
    """The names of the steps that are run; each leaves its output."""
    names = []

    def run(step, log):
        names.append(step.name)
        pathlib.Path(step.output).mkdir(parents=True)

    monkeypatch.setattr(workflow, "_run", run)
    return names


def told(steps):
    lines = []
    run_workflow("flow", steps, lines.append)
    return lines


def test_steps_are_commands_that_hand_on_what_they_write(written):
    prepare, stats, train, evaluate, export, deploy = (step.command for step in written(ALL))
    data, run = (command.rpartition("--out ")[2].partition(" ")[0] for command in (prepare, train))
    assert prepare == f"ctr-keras prepare --out {data} --dataset synthetic --source log"
    assert stats.startswith(f"ctr-keras stats --data {data} --out flow/stats-")
    assert train == f"ctr-keras train --data {data} --out {run} --model LR --set epochs=1"
    assert evaluate.startswith(f"ctr-keras evaluate --run {run} --require 'auc>=0.5' --json > flow")
    assert export == f"ctr-keras export --run {run} --out flow/models/ctr"
    assert deploy.startswith("ctr-keras deploy --models flow/models --out flow/deploy-")


def test_training_takes_the_settings_that_tuning_has_found(written):
    steps = written(f"{STEPS}tune: {{model: LR, trials: 2}}\n")
    _, tune, train = steps
    assert f"--config {tune.output}/best.yaml" in train.command


def test_models_are_tuned_and_trained_on_the_plan_that_is_found(written):
    found = "search: {method: autofis, base: FM, set: {keep: 3}}\ntune: {model: FM, trials: 2}\n"
    prepare, search, tune, train = written(f"{STEPS}{found}")
    options = "--method autofis --base FM --set keep=3"
    assert search.command == (
        f"ctr-keras search --data {prepare.output} --out {search.output} {options}"
    )
    for step in (tune, train):
        assert f"--set interactions={search.output}/plan.json" in step.command
    changed = written(f"{STEPS}{found}".replace("keep: 3", "keep: 4"))
    assert [step.key for step in changed][1:] != [search.key, tune.key, train.key]
    assert not {step.key for step in changed[1:]} & {search.key, tune.key, train.key}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"set": {"a": [1, 2], "b": False}}, ["--set", "a=[1, 2]", "--set", "b=false"]),
        ({"set": {"preset": None}}, ["--set", "preset=null"]),
        ({"by": ["x", "y"]}, ["--by", "x", "--by", "y"]),
        ({"grow": True, "force": False, "k": 3}, ["--grow", "--k", "3"]),
    ],
)
def test_values_become_options(value, words):
    assert [word for item in value.items() for word in workflow._words(*item)] == words


def test_nothing_is_run_twice(written, ran):
    assert [line.split()[0] for line in told(written(ALL))] == ran
    assert ran == ["prepare", "stats", "train", "evaluate", "export", "deploy"]
    lines = told(written(ALL))
    assert len(ran) == 6
    assert all("as it was" in line and "nothing has changed" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "again", "says"),
    [
        (("epochs: 1", "epochs: 2"), ["train", "evaluate"], "as options changed"),
        (("auc>=0.5", "auc>=0.6"), ["evaluate"], "as options changed"),
        (("stats:", "stats: {}"), [], ""),
    ],
)
def test_a_changed_step_and_what_follows_is_run_again(written, ran, change, again, says):
    text = ALL.replace("export:\ndeploy:\n", "")
    told(written(text))
    ran.clear()
    lines = told(written(text.replace(*change)))
    assert ran == again
    assert not says or any(says in line for line in lines)
    ran.clear()
    told(written(text))  # what was done before is still there
    assert ran == []


def test_other_logs_run_everything_again(written, ran):
    told(written(STEPS))
    pathlib.Path("log/train.csv").write_text("other rows")
    prepare, train = told(written(STEPS))
    assert "as files of source changed" in prepare
    assert "as step prepare changed" in train


def test_a_step_whose_output_is_gone_is_run_again(written, ran):
    steps = written(STEPS)
    told(steps)
    os.rmdir(steps[1].output)
    assert "as its output was gone" in told(steps)[1]


def test_one_step_is_run_after_those_before_it(written, ran):
    run_workflow("flow", written(STEPS), print, only="prepare")
    assert ran == ["prepare"]
    run_workflow("flow", written(STEPS), print, only="train")
    assert ran == ["prepare", "train"]
    pathlib.Path("log/train.csv").write_text("other rows")
    with pytest.raises(ValueError, match="train comes after prepare, which was not run as it is"):
        run_workflow("flow", written(STEPS), print, only="train")
    with pytest.raises(ValueError, match="no step 'trian'; did you mean 'train'"):
        run_workflow("flow", written(STEPS), print, only="trian")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian:\n", "2: unknown step 'trian'; did you mean 'train'?"),
        ("prepare: {sorce: b}\ntrain: {}\n", "2: option 'sorce' of prepare is unknown; did you m"),
        ("prepare: {source: b}\ntrain: {out: x}\n", "3: option 'out' of train is set by the gra"),
        ("prepare: {source: [a, b]}\ntrain: {}\n", "2: source of prepare takes one value, got"),
        ("prepare: {source: b, max-rejected: 5}\ntrain: {}\n", "2: max-rejected of prepare: 5"),
        ("prepare: logs\ntrain: {}\n", "2: expected keys and values, got 'logs'"),
        ("train: {}\n", "prepare is not given"),
        (f"{STEPS}export:\n", "name is not given"),
        (f"{STEPS}name: a\ndeploy:\n", "5: deploy needs the step export"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(written, text, message):
    with pytest.raises(ValueError, match=f"^flow.yaml(, line|:) {re.escape(message)}"):
        written(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            STEPS.replace("LR", "DepFM"),
            "line 3: train: unknown model 'DepFM'; did you mean 'DeepFM'?",
        ),
        (STEPS.replace("epochs", "epoch"), "line 3: train: --set epoch=1: unknown setting 'epoch'"),
        (
            STEPS.replace("epochs: 1", "schedule: exponential"),
            "line 3: train: --set schedule=exponential: schedule=exponential needs a learning_rate",
        ),
        (
            f"{STEPS}search: {{method: autofi}}\n",
            "line 4: search: unknown method 'autofi'; did you mean 'autofis'?",
        ),
        (
            f"{STEPS}search: {{method: autofis, set: {{order: two}}}}\n",
            "line 4: search: --set order=two: order must be 2, 3 or 4, got 'two'",
        ),
        (ALL.replace("auc>", "acu>"), "line 6: evaluate: no metric 'acu'; did you mean 'auc'?"),
        (ALL.replace("auc>=0.5", "auc>0.5"), "line 6: evaluate: --require auc>0.5: expected METR"),
    ],
)
def test_what_a_step_would_refuse_is_said_before_anything_is_run(written, ran, text, message):
    with pytest.raises(ValueError, match=f"^flow.yaml, {re.escape(message)}"):
        told(written(text))
    assert ran == []


def test_a_step_that_fails_says_its_last_words(written):
    (prepare, _) = written(STEPS.replace("source: log", "source: gone.csv"))
    with pytest.raises(RuntimeError, match=r"^prepare has failed: Error: .*gone\.csv.*log\.txt"):
        workflow._run(prepare, "./log.txt")


def test_a_limit_that_is_broken_fails_the_command(tmp_path, monkeypatch):
    evaluated = []
    monkeypatch.setattr(
        "ctr_keras.training.evaluate_run", lambda run, **_: evaluated.append(run) or {"auc": 0.69}
    )
    FeatureSet(Categorical("a"), label=Label("y")).save(tmp_path / "features.json")
    (tmp_path / "config.yaml").touch()
    command = ["evaluate", "--run", str(tmp_path), "--require"]
    assert CliRunner().invoke(main, [*command, "auc>=0.6"]).exit_code == 0
    for limit, says in [
        ("auc>=0.7", "auc is 0.69, not >= 0.7"),
        ("auc<=0.6", "auc is 0.69, not <= 0.6"),
    ]:
        result = CliRunner().invoke(main, [*command, limit])
        assert result.exit_code == 1
        assert says in result.stderr
    assert evaluated == [str(tmp_path)] * 3
    for limit, says in [
        ("acu>=0.6", "no metric 'acu'; did you mean 'auc'?"),
        ("auc>0.6", "--require auc>0.6: expected METRIC>=VALUE"),
        ("rela_impr>=0", "no metric 'rela_impr'; available: auc, "),  # without --baseline
        ("ndcg_at_10>=0", "no metric 'ndcg_at_10'"),  # without --group
    ]:
        result = CliRunner().invoke(main, [*command, limit])
        assert result.exit_code == 1
        assert says in result.stderr
    assert len(evaluated) == 3, "what no evaluation measures was evaluated"


def test_names_of_metrics_are_known_beforehand():
    names = metric_names(5)
    assert {"auc", "log_loss", "rows", "auc_by_group", "ndcg_at_5", "rela_impr"} <= {*names}
    assert metric_names(5, ["a", "b"]) == [f"{label}.{name}" for label in "ab" for name in names]
    assert "auc_by_group" not in metric_names(by_group=False)
    assert "rela_impr" not in metric_names(over_baseline=False)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("click.auc>=0.6", ""),
        ("add to cart.auc <= 0.6", "add to cart.auc is 0.8, not <= 0.6"),
        ("auc>=0.6", "no metric 'auc'; available: click.auc, click.rows, add to cart.auc"),
        ("clik.auc>=0.6", "no metric 'clik.auc'; did you mean 'click.auc'?"),
    ],
)
def test_limits_of_several_labels_name_the_label(limit, says):
    measured = {"labels": {"click": {"auc": 0.7, "rows": 9}, "add to cart": {"auc": 0.8}}}
    with contextlib.nullcontext() if not says else pytest.raises(ValueError, match=re.escape(says)):
        Limit.read(limit).check(measured)


STEP = """
import pathlib, time
from ctr_keras.step import end_with_starter
end_with_starter()
pathlib.Path("started").touch()
try:
    time.sleep(600)
finally:
    pathlib.Path("stopped").touch()
"""
STARTER = f"""
import signal, sys
from ctr_keras import workflow
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
workflow._ended({[sys.executable, "-c", STEP]}, sys.stderr)
"""


def test_a_step_ends_with_the_process_that_has_started_it(tmp_path):
    started = {}
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / kind.name
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", STARTER]
        started[kind] = folder, subprocess.Popen(command, cwd=folder, env=environment)
    for kind, (folder, starter) in started.items():
        wait_until((folder / "started").exists)
        starter.send_signal(kind)
        wait_until((folder / "stopped").exists)  # in an orderly way
        starter.wait()


def wait_until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_example_is_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["run", "examples/pipeline.yaml", "--list"])
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        *("prepare", "stats", "train", "evaluate", "export", "deploy")
    ]


@pytest.mark.slow
def test_a_log_becomes_a_measured_model(written):
    rows = (f"{'ab'[n % 2]},{'xyz'[n % 3]},{int(n % 7 < 3)}" for n in range(300))
    pathlib.Path("log/train.csv").write_text("\n".join(["a,b,click", *rows]))
    pathlib.Path("clicks.yaml").write_text(
        "source: {format: csv}\nlabel: click\n"
        "features: [{kind: categorical, name: a}, {kind: categorical, name: b}]\n"
        "split: {by: random, validation: 0.3, test: 0.3}\n"
    )
    steps = written(f"{STEPS}evaluate: {{require: [auc>=0]}}\n".replace("synthetic", "clicks.yaml"))
    assert [line.split()[0] for line in told(steps)] == [step.name for step in steps]
    assert json.loads(pathlib.Path(steps[2].output).read_text())["auc"] > 0
    assert pathlib.Path("flow/logs", f"{steps[1].key}.txt").read_text()
