"""A training run: fit in rounds, evaluate, checkpoint, stop early, resume."""

import dataclasses
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from ctr_keras.data import click_rates, open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.files import is_remote
from ctr_keras.mirrors import local_copy, mirrored
from ctr_keras.models import build_model, start_at_click_rate
from ctr_keras.models.base import built_features
from ctr_keras.runs import Rounds, make_callbacks, make_progress
from ctr_keras.training.batches import (
    check_settings_of_labels,
    check_validation,
    check_weight,
    groups_for,
    learned_labels,
    open_split,
    with_weights_and_groups,
)
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.crosses import print_left_out
from ctr_keras.training.defaults import auto_numbers, auto_penalty
from ctr_keras.training.evaluation import input_names
from ctr_keras.training.folder import finish_run, open_run, read_report
from ctr_keras.training.pace import Pace, pace_of
from ctr_keras.training.start_from import started
from ctr_keras.training.stopped import BEST, checkpoints_of
from ctr_keras.training.trees import train_trees
from ctr_keras.training.trees_config import TreesConfig
from ctr_keras.training.validation import CALIBRATION, Validation
from ctr_keras.types import Settings

_LAGS = 0.05  # share of the averages of weights that is worth a word


def train(
    config: TrainConfig | TreesConfig, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> dict[str, Any]:
    """Trains a model, or goes on with a run that was interrupted.

    A run is a number of rounds: some training steps, then an evaluation on the validation split and
    a checkpoint. The best model, by the metric `monitor` of the validation split, is kept. The same
    call after an interruption goes on after the last round; after the end it returns the metrics at
    once.

    Data at an address (`gs://...`) are copied once; a run at one is written on the disk and brought
    there round by round.

    Args:
        config: TrainConfig, or TreesConfig for trees, which are grown at one go.
        callbacks: list of keras.callbacks.Callback. Called when a round has been measured and
            saved, with the numbers of its row of `history.csv` in `logs`. One that sets
            `model.stop_training`, as Keras' own that stop early, finishes the run. Defaults to
            `()`.

    Returns:
        The contents of `metrics.json`: the best round's validation metrics, rounds and speed, and
        `stopped` if a callback has ended the run.

    Raises:
        FileNotFoundError: if the prepared data are not there.
        ValueError: if the folder holds a run with other settings, naming the first that differs,
            or the data have changed since; if it holds no run, or another process trains in it.
    """
    if is_remote(config.data):
        return train(dataclasses.replace(config, data=local_copy(config.data)), callbacks)
    if is_remote(config.out):
        folder, upload = mirrored(config.out)
        each_round = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: upload())
        report = train(dataclasses.replace(config, out=folder), [*callbacks, each_round])
        upload()
        return report
    if isinstance(config, TreesConfig):
        return train_trees(config)
    features = learned_labels(config)
    rows = open_examples(config.data, "train", features).count
    pace = pace_of(config, rows)
    validation = Validation(config, features, pace)
    check_settings_of_labels(config, features)
    check_weight(features, config.sample_weight)
    check_validation(config.data, features)
    own = make_callbacks(config.callbacks, config.out, config.to_dict())
    with open_run(config, features) as finished:
        return finished or _trained(config, features, rows, pace, validation, [*own, *callbacks])


def _trained(
    config: TrainConfig,
    features: FeatureSet,
    rows: int,
    pace: Pace,
    validation: Validation,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, Any]:
    """What the rounds of a run give, all or those that are left."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.dtype_policy)

    def batches(model: keras.Model, rounds_done: int) -> Iterable[Any]:
        skipped = rounds_done * pace.round_steps
        return _batches(config, features, model, pace.batch_size, skipped)

    checkpoints = checkpoints_of(config.out)
    rounds = Rounds(
        validation,
        checkpoints,
        total=pace.rounds(config.epochs),
        patience=pace.patience,
    )
    arguments = {**_automatic(config, features, rows), **config.model_args}
    _print_lagging_averages(config, pace)
    if config.schedule == "plateau":
        callbacks = [_Plateaus(config, rounds), *callbacks]
    rounds.run(
        lambda: _compiled(config, arguments, features, pace.round_steps, rounds.total),
        batches,
        pace.round_steps,
        [make_progress(rounds, validation.describe, rows / pace.epoch_steps), *callbacks],
    )
    if not rounds.is_over:
        print(f"stopped {_stopped(rounds)}")
    if rounds.is_cut_short and config.epochs == TrainConfig.epochs:  # nobody wanted fewer
        print(
            f"round {rounds.best} of {rounds.total} was the best: more epochs may be better, by "
            f"--set epochs={2 * config.epochs} into another folder"
        )
    assert checkpoints.last is not None
    _publish(os.path.join(checkpoints.last, BEST), os.path.join(config.out, "model.keras"))
    report = _report(rounds, pace, rows, config.sample_weight)
    report |= {name: arguments[name] for name in arguments.keys() - config.model_args.keys()}
    finish_run(config.out, report)
    checkpoints.remove()
    return report


def _automatic(config: TrainConfig, features: FeatureSet, rows: int) -> dict[str, Any]:
    """The arguments of the model that a run takes by itself."""
    penalty = auto_penalty(config.model, rows)
    if not config.start_from:
        return {**penalty, **auto_numbers(config.model, features, config.model_args)}
    # Weights fit the embeddings that they were learned with.
    earlier = (read_report(config.start_from) or {}).get("numeric_embedding")
    return {**penalty, **({"numeric_embedding": earlier} if earlier else {})}


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
        model = started(model, features, config)
    else:
        start_at_click_rate(model, click_rates(config.data, features))
    config.compile(model, round_steps, rounds, features)
    return model


def _batches(
    config: TrainConfig, features: FeatureSet, model: keras.Model, batch_size: int, skipped: int
) -> Iterable[Any]:
    """The endless batches that `fit` takes, without those of the rounds done."""
    inputs, weight = input_names(model), config.sample_weight
    groups = groups_for(config, features) if config.pairwise_weight else None
    columns = [*inputs, *([weight] if weight else []), *([groups.packed] if groups else [])]
    examples = open_split("train", config, features, list(dict.fromkeys(columns)))
    batches = examples.stream(batch_size, seed=config.seed, skip_batches=skipped)
    if not (weight or groups):
        return batches
    return with_weights_and_groups(batches, inputs, weight, groups)


class _Plateaus(keras.callbacks.Callback):
    """The learning rate falls after each evaluation that is no better than all before."""

    def __init__(self, config: TrainConfig, rounds: Rounds) -> None:
        super().__init__()
        self._config = config
        self._rounds = rounds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._config.set_rates(self.model.optimizer, self._rounds.plateaus)


def _publish(best: str, path: str) -> None:
    """Puts the best model where a finished run has it."""
    shutil.copyfile(best, f"{path}.partial")
    os.replace(f"{path}.partial", path)


def _stopped(rounds: Rounds) -> str:
    """What ended a run whose rounds are not over."""
    return f"by a callback after round {len(rounds.history)} of {rounds.total}"


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
        **{name: value for name, value in best.items() if name.startswith(CALIBRATION)},
        **({"weighted_by": weight} if weight else {}),
        "best_round": rounds.best,
        "rounds": len(rounds.history),
        **({"stopped": _stopped(rounds)} if not rounds.is_over else {}),
        "batch_size": pace.batch_size,
        "evaluations_per_epoch": pace.evaluations_per_epoch,
        "examples_per_second": round(
            pace.round_steps * rows / pace.epoch_steps / seconds[len(seconds) // 2]
        ),
    }
