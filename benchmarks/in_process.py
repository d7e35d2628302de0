"""What rows cost in the process: the loaded SavedModel, in the ways that there are to call it, next
to ONNX Runtime, LightGBM, and calls of TensorFlow that do nothing.

AutoInt (3 layers, 2 heads of 32, embedding 16) on 39 columns; all take turns, and a JSON line is
printed for each.

    python -m benchmarks.in_process --folder DIR
"""

import functools
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from benchmarks.served_model import (
    BATCH_SIZES,
    Columns,
    columns_of,
    exported,
    loaded,
    of_one_user,
    percentiles,
    print_line,
    rows_of,
)

Task = Callable[[], Any]


@click.command()
@click.option("--folder", required=True, help="For prepared data and the model; kept.")
@click.option("--turns", default=200, show_default=True, help="In each, all are called once.")
def main(folder: str, turns: int) -> None:
    """Measure what rows cost, by how they are scored and by their number."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as the server has by default
    models, columns = exported(folder), columns_of(folder)
    ways = (_saved_model(models, columns), _onnx(folder), _trees(folder), _nothing(columns))
    for size in BATCH_SIZES:
        tasks = {name: task for way in ways for name, task in way(size).items()}
        for name, (wall, cpu) in _by_turns(tasks, turns).items():
            of_cpu = {f"cpu_{key}": value for key, value in percentiles(cpu).items()}
            print_line({"measured": name, "batch": size, **percentiles(wall), **of_cpu})


# Each returns the tasks of a number of rows


def _saved_model(models: str, columns: Columns) -> Callable[[int], dict[str, Task]]:
    from serving.server.savedmodel import Servable

    direct = loaded(models)
    served = Servable("ctr", 1, os.path.join(models, "ctr", "1")).signature("")

    def tasks(size: int) -> dict[str, Task]:
        rows = rows_of(columns, size)
        return {
            "SavedModel": functools.partial(direct["serving_default"], rows),
            "SavedModel, as the server runs it": functools.partial(served.run, rows),
            "SavedModel, rank": functools.partial(direct["rank"], of_one_user(rows)),
        }

    return tasks


def _onnx(folder: str) -> Callable[[int], dict[str, Task]]:
    from serving.onnx_scorer import OnnxScorer

    scorer = OnnxScorer(os.path.join(folder, "onnx", "1"))
    with open(os.path.join(folder, "prepared", "samples.jsonl"), encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]

    def tasks(size: int) -> dict[str, Task]:
        rows = list(itertools.islice(itertools.cycle(samples), size))
        return {
            "ONNX Runtime": functools.partial(scorer.score, rows),
            "ONNX Runtime, the model alone": functools.partial(scorer.run, scorer.pack(rows)),
        }

    return tasks


def _trees(folder: str) -> Callable[[int], dict[str, Task]]:
    """LightGBM by default, on the rows that its trees are grown from, which are numbers already."""
    import lightgbm

    from ctr_keras.data import read_rows
    from ctr_keras.features import FeatureSet

    prepared = os.path.join(folder, "prepared")
    features = FeatureSet.load(os.path.join(prepared, "features.json"))
    inputs, labels = read_rows(prepared, "train", features, 20_000)
    matrix = np.hstack([inputs["categorical"], inputs["numeric"]])
    grown = lightgbm.Dataset(matrix, np.ravel(labels))
    trees = lightgbm.train({"objective": "binary", "verbose": -1}, grown)

    def tasks(size: int) -> dict[str, Task]:
        rows = np.resize(matrix, (size, matrix.shape[1]))
        return {"LightGBM": functools.partial(trees.predict, rows, num_threads=1)}

    return tasks


def _nothing(columns: Columns) -> Callable[[int], dict[str, Task]]:
    """What no graph can be faster than: a call, with one tensor and with those of all columns."""
    import tensorflow as tf

    def first(**tensors: Any) -> Any:
        return tf.identity(next(iter(tensors.values())))

    specs = {
        name: tf.TensorSpec([None], tf.as_dtype(_tensor_type(values)), name)
        for name, values in columns.items()
    }
    of_all = tf.function(first).get_concrete_function(**specs)
    of_one, one = tf.function(tf.identity), tf.constant([1.0])

    def made(rows: Columns) -> dict[str, Any]:
        return {name: tf.constant(values) for name, values in rows.items()}

    def tasks(size: int) -> dict[str, Task]:
        rows = rows_of(columns, size)
        return {
            "a call that does nothing": functools.partial(of_one, one),
            "a tensor of each column": functools.partial(made, rows),
            "and a call that does nothing": lambda: of_all(**made(rows)),
        }

    return tasks


def _tensor_type(values: np.ndarray) -> Any:
    return "string" if values.dtype == object else values.dtype


def _by_turns(tasks: dict[str, Task], turns: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of each task by the clock on the wall, and of the processors."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in tasks}
    for turn in range(turns + 1):
        for name, task in tasks.items():
            task()  # what it reads is where it would be, if it were called alone
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            if turn:  # the first is to warm up
                seconds[name][0].append(time.perf_counter() - wall)
                seconds[name][1].append(time.process_time() - cpu)
    return seconds


if __name__ == "__main__":
    main()
