"""EDCN's regulation: how much of each field goes into one of its networks."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields
from ctr_keras.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldRegulation(ConfiguredLayer):
    """`softmax(g / temperature)_i e_i`: a share for each field, the same in all rows.

    Args:
        temperature: float. Defaults to `1.0`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, dim)`.

    Example:

    >>> import numpy as np
    >>> np.array(FieldRegulation()(np.array([[[2.0], [4.0]]]))).tolist()  # half of each
    [[[1.0], [2.0]]]

    References:
        Chen et al., Enhancing Explicit and Implicit Feature Interactions via Information Sharing
        for Parallel Deep CTR Models, CIKM 2021, Section 4.3.
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if temperature <= 0:
            raise ValueError(f"temperature must be over 0. Received: {temperature}")
        self.temperature = temperature

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        self.gates = self.add_weight(name="gates", shape=(input_shape[1],), initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        shares = ops.softmax(ops.cast(self.gates, inputs.dtype) / self.temperature)
        return inputs * shares[:, None]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
