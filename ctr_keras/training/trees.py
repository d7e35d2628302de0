"""A run of LightGBM: grown trees become a Keras model, so that nothing after needs LightGBM."""

import os
import time
from typing import Any

from ctr_keras import metrics
from ctr_keras.data import open_examples, read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.models.trees import boosted
from ctr_keras.runs import write_table
from ctr_keras.training.batches import check_validation, check_weight, learned_labels
from ctr_keras.training.crosses import print_left_out
from ctr_keras.training.evaluation import predict_split, split_weights
from ctr_keras.training.folder import finish_run, open_run
from ctr_keras.training.trees_config import TreesConfig
from ctr_keras.trees import Grown, grow
from ctr_keras.types import Rows, WeightedRows


def train_trees(config: TreesConfig) -> dict[str, Any]:
    """Grows trees with LightGBM on the training split, until the validation split gains no more.

    The rows of both are in memory. The run's folder is that of any model's; in addition it has
    `trees.json`, which `GBDTLR` and `GBDTFFM` take. A round of its history is a tree.

    Args:
        config: TreesConfig.

    Returns:
        The contents of `metrics.json`.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ModuleNotFoundError: without LightGBM, which `ctr-keras[trees]` brings.
        ValueError: if the folder holds a run with other settings, or the data have changed since;
            if it holds no run, or another process trains in it.
    """
    features = learned_labels(config)
    check_weight(features, config.sample_weight)
    check_validation(config.data, features)
    with open_run(config, features) as finished:
        return finished or _grown(config, features)


def _grown(config: TreesConfig, features: FeatureSet) -> dict[str, Any]:
    read = features if config.crossed else features.without_crossed()
    print_left_out(config.model, read, features)
    train, validation = (_rows(config, split, read) for split in ("train", "validation"))
    started = time.monotonic()
    grown = grow(read, train, validation, config, config.seed)
    seconds = time.monotonic() - started
    grown.trees.save(os.path.join(config.out, "trees.json"))
    write_table(os.path.join(config.out, "history.csv"), _history(grown, seconds))
    model = boosted(read, grown.trees)
    model.save(os.path.join(config.out, "model.keras"))
    rounds = len(grown.train_loss)
    weight = config.sample_weight
    labels, scores = predict_split(model, features, config.data, "validation")
    report = {
        "validation": metrics.evaluate(labels, scores, *validation[2:]),
        **({"weighted_by": weight} if weight else {}),
        "best_round": len(grown.trees.trees),
        "rounds": rounds,
        "examples_per_second": round(len(train[1]) * rounds / seconds),
    }
    finish_run(config.out, report)
    return report


def _rows(config: TreesConfig, split: str, features: FeatureSet) -> Rows | WeightedRows:
    """A whole split, without sequences, on which trees cannot split."""
    sequences = {feature.name for feature in features.sequences}
    names = [name for name in features.packed_shapes if name not in sequences]
    count = open_examples(config.data, split, features).count
    inputs, labels = read_rows(config.data, split, features, count, names)
    if not config.sample_weight:
        return inputs, labels
    return inputs, labels, split_weights(features, config.data, split)


def _history(grown: Grown, seconds: float) -> list[dict[str, Any]]:
    rounds = len(grown.train_loss)
    losses = zip(grown.train_loss, grown.validation_loss, strict=True)
    return [
        {
            "round": number,
            "train_loss": train_loss,
            "train_log_loss": train_loss,
            "validation_log_loss": validation_loss,
            "seconds": round(seconds / rounds, 6),
        }
        for number, (train_loss, validation_loss) in enumerate(losses, start=1)
    ]
