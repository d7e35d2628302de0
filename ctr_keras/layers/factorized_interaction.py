"""FinalNet's layer: half of it linear, half products of what is linear."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, dense_inside, with_nan_of
from ctr_keras.layers.mlp import normalization_inside
from ctr_keras.types import Activation, Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class FactorizedInteraction(ConfiguredLayer):
    """`f(norm([h, h * g]))` with `[h, g] = W x + b`: each layer doubles the order of interactions.

    Args:
        units: int. Width of the output, even.
        activation: activation `f`. Defaults to `"relu"`.
        normalization: str or None. `"batch"`, `"layer"` or none, as in `MLP`. Defaults to `None`.
        dropout: float. Share of units to drop. Defaults to `0.0`.
        kernel_initializer: initializer of `W`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W`. Defaults to `None`.
        check_ids: bool. As in `MLP`. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        training: bool. Whether dropout is on and batch statistics are used.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., units)`.

    Example:

    >>> import numpy as np
    >>> layer = FactorizedInteraction(2, kernel_initializer="ones")
    >>> np.array(layer(np.array([[1.0, 2.0]]))).tolist()
    [[3.0, 9.0]]

    References:
        Zhu et al., FINAL: Factorized Interaction Layer for CTR Prediction, SIGIR 2023, Section 3.1.
    """

    def __init__(
        self,
        units: int,
        *,
        activation: Activation = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 2 or units % 2:
            raise ValueError(f"units must be even, half of them are products. Received: {units}")
        self.units = units
        self.activation = keras.activations.get(activation)
        self.normalization = normalization
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.check_ids = check_ids

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, ..., dim). Received: {input_shape}")
        output_shape = self.compute_output_shape(input_shape)
        self.dense = dense_inside(self, self.units, "dense", input_shape)
        self.norm = normalization_inside(self, self.normalization, "normalization")
        self.norm.build(output_shape)
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.drop.build(output_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        linear, factors = ops.split(self.dense(inputs), 2, axis=-1)
        outputs = ops.concatenate([linear, linear * factors], axis=-1)
        outputs = self.activation(self.norm(outputs, training=training))
        outputs = self.drop(outputs, training=training)
        return with_nan_of(inputs, outputs) if self.check_ids else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)
