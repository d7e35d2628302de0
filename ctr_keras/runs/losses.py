"""Losses that Keras does not have, and the log loss of training whatever the loss."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.types import Config, Tensor

_EPSILON = 1e-7  # probabilities are clipped to [_EPSILON, 1 - _EPSILON], as Keras does


@keras.saving.register_keras_serializable(package="ctr_keras")
class PairwiseLoss(keras.losses.Loss):
    """A loss of rows, and one of pairs of rows of a group that says which of two was clicked.

    For a clicked row `i` and a row `j` of the same group without a click, with logits `z`, a pair
    costs `log(1 + exp(z_j - z_i))`. The mean over all pairs of a batch, times `weight`, is added to
    the mean over rows. A pair has the sample weight of its clicked row.

    Args:
        rows: keras.losses.Loss of probabilities.
        weight: float. Of the pairs.
        name: str. Defaults to `"pairwise"`.
        **options: those of `keras.losses.Loss`.

    Call arguments:
        y_true: `(batch, 2)`, the label and a number of the row's group.
        y_pred: `(batch, 1)`, probabilities.

    Example:

    >>> import numpy as np
    >>> loss = PairwiseLoss(keras.losses.BinaryCrossentropy(), weight=1.0)
    >>> labels_and_groups = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> round(float(loss(labels_and_groups, np.full((3, 1), 0.5))), 3)  # log(2), twice
    1.386

    References:
        [RankNet](https://icml.cc/Conferences/2005/proceedings/papers/012_LearningToRank_BurgesEtAl.pdf),
        Section 3; its sum with the log loss: [Combined regression and ranking](https://research.google/pubs/pub36296/).
    """

    def __init__(
        self, rows: keras.losses.Loss, weight: float, name: str = "pairwise", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.rows = rows
        self.weight = weight

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, groups = y_true[:, :1], y_true[:, 1:]
        probabilities = ops.clip(y_pred, _EPSILON, 1 - _EPSILON)
        logits = ops.log(probabilities) - ops.log1p(-probabilities)
        # (batch, batch): a clicked row down, one without a click across.
        is_pair = (labels > 0.5) & (ops.transpose(labels) < 0.5) & (groups == ops.transpose(groups))
        is_pair = ops.cast(is_pair, logits.dtype)
        costs = ops.sum(is_pair * ops.softplus(ops.transpose(logits) - logits), axis=1)
        # So that the mean over rows, which Keras takes, is the mean over pairs.
        pairs_per_row = ops.maximum(ops.mean(ops.sum(is_pair, axis=1)), _EPSILON)
        return self.rows.call(labels, y_pred) + self.weight * costs / pairs_per_row

    def get_config(self) -> Config:
        rows = keras.losses.serialize(self.rows)
        return {**super().get_config(), "rows": rows, "weight": self.weight}

    @classmethod
    def from_config(cls, config: Config) -> "PairwiseLoss":
        return cls(**{**config, "rows": keras.losses.deserialize(config["rows"])})


@keras.saving.register_keras_serializable(package="ctr_keras")
class SampledLoss(keras.losses.Loss):
    """The loss of rows of which those without a click are a sample, for a model of all rows.

    Where only a share `w` of the rows without a click is kept, a row with the click probability `q`
    among all rows has `p = q / (q + w (1 - q))` among those that are kept: the logit is larger by
    `-log(w)`. He et al. train `p` and take it back where the model is used. Here the loss is of `p`
    and the model gives `q`, so that nothing else has to know of the sample.

    Args:
        rows: keras.losses.Loss of probabilities.
        kept: float. The share `w`.
        name: str. Defaults to `"sampled"`.
        **options: those of `keras.losses.Loss`.

    Call arguments:
        y_true: `(batch, 1)`, labels.
        y_pred: `(batch, 1)`, probabilities among all rows.

    Example:

    >>> import numpy as np
    >>> loss = SampledLoss(keras.losses.BinaryCrossentropy(), kept=0.1)
    >>> round(float(loss(np.ones((1, 1)), np.full((1, 1), 1 / 11))), 3)  # p is a half
    0.693

    References:
        He et al., [Practical lessons from predicting clicks on ads at Facebook](https://research.facebook.com/publications/practical-lessons-from-predicting-clicks-on-ads-at-facebook/),
        2014, Section 6.3.
    """

    def __init__(
        self, rows: keras.losses.Loss, kept: float, name: str = "sampled", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.rows = rows
        self.kept = kept

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.rows.call(y_true, among_sampled(y_pred, self.kept))

    def get_config(self) -> Config:
        rows = keras.losses.serialize(self.rows)
        return {**super().get_config(), "rows": rows, "kept": self.kept}

    @classmethod
    def from_config(cls, config: Config) -> "SampledLoss":
        return cls(**{**config, "rows": keras.losses.deserialize(config["rows"])})


@keras.saving.register_keras_serializable(package="ctr_keras")
class LabelsLoss(keras.losses.Loss):
    """The losses of several labels, each times its weight, summed.

    Args:
        rows: keras.losses.Loss of probabilities.
        weights: list of float. Of the labels.
        name: str. Defaults to `"labels"`.
        **options: those of `keras.losses.Loss`.

    Call arguments:
        y_true: `(batch, labels)`.
        y_pred: `(batch, labels)`, probabilities.

    Example:

    >>> import numpy as np
    >>> loss = LabelsLoss(keras.losses.BinaryCrossentropy(), weights=[1.0, 2.0])
    >>> round(float(loss(np.ones((3, 2)), np.full((3, 2), 0.5))), 3)  # log(2), three times
    2.079
    """

    def __init__(
        self,
        rows: keras.losses.Loss,
        weights: Sequence[float],
        name: str = "labels",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.rows = rows
        self.weights = tuple(weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        of_labels = (
            weight * self.rows.call(y_true[:, place : place + 1], y_pred[:, place : place + 1])
            for place, weight in enumerate(self.weights)
        )
        return sum(of_labels)

    def get_config(self) -> Config:
        rows = keras.losses.serialize(self.rows)
        return {**super().get_config(), "rows": rows, "weights": list(self.weights)}

    @classmethod
    def from_config(cls, config: Config) -> "LabelsLoss":
        return cls(**{**config, "rows": keras.losses.deserialize(config["rows"])})


def among_sampled(probabilities: Tensor, kept: float) -> Tensor:
    """Click probabilities of rows, where a share `kept` of those without a click is left."""
    return probabilities / (probabilities + kept * (1 - probabilities))


def log_loss_metric(kept: float = 1.0) -> keras.metrics.Metric:
    """The log loss of the rows of training, which a loss with penalties or pairs is not. Of those
    without a click a share `kept` is left."""
    return keras.metrics.MeanMetricWrapper(_log_loss, name="log_loss", kept=kept)


@keras.saving.register_keras_serializable(package="ctr_keras")
def _log_loss(y_true: Tensor, y_pred: Tensor, kept: float = 1.0) -> Tensor:
    """Of each row `(batch,)`, the mean over its labels, next to which its group may stand."""
    if kept < 1:
        y_pred = among_sampled(y_pred, kept)
    return keras.losses.binary_crossentropy(y_true[:, : y_pred.shape[1]], y_pred)
