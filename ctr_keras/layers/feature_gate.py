"""FinalMLP's feature selection: gates of a stream's input, by a context."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, dense_inside
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FeatureGate(ConfiguredLayer):
    """`2 sigmoid(W_2 relu(W_1 c + b_1) + b_2) * x`: from 0 to 2 of each element, by a context `c`.

    Args:
        units: int. Width of the layer between. Defaults to `64`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor, `x`.
        context: tensor, `c`.

    Input shape:
        `(batch, width)` and `(batch, width of the context)`.

    Output shape:
        `(batch, width)`.

    Example:

    >>> import numpy as np
    >>> layer = FeatureGate(kernel_initializer="zeros")
    >>> np.array(layer(np.array([[1.0, 2.0]]), np.array([[3.0]]))).tolist()  # as they were
    [[1.0, 2.0]]

    References:
        [FinalMLP](https://arxiv.org/abs/2304.00902), Section 3.1.
    """

    def __init__(
        self,
        units: int = 64,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, inputs_shape: Shape, context_shape: Shape) -> None:
        if len(inputs_shape) != 2 or None in (inputs_shape[-1], context_shape[-1]):
            raise ValueError(
                "input and context must be (batch, width), both known. "
                f"Received: {inputs_shape} and {context_shape}"
            )
        batch, width = inputs_shape
        self.hidden = dense_inside(self, self.units, "hidden", context_shape, activation="relu")
        self.gates = dense_inside(self, width, "gates", (batch, self.units), activation="sigmoid")

    def call(self, inputs: Tensor, context: Tensor) -> Tensor:
        return ops.multiply(2.0, self.gates(self.hidden(context))) * inputs

    def compute_output_shape(self, inputs_shape: Shape, context_shape: Shape) -> Shape:
        del context_shape
        return inputs_shape
