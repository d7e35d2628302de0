"""DeepCrossing's residual unit."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, dense_inside, with_nan_of
from ctr_keras.layers.mlp import MLP
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class ResidualUnit(ConfiguredLayer):
    """`relu(W x + b + R x)`: a dense layer to which its input is added before the activation.

    Where the widths are the same, the input is added as it is, without `R`.

    Args:
        units: int. Width of the output.
        dropout: float. Share of units to drop after the activation. Defaults to `0.0`.
        normalization: str or None. Of `W x`, as in `MLP`. Defaults to `None`.
        order: str. Where it stands, as in `MLP`; `"after"` is as `"before"` here. Defaults to
            `"before"`.
        kernel_initializer: initializer of `W` and `R`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W` and `R`. Defaults to `None`.
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
    >>> layer = ResidualUnit(2, kernel_initializer="ones")
    >>> np.array(layer(np.array([[1.0, -4.0]]))).tolist()  # 1 - 3 and -4 - 3
    [[0.0, 0.0]]
    >>> np.array(layer(np.array([[3.0, -1.0]]))).tolist()
    [[5.0, 1.0]]

    References:
        Shan et al., Deep Crossing, KDD 2016, Section 4.2, with one matrix instead of two, as
        AutoInt's baseline has it.
    """

    def __init__(
        self,
        units: int,
        *,
        dropout: float = 0.0,
        normalization: str | None = None,
        order: str = "before",
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.dropout = dropout
        self.normalization = normalization
        self.order = order
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.check_ids = check_ids

    def build(self, input_shape: Shape) -> None:
        self.inner = MLP(
            (self.units,),
            activation="linear",
            normalization=self.normalization,
            order=self.order,
            kernel_initializer=self.kernel_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="inner",
        )
        self.inner.build(input_shape)
        if input_shape[-1] != self.units:
            self.residual = dense_inside(self, self.units, "residual", input_shape, use_bias=False)
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.drop.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        kept = self.residual(inputs) if inputs.shape[-1] != self.units else inputs
        outputs = ops.relu(self.inner(inputs, training=training) + kept)
        outputs = self.drop(outputs, training=training)
        return with_nan_of(inputs, outputs) if self.check_ids else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)
