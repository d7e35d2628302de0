"""The sigmoid of a logit that is scaled and shifted."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class CalibratedSigmoid(ConfiguredLayer):
    """Probability of a logit as `sigmoid(scale * logit + shift)`.

    The two numbers are found when the weights of a model are done, on rows that these have not
    learned from (`ctr_keras.models.calibrate`). They are arguments and no weights: training a
    calibrated model does not change them.

    Args:
        scale: float, or a list of one a column of logits. Above 0, so that the order of scores
            stays. Defaults to `1.0`.
        shift: likewise, of any sign. Defaults to `0.0`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of logits.

    Input shape:
        Any.

    Output shape:
        As the input's.

    Raises:
        ValueError: for a scale of 0 or less.

    Example:

    >>> import numpy as np
    >>> score = CalibratedSigmoid(scale=0.5, shift=-1.0)(np.float32([[2.0]]))
    >>> float(score[0, 0])
    0.5

    References:
        Platt, Probabilistic outputs for support vector machines, 1999, Equation 3.
    """

    def __init__(
        self,
        scale: float | Sequence[float] = 1.0,
        shift: float | Sequence[float] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not np.all(np.greater(scale, 0)):
            raise ValueError(f"scale must be above 0. Received: {scale}")
        self.scale = scale
        self.shift = shift
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        scale, shift = (ops.cast(of, inputs.dtype) for of in (self.scale, self.shift))
        return ops.sigmoid(scale * inputs + shift)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
