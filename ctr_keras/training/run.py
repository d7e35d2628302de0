"""A training run: fit in rounds, evaluate, checkpoint, stop early, resume."""

import json
import os
import shutil
import time
from typing import Any

import keras

from ctr_keras import metrics
from ctr_keras.data import Examples, open_examples, row_count
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.optimizers import SparseAdam
from ctr_keras.runs import (
    Checkpoints,
    check_same_settings,
    jit_setting,
    write_settings,
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


def train(config: TrainConfig) -> dict[str, Any]:
    """Trains a model, or goes on with a run that was interrupted.

    A run is a number of rounds: some training steps, then an evaluation on the validation split and
    a checkpoint. The best model by validation log loss is kept. The same call after an interruption
    goes on after the last round; after the end it returns the metrics at once.

    Args:
        config: TrainConfig.

    Returns:
        The contents of `metrics.json`: the best round's validation metrics, rounds and speed.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds a run with other settings, naming the first that differs,
            or the data have changed since.
    """
    features = FeatureSet.load(os.path.join(config.data, "features.json"))
    _open_run(config, features)
    path = os.path.join(config.out, "metrics.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))

    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.dtype_policy)
    steps = -(-row_count(config.data, "train") // config.batch_size)
    round_steps = -(-steps // config.evaluations_per_epoch)
    rounds = _Rounds(config, features, round_steps)
    model = rounds.restore() or _compiled(config, features)
    total = config.epochs * config.evaluations_per_epoch
    if not rounds.is_over and rounds.done < total:
        examples = _open_split("train", config, features, model)
        skipped = rounds.done * round_steps
        model.fit(
            examples.stream(config.batch_size, seed=config.seed, skip_batches=skipped),
            steps_per_epoch=round_steps,
            initial_epoch=rounds.done,
            epochs=total,
            callbacks=[rounds],
            shuffle=False,  # the stream is shuffled already
        )
    rounds.publish()
    report = rounds.report()
    write_whole(path, lambda file: json.dump(report, file, indent=2))
    rounds.checkpoints.remove()
    return report


def _open_run(config: TrainConfig, features: FeatureSet) -> None:
    """Writes what the run needs to be repeated, or sees that it is the same run."""
    path = os.path.join(config.out, "config.yaml")
    if os.path.exists(path):
        earlier = TrainConfig.read(path, out=config.out).to_dict()
        check_same_settings(config.out, earlier, config.to_dict())
        check_same_features(FeatureSet.load(os.path.join(config.out, "features.json")), config.data)
        return
    os.makedirs(config.out, exist_ok=True)
    features.save(os.path.join(config.out, "features.json"))
    write_settings(path, config.to_dict())


def _compiled(config: TrainConfig, features: FeatureSet) -> keras.Model:
    model = build_model(config.model, features, **config.model_args)
    if config.start_from:
        check_same_features(features, config.start_from)
        model.set_weights(load_run(config.start_from)[0].get_weights())
    model.compile(
        _optimizer(config),
        loss="binary_crossentropy",
        jit_compile=jit_setting(config.jit_compile),
    )
    return model


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
        return keras.optimizers.Adam(config.learning_rate, epsilon=config.epsilon)
    exact = config.table_updates == "exact"
    return SparseAdam(config.learning_rate, epsilon=config.epsilon, exact=exact)


class _Rounds(keras.callbacks.Callback):
    """After each round: evaluates, keeps the best model, checkpoints, and stops early."""

    def __init__(self, config: TrainConfig, features: FeatureSet, round_steps: int) -> None:
        super().__init__()
        self._config = config
        self._features = features
        self._round_steps = round_steps
        self._history: list[dict[str, Any]] = []
        self.checkpoints = Checkpoints(os.path.join(config.out, "checkpoints"))

    @property
    def done(self) -> int:
        """Rounds so far."""
        return len(self._history)

    @property
    def is_over(self) -> bool:
        """Whether the log loss has not got better for as many rounds as `patience`."""
        return self.done > 0 and self.done - self._best()["round"] >= max(self._config.patience, 1)

    def _best(self) -> dict[str, Any]:
        return min(self._history, key=lambda row: row["validation_log_loss"])

    def restore(self) -> keras.Model | None:
        """The compiled model of the last checkpoint, if there is one."""
        restored = self.checkpoints.restore()
        if restored is None:
            return None
        model, state = restored
        self._history = state["history"]
        return model

    def publish(self) -> None:
        """Puts the best model and the history where a finished run has them."""
        best = os.path.join(self.checkpoints.last or "", "best.keras")
        path = os.path.join(self._config.out, "model.keras")
        shutil.copyfile(best, f"{path}.partial")
        os.replace(f"{path}.partial", path)
        self._write_history()

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        self._validation = _open_split("validation", self._config, self._features, self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.monotonic() - self._started
        config = self._config
        if config.table_updates == "exact":
            self.model.optimizer.catch_up_all()
        labels, scores = predict(self.model, self._validation)
        validation = metrics.evaluate(labels, scores)
        self._history.append(
            {
                "round": epoch + 1,
                "epoch": (epoch + 1) / config.evaluations_per_epoch,
                "train_loss": float(logs["loss"]),
                **{f"validation_{name}": value for name, value in validation.items()},
                "seconds": round(seconds, 3),
            }
        )
        print(f"validation AUC {validation['auc']:.5f}, log loss {validation['log_loss']:.5f}")
        self._checkpoint()
        self.model.stop_training = self.is_over

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.done, self.model, {"history": self._history}, self._add_best)
        self._write_history()

    def _add_best(self, folder: str) -> None:
        best = os.path.join(folder, "best.keras")
        last = self.checkpoints.last
        if last is None or self._best()["round"] == self.done:
            # A model of the same layers without the optimizer: that is a checkpoint's matter.
            keras.Model(self.model.input, self.model.output, name=self.model.name).save(best)
        else:
            shutil.copyfile(os.path.join(last, "best.keras"), best)

    def _write_history(self) -> None:
        write_table(os.path.join(self._config.out, "history.csv"), self._history)

    def report(self) -> dict[str, Any]:
        """What `metrics.json` says."""
        best = self._best()
        rows = self._round_steps * self._config.batch_size
        # The first round builds and compiles the step, so speed is that of the others.
        seconds = sorted(row["seconds"] for row in self._history[1:] or self._history)
        return {
            "validation": {
                key.removeprefix("validation_"): value
                for key, value in best.items()
                if key.startswith("validation_")
            },
            "best_round": best["round"],
            "rounds": self.done,
            "examples_per_second": round(rows / seconds[len(seconds) // 2]),
        }
