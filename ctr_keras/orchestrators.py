"""The graph of a workflow as schedulers know it: a DAG of Airflow, a pipeline of Kubeflow.

Each task is `ctr-keras run FLOW --only STEP`: the scheduler decides when and where a step is run,
the workflow, by the files that are there then, what it writes and whether there is anything to do.
Tasks follow one another as the steps do, as each notes in the workflow's folder what it has done.
"""

import itertools
import os
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from ctr_keras.version import __version__

_DAG = '''"""Written by `ctr-keras run {path} --to airflow`."""

import datetime

from airflow import DAG
from airflow.providers.{module} import {operator}

# Set `schedule`, such as "@daily", to have it run by itself.
start = datetime.datetime(2024, 1, 1)
with DAG({name!r}, start_date=start, schedule=None, catchup=False, max_active_runs=1):
{tasks}
    {order}
'''


def airflow_dag(path: str, name: str, steps: Sequence[str], image: str = "") -> str:
    """A workflow as a file for the folder of DAGs of Airflow, 2.9 or newer.

    Args:
        path: str. The workflow's YAML file.
        name: str. The DAG's id.
        steps: list of str. Names of steps in their order.
        image: str. What tasks are containers of, as pods of Kubernetes, with the file at `path`.
            Defaults to `""`: they are commands on the worker, in the folder of this process.

    Example:

    >>> dag = airflow_dag("flow.yaml", "clicks", ["prepare", "train"], image="ctr-keras:1")
    >>> dag.splitlines()[-1]
    '    prepare >> train'
    """
    tasks = []
    for step in steps:
        words = _words(path, step)
        if image:
            given: dict[str, Any] = {"task_id": step, "name": step, "image": image, "cmds": words}
        else:
            given = {"task_id": step, "bash_command": shlex.join(words), "cwd": os.getcwd()}
        arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
        operator = "KubernetesPodOperator" if image else "BashOperator"
        tasks.append(f"    {step} = {operator}({arguments})")
    module = "cncf.kubernetes.operators.pod" if image else "standard.operators.bash"
    return _DAG.format(
        path=path,
        module=module,
        operator=operator,
        name=name,
        tasks="\n".join(tasks),
        order=" >> ".join(steps),
    )


def kubeflow_pipeline(path: str, name: str, steps: Sequence[str], image: str) -> str:
    """A workflow as a pipeline that Kubeflow, 2.0 or newer, takes as it is.

    Args:
        path: str. The workflow's YAML file, as the containers see it.
        name: str. The pipeline's.
        steps: list of str. Names of steps in their order.
        image: str. Of the containers.

    Example:

    >>> pipeline = kubeflow_pipeline("/data/flow.yaml", "clicks", ["prepare", "train"], "image:1")
    >>> yaml.safe_load(pipeline)["root"]["dag"]["tasks"]["train"]["dependentTasks"]
    ['prepare']
    """
    executors, components, tasks = {}, {}, {}
    for before, step in itertools.pairwise(["", *steps]):
        command, *arguments = _words(path, step)
        container = {"image": image, "command": [command], "args": arguments}
        executors[f"exec-{step}"] = {"container": container}
        components[f"comp-{step}"] = {"executorLabel": f"exec-{step}"}
        tasks[step] = {
            "cachingOptions": {},  # a step knows by itself whether there is anything to do
            "componentRef": {"name": f"comp-{step}"},
            "taskInfo": {"name": step},
            **({"dependentTasks": [before]} if before else {}),
        }
    pipeline = {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "sdkVersion": f"ctr-keras-{__version__}",
        "deploymentSpec": {"executors": executors},
        "components": components,
        "root": {"dag": {"tasks": tasks}},
    }
    return yaml.safe_dump(pipeline, sort_keys=False)


def _words(path: str, step: str) -> list[str]:
    return ["ctr-keras", "run", path, "--only", step]
