"""A training run: fit in rounds, evaluate, checkpoint, stop early, resume."""

import filecmp
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from ctr_keras import metrics
from ctr_keras.data import Examples, open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import numbers_file, vocabulary_file
from ctr_keras.models import build_model, transfer
from ctr_keras.optimizers import DenseAdam, SparseAdam
from ctr_keras.runs import (
    Checkpoints,
    Rounds,
    Row,
    State,
    jit_setting,
    write_table,
    write_whole,
)
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import (
    check_same_features,
    input_names,
    load_run,
    predict,
)
from ctr_keras.training.folder import open_run
from ctr_keras.training.trees import train_trees
from ctr_keras.training.trees_config import TreesConfig
from ctr_keras.types import Rows

_BEST = "best.keras"  # in a checkpoint


def train(config: TrainConfig | TreesConfig) -> dict[str, Any]:
    """Trains a model, or goes on with a run that was interrupted.

    A run is a number of rounds: some training steps, then an evaluation on the validation split and
    a checkpoint. The best model by validation log loss is kept. The same call after an interruption
    goes on after the last round; after the end it returns the metrics at once.

    Args:
        config: TrainConfig, or TreesConfig for trees, which are grown at one go.

    Returns:
        The contents of `metrics.json`: the best round's validation metrics, rounds and speed.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds a run with other settings, naming the first that differs,
            or the data have changed since.
    """
    if isinstance(config, TreesConfig):
        return train_trees(config)
    features = FeatureSet.load(os.path.join(config.data, "features.json"))
    open_run(config, features)
    path = os.path.join(config.out, "metrics.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))

    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.dtype_policy)
    steps = -(-open_examples(config.data, "train", features).count // config.batch_size)
    round_steps = -(-steps // config.evaluations_per_epoch)

    def batches(model: keras.Model, rounds_done: int) -> Iterable[Rows]:
        return _open_split("train", config, features, model).stream(
            config.batch_size, seed=config.seed, skip_batches=rounds_done * round_steps
        )

    checkpoints = Checkpoints(os.path.join(config.out, "checkpoints"))
    rounds = Rounds(
        _Validation(config, features),
        checkpoints,
        total=config.epochs * config.evaluations_per_epoch,
        patience=max(config.patience, 1),
    )
    rounds.run(lambda: _compiled(config, features), batches, round_steps)
    assert checkpoints.last is not None
    _publish(os.path.join(checkpoints.last, _BEST), os.path.join(config.out, "model.keras"))
    report = _report(rounds, round_steps * config.batch_size)
    write_whole(path, lambda file: json.dump(report, file, indent=2))
    checkpoints.remove()
    return report


def _compiled(config: TrainConfig, features: FeatureSet) -> keras.Model:
    model = build_model(config.model, features, **config.model_args)
    if config.start_from:
        model = _started(model, features, config)
    model.compile(
        _optimizer(config),
        loss="binary_crossentropy",
        jit_compile=jit_setting(config.jit_compile),
    )
    return model


def _started(model: keras.Model, features: FeatureSet, config: TrainConfig) -> keras.Model:
    """The model with the weights of the run to start from: by value where vocabularies differ."""
    earlier, earlier_features, earlier_config = load_run(config.start_from)
    folders = (earlier_config.data, config.data)
    # Vocabularies of one size may still hold other values, and numbers have other statistics.
    files = ([vocabulary_file(f), numbers_file(f)] for f in folders)
    is_same = all(
        not (old and new) or filecmp.cmp(old, new, shallow=False)
        for old, new in zip(*files, strict=True)
    )
    if earlier_features == features and is_same:
        model.set_weights(earlier.get_weights())
        return model
    check_same_features(earlier_features, earlier_config.data)
    old, new = (FeatureSet.load_fitted(folder) for folder in folders)
    return transfer(earlier, old, new, lambda _: model)


def _open_split(
    split: str, config: TrainConfig, features: FeatureSet, model: keras.Model
) -> Examples:
    return open_examples(
        config.data,
        split,
        features,
        inputs=input_names(model),
        cache=config.cache,
        resident=config.resident,
    )


def _optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    if config.table_updates == "dense":
        return DenseAdam(config.learning_rate, epsilon=config.epsilon)
    exact = config.table_updates == "exact"
    return SparseAdam(config.learning_rate, epsilon=config.epsilon, exact=exact)


class _Validation:
    """Each round is scored on the validation split; the model of least log loss is kept."""

    def __init__(self, config: TrainConfig, features: FeatureSet) -> None:
        self._config = config
        self._features = features
        self._examples: Examples | None = None

    def measure(self, model: keras.Model, number: int, train_loss: float, seconds: float) -> Row:
        if self._examples is None:
            self._examples = _open_split("validation", self._config, self._features, model)
        validation = metrics.evaluate(*predict(model, self._examples))
        print(f"validation AUC {validation['auc']:.5f}, log loss {validation['log_loss']:.5f}")
        return {
            "round": number,
            "epoch": number / self._config.evaluations_per_epoch,
            "train_loss": train_loss,
            **{f"validation_{name}": value for name, value in validation.items()},
            "seconds": round(seconds, 3),
        }

    def loss(self, row: Row) -> float:
        return float(row["validation_log_loss"])

    def keep(self, model: keras.Model, folder: str | None) -> State:
        # A model of the same layers without the optimizer: that is a checkpoint's matter.
        assert folder is not None
        best = type(model)(model.input, model.output, name=model.name)
        best.save(os.path.join(folder, _BEST))
        return {}

    def show(self, history: Sequence[Row]) -> None:
        write_table(os.path.join(self._config.out, "history.csv"), history)


def _publish(best: str, path: str) -> None:
    """Puts the best model where a finished run has it."""
    shutil.copyfile(best, f"{path}.partial")
    os.replace(f"{path}.partial", path)


def _report(rounds: Rounds, round_rows: int) -> dict[str, Any]:
    """What `metrics.json` says."""
    # The first round builds and compiles the step, so speed is that of the others.
    seconds = sorted(row["seconds"] for row in rounds.history[1:] or rounds.history)
    return {
        "validation": {
            key.removeprefix("validation_"): value
            for key, value in rounds.history[rounds.best - 1].items()
            if key.startswith("validation_")
        },
        "best_round": rounds.best,
        "rounds": len(rounds.history),
        "examples_per_second": round(round_rows / seconds[len(seconds) // 2]),
    }
