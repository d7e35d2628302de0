"""FiBiNET's squeeze and excitation: how much each field matters in a row."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, dense_inside
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class SqueezeExcitation(ConfiguredLayer):
    """Multiplies each field's embedding by a weight that depends on all fields of the row.

    `a = relu(W_2 relu(W_1 z))`, where `z_i` is the mean of the elements of `e_i`, and the output is
    `a_i e_i`.

    Args:
        reduction: int. How many times narrower than the fields the layer between is. Defaults to
            `3`.
        kernel_initializer: initializer of `W_1` and `W_2`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W_1` and `W_2`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, dim)`.

    Example:

    >>> import numpy as np
    >>> layer = SqueezeExcitation(kernel_initializer="ones")
    >>> np.array(layer(np.array([[[1.0, 3.0], [1.0, 1.0]]]))).tolist()  # times 2 + 1
    [[[3.0, 9.0], [3.0, 3.0]]]

    References:
        [FiBiNET](https://arxiv.org/abs/1905.09433), Section 3.3.
    """

    def __init__(
        self,
        reduction: int = 3,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1. Received: {reduction}")
        self.reduction = reduction
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        batch, fields, _ = input_shape
        narrow = max(1, fields // self.reduction)
        options = {"use_bias": False, "activation": "relu"}
        self.squeezed = dense_inside(self, narrow, "squeezed", (batch, fields), **options)
        self.excited = dense_inside(self, fields, "excited", (batch, narrow), **options)

    def call(self, inputs: Tensor) -> Tensor:
        weights = self.excited(self.squeezed(ops.mean(inputs, axis=-1)))
        return inputs * weights[:, :, None]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
