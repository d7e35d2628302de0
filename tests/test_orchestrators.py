"""A workflow for schedulers: tasks in the order of the steps, each a command that runs its step."""

import contextlib
import itertools
import sys
import types

import pytest
import yaml
from click.testing import CliRunner

from ctr_keras.cli import main
from tests.conftest import ROOT

STEPS = ["prepare", "stats", "train", "evaluate", "export", "deploy"]
FLOW = "examples/pipeline.yaml"


@pytest.fixture
def written(monkeypatch):
    """A function that gives what the command prints."""
    monkeypatch.chdir(ROOT)

    def write(*options):
        result = CliRunner().invoke(main, ["run", FLOW, *options])
        return result.stdout if result.exit_code == 0 else result.stderr

    return write


@pytest.fixture
def airflow(monkeypatch):
    """What stands for Airflow: the tasks that a file has made, and their order."""
    made = types.SimpleNamespace(dag=None, tasks={}, order=[])

    class Task:
        def __init__(self, **given):
            made.tasks[given["task_id"]] = self
            self.given = given

        def __rshift__(self, after):
            made.order.append((self.given["task_id"], after.given["task_id"]))
            return after

    def dag(name, **given):
        made.dag = (name, given)
        return contextlib.nullcontext()

    for module, members in {
        "airflow": {"DAG": dag},
        "airflow.providers.standard.operators.bash": {"BashOperator": Task},
        "airflow.providers.cncf.kubernetes.operators.pod": {"KubernetesPodOperator": Task},
    }.items():
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**members))
    return made


def test_a_dag_of_airflow_runs_a_step_a_task(written, airflow):
    exec(compile(written("--to", "airflow"), "dag.py", "exec"), {})
    assert airflow.dag[0] == "pipeline"
    assert airflow.dag[1]["schedule"] is None
    assert airflow.order == [*itertools.pairwise(STEPS)]
    assert airflow.tasks["train"].given["bash_command"] == f"ctr-keras run {FLOW} --only train"
    assert airflow.tasks["train"].given["cwd"] == str(ROOT)


def test_a_dag_of_pods_has_the_image(written, airflow):
    exec(compile(written("--to", "airflow", "--image", "me/ctr:1"), "dag.py", "exec"), {})
    train = airflow.tasks["train"].given
    assert train["image"] == "me/ctr:1"
    assert train["cmds"] == ["ctr-keras", "run", FLOW, "--only", "train"]


def test_a_pipeline_of_kubeflow_runs_a_step_a_task(written):
    pipeline = yaml.safe_load(written("--to", "kfp", "--image", "me/ctr:1"))
    tasks = pipeline["root"]["dag"]["tasks"]
    assert list(tasks) == STEPS
    assert [tasks[step].get("dependentTasks", []) for step in STEPS] == [
        [],
        *([step] for step in STEPS[:-1]),
    ]
    component = pipeline["components"][tasks["train"]["componentRef"]["name"]]
    container = pipeline["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    assert container["image"] == "me/ctr:1"
    assert container["command"] == ["ctr-keras"]
    assert container["args"] == ["run", FLOW, "--only", "train"]


def test_kubeflow_needs_an_image(written):
    assert "--to kfp needs --image" in written("--to", "kfp")
