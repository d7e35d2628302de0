"""A training run: fit in rounds, evaluate, checkpoint, stop early, resume."""

import filecmp
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.data import Examples, click_rate, open_examples, read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.features.statistics import numbers_file, vocabulary_file
from ctr_keras.layers import CalibratedSigmoid, has_statistics, recompute_statistics
from ctr_keras.models import (
    Calibration,
    build_model,
    calibrate,
    calibration_of,
    start_at_click_rate,
    transfer,
)
from ctr_keras.models.base import built_features
from ctr_keras.models.calibration import logits_of
from ctr_keras.optimizers import averaged
from ctr_keras.runs import (
    STATISTICS_ROWS,
    Checkpoints,
    Rounds,
    Row,
    State,
    make_callbacks,
    make_progress,
    write_table,
)
from ctr_keras.training.batches import (
    Groups,
    check_weight,
    read_weights,
    with_weights_and_groups,
)
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.crosses import print_left_out
from ctr_keras.training.evaluation import (
    check_same_features,
    input_names,
    load_run,
    predict,
)
from ctr_keras.training.folder import finish_run, open_run
from ctr_keras.training.pace import Pace, pace_of
from ctr_keras.training.penalties import model_arguments_of
from ctr_keras.training.trees import train_trees
from ctr_keras.training.trees_config import TreesConfig
from ctr_keras.types import Array, Inputs, Settings

_BEST = "best.keras"  # in a checkpoint
_READ_ROWS = 4096  # at once
_CALIBRATION = tuple(f"calibration_{name}" for name in Calibration._fields)
_LAGS = 0.05  # share of the averages of weights that is worth a word
_SHOWN = {"log_loss": "log loss", "auc": "AUC", "auc_by_group": "AUC by group"}


