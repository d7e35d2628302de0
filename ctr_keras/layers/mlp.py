"""A stack of dense layers: the deep tower of CTR models."""

from collections.abc import Sequence
from typing import Any

import keras

Shape = tuple[int | None, ...]
_NORMALIZATIONS = (None, "batch", "layer")


@keras.saving.register_keras_serializable(package="ctr_keras")
class MLP(keras.layers.Layer):
    """Hidden layers of `dense -> normalization -> activation -> dropout`.

    Args:
        units: list of int. Width of each hidden layer.
        activation: activation of every layer. Defaults to `"relu"`.
        dropout: float. Share of units to drop after each activation. Defaults to `0.0`.
        normalization: str or None. `"batch"`, `"layer"` or none, before the activation.
            Defaults to `None`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the biases. Defaults to `"zeros"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        training: bool. Whether dropout is on and batch statistics are used.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., units[-1])`.

    Example:

    >>> import numpy as np
    >>> tuple(MLP((8, 4), dropout=0.1)(np.ones((2, 3), "float32")).shape)
    (2, 4)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 5.5: AutoInt+'s feed-forward network.
    """

    def __init__(
        self,
        units: Sequence[int],
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        normalization: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or min(units) < 1:
            raise ValueError(f"units must be one width or more, all positive. Received: {units}")
        if normalization not in _NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {_NORMALIZATIONS}. Received: {normalization!r}"
            )
        self.units = tuple(units)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.normalization = normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, ..., dim). Received: {input_shape}")
        self.blocks: list[Any] = []
        for index, units in enumerate(self.units):
            for layer in self._block(index, units):
                layer.build(input_shape)
                input_shape = layer.compute_output_shape(input_shape)
                self.blocks.append(layer)

    def _block(self, index: int, units: int) -> list[Any]:
        dense = keras.layers.Dense(
            units,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=f"dense_{index}",
        )
        normalizations = {
            None: [],
            "batch": [keras.layers.BatchNormalization],
            "layer": [keras.layers.LayerNormalization],
        }[self.normalization]
        common = {"dtype": self.dtype_policy}
        return [
            dense,
            *(kind(**common, name=f"normalization_{index}") for kind in normalizations),
            keras.layers.Activation(self.activation, **common, name=f"activation_{index}"),
            keras.layers.Dropout(self.dropout, **common, name=f"dropout_{index}"),
        ]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = inputs
        for layer in self.blocks:
            if isinstance(layer, keras.layers.Dropout | keras.layers.BatchNormalization):
                outputs = layer(outputs, training=training)
            else:
                outputs = layer(outputs)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "normalization": self.normalization,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
