"""The bias of a model's logit, where a fresh model starts from its log's click rate."""

from collections.abc import Sequence

import keras
import numpy as np

from ctr_keras.layers import FunnelSigmoid
from ctr_keras.types import Variable

_TINY = 1e-12


def start_at_click_rate(
    model: keras.Model, click_rate: float | Sequence[float | None] | None
) -> None:
    """Adds the log-odds of a click rate to the bias of a model's logit.

    A fresh model says about 0.5 of every row. Adam moves a bias by about the learning rate in a
    step, so that one of 0.001 takes some 6,000 steps to the log-odds of 0.002, -6.2; until then all
    other weights learn that clicks are rare instead of what makes them more or less so.

    Args:
        model: keras.Model of a builder of `ctr_keras.models`, or one that ends like them in a layer
            `logit`. Without such a bias (AIM with part scalers, whose logits are multiplied before
            they are summed; a score of two units) it stays as it is.
        click_rate: float or None, or for several labels a list of them. The share of clicks in the
            training rows. A rate of 0 or 1 has no log-odds, and leaves the model as it is, as does
            None. In a funnel (see `FunnelSigmoid`) the odds are those among rows that came so far.

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
    rates = np.atleast_1d(np.array(click_rate, "float64"))  # None is NaN
    if any(isinstance(layer, FunnelSigmoid) for layer in model.layers):
        rates[1:] = rates[1:] / np.maximum(rates[:-1], _TINY)
    if not np.all((rates > 0) & (rates < 1)):
        return
    bias = _output_bias(model, len(rates))
    if bias is not None:
        bias.assign_add(np.log(rates / (1 - rates)))


def _output_bias(model: keras.Model, labels: int) -> Variable | None:
    """The bias of the logit, or of one of those that are summed to it."""
    logit = next((layer for layer in model.layers if layer.name == "logit"), None)
    if logit is None:
        return None
    summed = [logit.output, *keras.tree.flatten(logit.input)]
    for layer in model.layers:
        bias = getattr(layer, "bias", None)
        is_of_logit = any(layer.output is tensor for tensor in summed)
        if is_of_logit and bias is not None and tuple(bias.shape) == (labels,):
            return bias
    return None