def train(
    config: TrainConfig | TreesConfig, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> dict[str, Any]:
    """Trains a model, or goes on with a run that was interrupted.

    A run is a number of rounds: some training steps, then an evaluation on the validation split and
    a checkpoint. The best model, by the metric `monitor` of the validation split, is kept. The same
    call after an interruption goes on after the last round; after the end it returns the metrics at
    once.

    Args:
        config: TrainConfig, or TreesConfig for trees, which are grown at one go.
        callbacks: list of keras.callbacks.Callback. Called when a round has been measured and
            saved, with the numbers of its row of `history.csv` in `logs`. Defaults to `()`.

    Returns:
        The contents of `metrics.json`: the best round's validation metrics, rounds and speed.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds a run with other settings, naming the first that differs,
            or the data have changed since; if it holds no run, or another process trains in it.
    """
    if isinstance(config, TreesConfig):
        return train_trees(config)
    features = FeatureSet.load(os.path.join(config.data, "features.json"))
    rows = open_examples(config.data, "train", features).count
    pace = pace_of(config, rows)
    validation = _Validation(config, features, pace)
    check_weight(features, config.sample_weight)
    own = make_callbacks(config.callbacks, config.out, config.to_dict())
    with open_run(config, features) as finished:
        return finished or _trained(config, features, rows, pace, validation, [*own, *callbacks])


def _trained(
    config: TrainConfig,
    features: FeatureSet,
    rows: int,
    pace: Pace,
    validation: "_Validation",
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, Any]:
    """What the rounds of a run give, all or those that are left."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.dtype_policy)

    def batches(model: keras.Model, rounds_done: int) -> Iterable[Any]:
        skipped = rounds_done * pace.round_steps
        return _batches(config, features, model, pace.batch_size, skipped)

    checkpoints = Checkpoints(os.path.join(config.out, "checkpoints"))
    rounds = Rounds(
        validation,
        checkpoints,
        total=pace.rounds(config.epochs),
        patience=max(config.patience, 1),
    )
    _print_lagging_averages(config, pace)
    arguments = model_arguments_of(config, rows)
    if config.schedule == "plateau":
        callbacks = [_Plateaus(config, rounds), *callbacks]
    rounds.run(
        lambda: _compiled(config, arguments, features, pace.round_steps, rounds.total),
        batches,
        pace.round_steps,
        [make_progress(rounds, validation.describe, rows / pace.epoch_steps), *callbacks],
    )
    assert checkpoints.last is not None
    _publish(os.path.join(checkpoints.last, _BEST), os.path.join(config.out, "model.keras"))
    report = _report(rounds, pace, rows, config.sample_weight)
    report |= {name: arguments[name] for name in arguments.keys() - config.model_args.keys()}
    finish_run(config.out, report)
    checkpoints.remove()
    return report


def _print_lagging_averages(config: TrainConfig, pace: Pace) -> None:
    """Says it where averages of weights keep much of where these started, even at the end."""
    steps = config.epochs * pace.epoch_steps
    share = config.momentum_of_averages**steps
    if share > _LAGS:
        print(
            f"averages of weights lag: after all {steps} steps {share:.0%} of them is still what "
            "training started from; set averaging=0, or more epochs"
        )


def _compiled(
    config: TrainConfig, arguments: Settings, features: FeatureSet, round_steps: int, rounds: int
) -> keras.Model:
    model = build_model(config.model, features, **arguments)
    print_left_out(config.model, built_features(model, features), features)
    if config.start_from:
        model = _started(model, features, config)
    else:
        start_at_click_rate(model, click_rate(config.data))
    config.compile(model, round_steps, rounds)
    return model


def _batches(
    config: TrainConfig, features: FeatureSet, model: keras.Model, batch_size: int, skipped: int
) -> Iterable[Any]:
    """The endless batches that `fit` takes, without those of the rounds done."""
    inputs, weight = input_names(model), config.sample_weight
    groups = Groups(features, config.group) if config.pairwise_weight else None
    columns = [*inputs, *([weight] if weight else []), *([groups.packed] if groups else [])]
    examples = _open_split("train", config, features, list(dict.fromkeys(columns)))
    batches = examples.stream(batch_size, seed=config.seed, skip_batches=skipped)
    if not (weight or groups):
        return batches
    return with_weights_and_groups(batches, inputs, weight, groups)


def _started(model: keras.Model, features: FeatureSet, config: TrainConfig) -> keras.Model:
    """The model with the weights of the run to start from: by value where vocabularies differ."""
    earlier, earlier_features, earlier_config = load_run(config.start_from)
    if earlier_config.model != config.model:
        raise ValueError(
            f"start_from: {config.start_from} is a run of {earlier_config.model}, not of "
            f"{config.model}"
        )
    folders = (earlier_config.data, config.data)
    # Vocabularies of one size may still hold other values, and numbers have other statistics.
    files = ([vocabulary_file(f), numbers_file(f)] for f in folders)
    is_same = all(
        not (old and new) or filecmp.cmp(old, new, shallow=False)
        for old, new in zip(*files, strict=True)
    )
    if is_same and built_features(earlier, earlier_features) == built_features(model, features):
        model.set_weights(earlier.get_weights())
        return model
    check_same_features(earlier_features, earlier_config.data)
    old, new = (FeatureSet.load_fitted(folder) for folder in folders)
    return transfer(earlier, old, new, lambda _: model)


def _open_split(
    split: str, config: TrainConfig, features: FeatureSet, inputs: Sequence[str]
) -> Examples:
    return open_examples(
        config.data,
        split,
        features,
        inputs=inputs,
        cache=config.cache,
        resident=config.resident,
    )


class _Plateaus(keras.callbacks.Callback):
    """The learning rate falls after each evaluation that is no better than all before."""

    def __init__(self, config: TrainConfig, rounds: Rounds) -> None:
        super().__init__()
        self._config = config
        self._rounds = rounds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._config.set_rates(self.model.optimizer, self._rounds.plateaus)


class _Validation:
    """Each round is scored on the validation split; the best model is kept.

    It is scored and kept with the statistics of its weights as they are, over training rows.
    """

    def __init__(self, config: TrainConfig, features: FeatureSet, pace: Pace) -> None:
        self._config = config
        self._features = features
        self._pace = pace
        self._groups = Groups(features, config.group) if config.group else None
        self._examples: Examples | None = None
        self._groups_of_rows: Array | None = None
        self._weights: Array | None = None
        self._calibration = Calibration()  # of the model that was measured last
        self._logits: keras.Model | None = None  # the model up to its logit
        self._training_inputs: Inputs = {}

    def measure(self, model: keras.Model, number: int, training: Row, seconds: float) -> Row:
        with averaged(model):
            validation = self._evaluate(model)
        return {
            "round": number,
            "epoch": number * self._pace.round_steps / self._pace.epoch_steps,
            "train_loss": float(training["loss"]),
            "train_log_loss": float(training["log_loss"]),
            **{f"validation_{name}": value for name, value in validation.items()},
            **(dict(zip(_CALIBRATION, self._calibration, strict=True)) if self._logits else {}),
            "seconds": round(seconds, 3),
        }

    def _evaluate(self, model: keras.Model) -> dict[str, Any]:
        if self._examples is None:
            self._examples = self._open(input_names(model))
            if self._config.calibrate:
                self._logits = logits_of(model)
                if self._logits is None:
                    print(f"not calibrated: {self._config.model} does not end in a sigmoid layer")
            if has_statistics(model):
                self._training_inputs, _ = read_rows(
                    self._config.data, "train", self._features, STATISTICS_ROWS, input_names(model)
                )
            if self._groups:
                examples = self._open([self._groups.packed])
                self._groups_of_rows = self._groups.of_all(examples, _READ_ROWS)
            if self._config.sample_weight:
                examples = self._open([self._config.sample_weight])
                self._weights = read_weights(examples, self._features, _READ_ROWS)
        recompute_statistics(model, self._training_inputs)
        labels, scores = self._scored(model, self._examples)
        validation = metrics.evaluate(labels, scores, self._weights)
        if self._groups_of_rows is not None:
            validation["auc_by_group"] = metrics.auc_by_group(
                labels, scores, self._groups_of_rows, self._weights
            )
        return validation

    def _scored(self, model: keras.Model, examples: Examples) -> tuple[Array, Array]:
        """Labels and scores of a model, as it is or calibrated."""
        if self._logits is None:
            labels, scores = predict(model, examples)
            self._check(scores)
            return labels, scores
        labels, logits = predict(self._logits, examples)
        self._check(logits)
        self._calibration = calibration_of(labels, logits, self._weights)
        scores = CalibratedSigmoid(*self._calibration, dtype="float32")(logits)
        return labels, keras.ops.convert_to_numpy(scores)

    def _check(self, scores: Array) -> None:
        unknown = int((~np.isfinite(scores)).sum())
        if unknown:
            raise ValueError(
                f"{unknown} of {len(scores)} validation scores are NaN or infinite: training has "
                f"diverged; set a learning_rate below {self._config.learning_rate:g}, "
                "max_gradient_norm=10 or dtype_policy=float32"
            )

    def _open(self, inputs: Sequence[str]) -> Examples:
        return _open_split("validation", self._config, self._features, inputs)

    def loss(self, row: Row) -> float:
        value = float(row[f"validation_{self._config.monitor}"])
        return value if self._config.monitor == "log_loss" else -value

    def describe(self, row: Row) -> str:
        shown = {name: row.get(f"validation_{name}") for name in _SHOWN}
        weight = self._config.sample_weight
        of_rows = f"validation, weighted by {weight}: " if weight else "validation "
        return of_rows + ", ".join(
            f"{_SHOWN[name]} {value:.5f}" for name, value in shown.items() if value is not None
        )

    def keep(self, model: keras.Model, folder: str | None) -> State:
        # A model of the same layers without the optimizer: that is a checkpoint's matter.
        assert folder is not None
        if self._logits:
            best = calibrate(model, self._calibration)
        else:
            best = type(model)(model.input, model.output, name=model.name)
        with averaged(model):
            best.save(os.path.join(folder, _BEST))
        return {}

    def show(self, history: Sequence[Row]) -> None:
        write_table(os.path.join(self._config.out, "history.csv"), history)


def _publish(best: str, path: str) -> None:
    """Puts the best model where a finished run has it."""
    shutil.copyfile(best, f"{path}.partial")
    os.replace(f"{path}.partial", path)


def _report(rounds: Rounds, pace: Pace, rows: int, weight: str) -> dict[str, Any]:
    """What `metrics.json` says."""
    # The first round builds and compiles the step, so speed is that of the others.
    seconds = sorted(row["seconds"] for row in rounds.history[1:] or rounds.history)
    best = rounds.history[rounds.best - 1]
    return {
        "validation": {
            key.removeprefix("validation_"): value
            for key, value in best.items()
            if key.startswith("validation_")
        },
        **{name: best[name] for name in _CALIBRATION if name in best},
        **({"weighted_by": weight} if weight else {}),
        "best_round": rounds.best,
        "rounds": len(rounds.history),
        "batch_size": pace.batch_size,
        "evaluations_per_epoch": pace.evaluations_per_epoch,
        "examples_per_second": round(
            pace.round_steps * rows / pace.epoch_steps / seconds[len(seconds) // 2]
        ),
    }
