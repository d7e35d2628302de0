"""Probabilities of steps each of which follows the one before."""

import itertools
import operator

import keras
from keras import ops

from ctr_keras.layers.calibrated_sigmoid import CalibratedSigmoid
from ctr_keras.types import Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FunnelSigmoid(CalibratedSigmoid):
    """The probability of having come so far: the product of the sigmoids up to each step.

    Of logits `z` the `k`-th output is `sigmoid(z_1) ... sigmoid(z_k)`: a click, and a click that
    becomes a conversion, both among all rows, where `sigmoid(z_2)` is the rate among clicks. Each
    step is calibrated by itself.

    Args:
        scale, shift: as in `CalibratedSigmoid`, one a step or one for all.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of logits.

    Input shape:
        `(batch, steps)`.

    Output shape:
        `(batch, steps)`.

    Example:

    >>> import numpy as np
    >>> FunnelSigmoid()(np.zeros((1, 2), "float32")).numpy().tolist()
    [[0.5, 0.25]]

    References:
        Ma et al., [Entire Space Multi-Task Model](https://arxiv.org/abs/1804.07931), SIGIR 2018,
        Equation 2.
    """

    def call(self, inputs: Tensor) -> Tensor:
        rates = ops.unstack(super().call(inputs), axis=-1)
        # Not `cumprod`, which LiteRT does not have.
        return ops.stack([*itertools.accumulate(rates, operator.mul)], axis=-1)
