"""FinalNet's distillation: each logit learns from the score that they make together."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class MutualDistillation(PoolingLayer):
    """The mean of logits and a bias; training adds each one's cross-entropy to that mean's score.

    The score that they learn from takes no gradient. What is added is in the gradient alone, and
    not in the value of the loss, which so compares with that of validation.

    Args:
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: list of tensors, the logits.
        training: bool. Whether to add to the loss.

    Input shape:
        List of `(batch, 1)`.

    Output shape:
        `(batch, 1)`.

    Example:

    >>> import numpy as np
    >>> np.array(MutualDistillation()([np.array([[1.0]]), np.array([[3.0]])])).tolist()
    [[2.0]]

    References:
        Zhu et al., FINAL: Factorized Interaction Layer for CTR Prediction, SIGIR 2023,
        Section 3.3.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, input_shape: Sequence[Shape]) -> None:
        if not input_shape or any(tuple(shape[1:]) != (1,) for shape in input_shape):
            raise ValueError(f"inputs must be a list of (batch, 1). Received: {input_shape}")
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        logits = [logit + self.bias for logit in inputs]
        mean = ops.mean(ops.stack(logits), axis=0)
        if training:
            score = ops.stop_gradient(ops.sigmoid(mean))
            for logit in logits:
                entropy = ops.mean(ops.binary_crossentropy(score, logit, from_logits=True))
                self.add_loss(entropy - ops.stop_gradient(entropy))
        return mean

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]
