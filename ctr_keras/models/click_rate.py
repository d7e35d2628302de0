"""The bias of a model's logit: where a fresh model starts, how a trained one is calibrated."""

import contextlib
import math
from collections.abc import Iterator

import keras
import numpy as np

from ctr_keras.types import Array, Variable

_PRIOR = 100.0  # clicks: a split of so few moves the bias half as far as it says
_TINY = 1e-7


def start_at_click_rate(model: keras.Model, click_rate: float | None) -> None:
    """Adds the log-odds of a click rate to the bias of a model's logit.

    A fresh model says about 0.5 of every row. Adam moves a bias by about the learning rate in a
    step, so that one of 0.001 takes some 6,000 steps to the log-odds of 0.002, -6.2; until then all
    other weights learn that clicks are rare instead of what makes them more or less so.

    Args:
        model: keras.Model of a builder of `ctr_keras.models`, or one that ends like them in a layer
            `logit`. Without such a bias (AIM with part scalers, whose logits are multiplied before
            they are summed; a score of two units) it stays as it is.
        click_rate: float or None. The share of clicks in the training rows. A rate of 0 or 1 has
            no log-odds, and leaves the model as it is, as does None.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import LR
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = LR(features)
    >>> start_at_click_rate(model, 0.02)
    >>> round(float(model({"categorical": np.array([[2]])})[0, 0]), 4)
    0.02
    """
    if click_rate is None or not 0 < click_rate < 1:
        return
    bias = output_bias(model)
    if bias is not None:
        bias.assign_add([math.log(click_rate / (1 - click_rate))])


def calibrating_shift(labels: Array, scores: Array, weights: Array | None = None) -> float:
    """What to add to the logits of rows, so that their mean score is their click rate.

    A network that has learned its training rows too well is sure of others as well, and the click
    rate moves in time, so that scores of rows that it was not trained on are too high or too low as
    a whole. The shift `d` maximizes the log likelihood of the rows with a normal prior around 0,
    `sum w (y z - log(1 + e^z)) - c d^2 / 2` with `z = logit + d`. The prior is worth `c` = 100
    clicks: few rows do not say much of a click rate.

    Args:
        labels: `(rows,)` or `(rows, 1)`, 0 or 1.
        scores: likewise, probabilities.
        weights: likewise, in any unit, or `None`: all alike. Together they count as the rows that
            they are worth, `(sum w)^2 / sum w^2` (Kish): as all of them if they are alike.

    Example:

    >>> labels = np.arange(10_000) < 2_000
    >>> scores = np.full(10_000, 0.1)
    >>> round(float(shift_scores(scores, calibrating_shift(labels, scores))[0]), 3)  # nearly 0.2
    0.192
    """
    logits, clicks = _logits(np.ravel(scores)), np.ravel(labels).astype("float64")
    weights = np.ones_like(clicks) if weights is None else np.ravel(weights).astype("float64")
    weights = weights * (weights.sum() / max(np.square(weights).sum(), _TINY**2))
    shift = 0.0
    for _ in range(20):  # of Newton's method; the objective is concave
        chances = _chances(logits + shift)
        slope = np.sum(weights * (clicks - chances)) - _PRIOR * shift
        step = slope / (np.sum(weights * chances * (1 - chances)) + _PRIOR)
        shift += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-6:
            break
    return shift


def shift_scores(scores: Array, shift: float) -> Array:
    """The scores of a model after a shift of its logit, in the dtype and shape of those before."""
    return _chances(_logits(scores) + shift).astype(scores.dtype)


def _logits(scores: Array) -> Array:
    scores = np.clip(scores.astype("float64"), _TINY, 1 - _TINY)
    logits: Array = np.log(scores / (1 - scores))
    return logits


def _chances(logits: Array) -> Array:
    chances: Array = 1 / (1 + np.exp(-logits))
    return chances


@contextlib.contextmanager
def shifted(model: keras.Model, shift: float) -> Iterator[None]:
    """A model with its logit shifted, for as long as it is looked at.

    A model without the bias that `start_at_click_rate` looks for stays as it is.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import LR
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> model = LR(features)
    >>> with shifted(model, -2.0):
    ...     print(round(float(model({"categorical": np.array([[2]])})[0, 0]), 4))
    0.1192
    """
    bias = output_bias(model)
    if bias is None:
        yield
        return
    kept = keras.ops.convert_to_numpy(bias).copy()
    bias.assign_add([shift])
    try:
        yield
    finally:
        bias.assign(kept)


def output_bias(model: keras.Model) -> Variable | None:
    """The bias of the logit, or of one of those that are summed to it."""
    logit = next((layer for layer in model.layers if layer.name == "logit"), None)
    if logit is None:
        return None
    summed = [logit.output, *keras.tree.flatten(logit.input)]
    for layer in model.layers:
        bias = getattr(layer, "bias", None)
        is_of_logit = any(layer.output is tensor for tensor in summed)
        if is_of_logit and bias is not None and tuple(bias.shape) == (1,):
            return bias
    return None
