"""What each evaluation of a run measures, and the model that it keeps."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.data import Examples, open_examples
from ctr_keras.features import FeatureSet
from ctr_keras.layers import has_statistics, recompute_statistics
from ctr_keras.models import Calibration, calibrate
from ctr_keras.models.calibration import calibrated_scores, calibrations_of, logits_of
from ctr_keras.optimizers import averaged
from ctr_keras.runs import STATISTICS_ROWS, Row, State, write_table
from ctr_keras.training.batches import groups_for, open_split
from ctr_keras.training.config import TrainConfig
from ctr_keras.training.evaluation import input_names, predict, split_weights
from ctr_keras.training.pace import Pace
from ctr_keras.training.stopped import BEST, description_of, loss_of
from ctr_keras.types import Array, Inputs

CALIBRATION = "calibration_"  # numbers of a round that begin so are how its model is calibrated
_READ_ROWS = 4096  # at once


class Validation:
    """Each round is scored on the validation split; the best model is kept.

    It is scored and kept with the statistics of its weights as they are, over training rows.
    """

    def __init__(self, config: TrainConfig, features: FeatureSet, pace: Pace) -> None:
        self._config = config
        self._features = features
        self._pace = pace
        self._groups = groups_for(config, features)
        self._examples: Examples | None = None
        self._groups_of_rows: Array | None = None
        self._weights: Array | None = None
        self._calibrations: Sequence[Calibration] = ()  # of the model that was measured last
        self._logits: keras.Model | None = None  # the model up to its logits
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
            **self._found_calibrations(),
            "seconds": round(seconds, 3),
        }

    def _found_calibrations(self) -> dict[str, float]:
        """Scale and shift, of several labels with the label's name."""
        names = self._features.label_names
        ends = [f"_{name}" for name in names] if len(names) > 1 else [""]
        return {
            f"{CALIBRATION}{number}{end}": value
            for end, found in zip(ends, self._calibrations, strict=False)  # none, or one a label
            for number, value in (("scale", found.scale), ("shift", found.shift))
        }

    def _evaluate(self, model: keras.Model) -> dict[str, Any]:
        if self._examples is None:
            self._examples = self._start(model)
        recompute_statistics(model, self._training_inputs)
        labels, scores = self._scored(model, self._examples)
        names = self._features.label_names
        if len(names) == 1:
            return self._measured(labels, scores)
        of_labels = [self._measured(*of) for of in zip(labels.T, scores.T, strict=True)]
        rows = [of.pop("rows") for of in of_labels]
        weights = self._config.weights_of(self._features)
        means = {
            name: float(np.average([of[name] for of in of_labels], weights=weights))
            for name in of_labels[0]
        }
        by_label = {
            f"{name}_{label}": value
            for label, measured in zip(names, of_labels, strict=True)
            for name, value in measured.items()
        }
        return {**means, **by_label, "rows": rows[0]}

    def _measured(self, labels: Array, scores: Array) -> dict[str, Any]:
        """Of one label, each `(rows,)`."""
        measured = metrics.evaluate(labels, scores, self._weights)
        if self._groups_of_rows is not None:
            measured["auc_by_group"] = metrics.auc_by_group(
                labels, scores, self._groups_of_rows, self._weights
            )
        return measured

    def _start(self, model: keras.Model) -> Examples:
        """Reads what all evaluations need; the rows that they score."""
        config, inputs = self._config, input_names(model)
        if config.calibrate:
            self._logits = logits_of(model)
            if self._logits is None:
                print(f"not calibrated: {config.model} does not end in a sigmoid layer")
        if has_statistics(model):
            training = open_examples(
                config.data, "train", self._features, inputs=inputs, cache=config.cache
            )
            self._training_inputs, _ = next(iter(training.read(STATISTICS_ROWS)))
        if self._groups:
            examples = self._open([self._groups.packed])
            self._groups_of_rows = self._groups.of_all(examples, _READ_ROWS)
        if config.sample_weight:
            self._weights = split_weights(self._features, config.data, "validation")
        return self._open(inputs)

    def _scored(self, model: keras.Model, examples: Examples) -> tuple[Array, Array]:
        """Labels and scores of a model, as it is or calibrated."""
        if self._logits is None:
            labels, scores = predict(model, examples)
            self._check(scores)
            return labels, scores
        labels, logits = predict(self._logits, examples)
        self._check(logits)
        self._calibrations = calibrations_of(model, labels, logits, self._weights)
        return labels, calibrated_scores(model, self._calibrations, logits)

    def _check(self, scores: Array) -> None:
        unknown = int((~np.isfinite(scores)).sum())
        if unknown:
            raise ValueError(
                f"{unknown} of {len(scores)} validation scores are NaN or infinite: training has "
                f"diverged; set a learning_rate below {self._config.learning_rate:g}, "
                "max_gradient_norm=10 or dtype_policy=float32"
            )

    def _open(self, inputs: Sequence[str]) -> Examples:
        return open_split("validation", self._config, self._features, inputs)

    def loss(self, row: Row) -> float:
        return loss_of(row, self._config)

    def describe(self, row: Row) -> str:
        return description_of(row, self._config)

    def keep(self, model: keras.Model, folder: str | None) -> State:
        # A model of the same layers without the optimizer: that is a checkpoint's matter.
        assert folder is not None
        if self._logits:
            best = calibrate(model, *self._calibrations)
        else:
            best = type(model)(model.input, model.output, name=model.name)
        with averaged(model):
            best.save(os.path.join(folder, BEST))
        return {}

    def show(self, history: Sequence[Row]) -> None:
        write_table(os.path.join(self._config.out, "history.csv"), history)
