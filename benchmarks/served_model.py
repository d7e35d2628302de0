"""What serving is measured on: AutoInt on 39 columns of Criteo's shape, exported, and its rows."""

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.synthetic import prepared_log

BATCH_SIZES = (1, 32, 128, 500)
ITEM_COLUMNS = tuple(f"C{number}" for number in range(19, 27))  # 8 of 39

Columns = dict[str, np.ndarray]


def exported(folder: str) -> str:
    """The folder of models; made once, and next to it the model for ONNX Runtime."""
    import keras

    from ctr_keras.features import FeatureSet
    from ctr_keras.models import build_model
    from serving.export import ExportOptions, export_model

    models, prepared = os.path.join(folder, "models"), prepared_log(folder, 20_000)
    if not os.path.exists(models):
        keras.utils.set_random_seed(0)
        features = FeatureSet.load(os.path.join(prepared, "features.json"))
        model = build_model("AutoInt", features, dim=16, layers=3, heads=2, head_dim=32)
        options = ExportOptions(item_columns=ITEM_COLUMNS)
        export_model(model, features, prepared, os.path.join(models, "ctr"), options)
        options = ExportOptions(format="onnx")
        export_model(model, features, prepared, os.path.join(folder, "onnx"), options)
    return models


def loaded(models: str) -> dict[str, Callable[[Columns], Any]]:
    """The signatures, called as who has the SavedModel in the process would call them."""
    import tensorflow as tf

    model = tf.saved_model.load(os.path.join(models, "ctr", "1"))

    def call(function: Any, columns: Columns) -> np.ndarray:
        tensors = {name: tf.constant(column) for name, column in columns.items()}
        return function(**tensors)["score"].numpy()

    return {
        name: lambda columns, function=function: call(function, columns)
        for name, function in model.signatures.items()
    }


def columns_of(folder: str) -> Columns:
    """Raw values by column, of the sample rows."""
    with open(os.path.join(folder, "prepared", "samples.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    numbers = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    return {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float32)
        if name in numbers
        else np.array([(row[name] or "").encode() for row in rows], object)
        for name in rows[0]
    }


def rows_of(columns: Columns, size: int) -> Columns:
    """As many rows, those of the columns over again."""
    return {name: np.resize(values, size) for name, values in columns.items()}


def of_one_user(columns: Columns) -> Columns:
    """The columns of candidates for one user: one row of all that is not the items'."""
    return {name: v if name in ITEM_COLUMNS else v[:1] for name, v in columns.items()}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Three of them, in milliseconds."""
    return {f"p{n}_ms": 1000 * float(np.percentile(seconds, n)) for n in (50, 95, 99)}


def print_line(result: dict[str, Any]) -> None:
    """Prints a measurement as a line of JSON."""
    print(json.dumps(_rounded(result)), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 2) if isinstance(value, float) else value
