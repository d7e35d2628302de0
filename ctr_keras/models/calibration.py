"""Scores that are as high as the share of clicks, by a scale and a shift of a model's logits."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from ctr_keras.layers import CalibratedSigmoid, FunnelSigmoid
from ctr_keras.types import Array

_PRIOR = 25.0  # clicks: a split of so few moves the logit about half as far as it says
_LEAST_SCALE = 0.05
_TINY = 1e-12


class Calibration(NamedTuple):
    """What becomes of a logit: `scale * logit + shift`.

    Attributes:
        scale: float, above 0.
        shift: float.

    Example:

    >>> Calibration(scale=0.5).shift
    0.0
    """

    scale: float = 1.0
    shift: float = 0.0


def calibration_of(labels: Array, logits: Array, weights: Array | None = None) -> Calibration:
    """The scale and shift with which the logits of rows predict their clicks best.

    A network that has learned its training rows well is too sure of others, long before it orders
    them worse: its logits are too large, by a factor. And the click rate moves in time, so that
    all of them are too high or too low. With logits `z` around a middle `m`, the scale `a` and the
    shift `d` of `u = m + a (z - m) + d` maximize the log likelihood with a normal prior around
    `a = 1` and `d = 0`,

        sum w (y u - log(1 + e^u)) - c/2 (d^2 + v (a - 1)^2)

    where `m` and `v` are mean and variance of the logits as the likelihood weighs rows, by
    `w p (1 - p)`. The prior is worth `c` = 25 clicks: few rows do not say much.

    Args:
        labels: `(rows,)` or `(rows, 1)`, 0 or 1.
        logits: likewise.
        weights: likewise, in any unit. Together they count as the rows that they are worth,
            `(sum w)^2 / sum w^2` (Kish): as all of them if they are alike. Defaults to `None`: all
            are alike.

    Returns:
        Calibration, whose scale is 0.05 at least: scores keep their order. Without rows it changes
        nothing.

    Example:

    >>> draw = np.random.default_rng(0)
    >>> truth = draw.normal(-2.0, 1.0, 100_000)
    >>> labels = draw.random(100_000) < 1 / (1 + np.exp(-truth))
    >>> found = calibration_of(labels, 2 * truth)  # twice as sure as it should be
    >>> round(found.scale, 1), abs(round(found.shift, 1))
    (0.5, 0.0)

    References:
        Platt, Probabilistic outputs for support vector machines, 1999; Guo et al.,
        [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599), Section 4.2.
    """
    z, clicks = np.ravel(logits).astype("float64"), np.ravel(labels).astype("float64")
    w = np.ones_like(z) if weights is None else np.ravel(weights).astype("float64")
    if not w.any():
        return Calibration()
    w = w * (w.sum() / max(np.square(w).sum(), _TINY))
    certain = w * _slope(z) + _TINY * w
    middle = np.average(z, weights=certain)
    z = z - middle
    prior = _PRIOR * np.array([np.average(z * z, weights=certain) + _TINY, 1.0])
    found = np.array([1.0, 0.0])  # scale and shift around the middle
    for _ in range(50):  # of Newton's method; the objective is concave
        u = middle + found @ (z, np.ones_like(z))
        residual, curvature = w * (clicks - _chance(u)), w * _slope(u)
        gradient = np.array([residual @ z, residual.sum()]) - prior * (found - (1.0, 0.0))
        mixed = curvature @ z
        hessian = np.array([[curvature @ (z * z), mixed], [mixed, curvature.sum()]])
        step = np.linalg.solve(hessian + np.diag(prior), gradient)
        found = found + np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-7:
            break
    scale = max(float(found[0]), _LEAST_SCALE)
    return Calibration(scale, float(middle + found[1] - scale * middle))


def _chance(logits: Array) -> Array:
    chances: Array = 0.5 * (1 + np.tanh(0.5 * logits))
    return chances


def _slope(logits: Array) -> Array:
    """Of the sigmoid."""
    chances = _chance(logits)
    slope: Array = chances * (1 - chances)
    return slope


def calibrations_of(
    model: keras.Model, labels: Array, logits: Array, weights: Array | None = None
) -> list[Calibration]:
    """The calibration of each label of a model, as `calibrate` takes them.

    Args:
        model: keras.Model, as in `logits_of`. Where it is a funnel, as `ESMM`, a step is calibrated
            on the rows that came as far as the one before.
        labels: `(rows,)`, or of several `(rows, labels)`, 0 or 1.
        logits: likewise.
        weights: `(rows,)` or None, as in `calibration_of`.

    Returns:
        A list of Calibration, one a label.

    Example:

    >>> score = keras.layers.Activation("sigmoid")
    >>> inputs = keras.Input((2,))
    >>> model = keras.Model(inputs, score(keras.layers.Dense(2)(inputs)))
    >>> len(calibrations_of(model, np.eye(2), np.eye(2)))
    2
    """
    labels, logits = (np.reshape(of, (len(of), -1)) for of in (labels, logits))
    weights = np.ones(len(labels)) if weights is None else np.ravel(weights)
    is_funnel = isinstance(score_layer(model), FunnelSigmoid)
    found = []
    for label, logit in zip(labels.T, logits.T, strict=True):
        found.append(calibration_of(label, logit, weights))
        if is_funnel:
            weights = weights * label
    return found


def logits_of(model: keras.Model) -> keras.Model | None:
    """The part of a model up to its logits, with the same weights.

    Args:
        model: keras.Model, functional.

    Returns:
        A model, or `None` if it does not end in a layer that is a sigmoid of one tensor, or one for
        each step of a funnel, as those of `ctr_keras.models` do.

    Example:

    >>> x = keras.Input((2,))
    >>> logit = keras.layers.Dense(1)(x)
    >>> logits_of(keras.Model(x, keras.layers.Activation("sigmoid")(logit))).output is logit
    True
    >>> logits_of(keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x)))
    """
    score = score_layer(model)
    return None if score is None else type(model)(model.input, score.input)


def calibrate(model: keras.Model, *calibrations: Calibration) -> keras.Model:
    """A model with the same weights that scores by scaled and shifted logits.

    Args:
        model: keras.Model, as in `logits_of`.
        *calibrations: Calibration, one a label. They stand in for those of a calibrated model.

    Returns:
        A model, not compiled.

    Raises:
        ValueError: if the model does not end in a sigmoid.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import LR
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = calibrate(LR(features), Calibration(shift=-2.0))
    >>> round(float(model({"categorical": np.array([[2]])})[0, 0]), 4)
    0.1192
    """
    score = _known_score(model)
    layer = _calibrated(score, calibrations)
    return type(model)(model.input, layer(score.input), name=model.name)


def calibrated_scores(
    model: keras.Model, calibrations: Sequence[Calibration], logits: Array
) -> Array:
    """What a calibrated model makes of its logits."""
    scores = _calibrated(_known_score(model), calibrations)(logits)
    found: Array = keras.ops.convert_to_numpy(scores)
    return found


def _known_score(model: keras.Model) -> keras.layers.Layer:
    score = score_layer(model)
    if score is None:
        raise ValueError(f"{model.name} does not end in a layer that is the sigmoid of a logit")
    return score


def _calibrated(
    score: keras.layers.Layer, calibrations: Sequence[Calibration]
) -> keras.layers.Layer:
    kind = FunnelSigmoid if isinstance(score, FunnelSigmoid) else CalibratedSigmoid
    scale, shift = (of[0] if len(of) == 1 else [*of] for of in zip(*calibrations, strict=True))
    return kind(scale, shift, dtype="float32", name=score.name)


def score_layer(model: keras.Model) -> keras.layers.Layer | None:
    """The layer that makes a model's score of its logit, or `None` if it ends in another way."""
    last = [layer for layer in model.layers if layer.output is model.output]
    return next((layer for layer in last if _is_sigmoid(layer)), None)


def _is_sigmoid(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Activation):
        return bool(layer.activation is keras.activations.sigmoid)
    return isinstance(layer, CalibratedSigmoid)
