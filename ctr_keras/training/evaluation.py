"""Trained runs: loading, scoring, evaluating."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.data import Examples, open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.trees_config import TreesConfig, read_config
from ctr_keras.types import Array

_BATCH_SIZE = 4096


def load_run(run: str) -> tuple[keras.Model, FeatureSet, TrainConfig | TreesConfig]:
    """The best model of a finished run, its features and its settings.

    Args:
        run: str. The run's folder.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
    """
    for name in ("config.yaml", "features.json", "metrics.json", "model.keras"):
        if not os.path.exists(os.path.join(run, name)):
            raise FileNotFoundError(f"{run} holds no finished run: there is no {name}")
    # Importing the config has imported the models, and so registered their layers.
    model = keras.saving.load_model(os.path.join(run, "model.keras"), compile=False)
    features = FeatureSet.load(os.path.join(run, "features.json"))
    return model, features, read_config(os.path.join(run, "config.yaml"))


def evaluate_run(run: str, split: str = "test", data: str | None = None) -> dict[str, Any]:
    """Metrics of a finished run on a split.

    Args:
        run: str. The run's folder.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"test"`.
        data: str or None. Prepared data. Defaults to `None`: those the run was trained on.

    Returns:
        `ctr_keras.metrics.evaluate` of the split.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        ValueError: if the data were prepared with other features or vocabularies.
    """
    model, features, config = load_run(run)
    if data is not None:
        check_same_features(features, data)
    labels, scores = predict_split(model, features, data or config.data, split)
    return metrics.evaluate(labels, scores)


def check_same_features(features: FeatureSet, prepared: str) -> None:
    """Checks that prepared data have the ids that a model was trained on.

    Raises:
        ValueError: if they differ.
    """
    if FeatureSet.load(os.path.join(prepared, "features.json")) != features:
        raise ValueError(f"{prepared} was prepared with other features or vocabularies")


def predict_split(
    model: keras.Model, features: FeatureSet, prepared: str, split: str
) -> tuple[Array, Array]:
    """Labels and scores of a split, each (rows,) float32, in the order of `read_examples`.

    Args:
        model: keras.Model on the packed inputs.
        features: FeatureSet.
        prepared: str. The folder that `ctr-keras prepare` wrote.
        split: str. `"train"`, `"validation"` or `"test"`.
    """
    return predict(model, open_examples(prepared, split, features, inputs=input_names(model)))


def predict(model: keras.Model, examples: Examples) -> tuple[Array, Array]:
    """Labels and scores of an opened split, each (rows,) float32, in its order."""
    labels, scores = [], []
    for inputs, batch_labels in examples.read(_BATCH_SIZE):
        labels.append(np.ravel(batch_labels))
        scores.append(np.ravel(model.predict_on_batch(inputs)))
    return np.concatenate(labels), np.concatenate(scores)


def input_names(model: keras.Model) -> Sequence[str]:
    """Names of the packed inputs a model takes."""
    return [tensor.name for tensor in model.inputs]
