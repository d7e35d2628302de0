"""AFN's logarithmic neurons: products of powers of fields, whose exponents are learned."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields
from ctr_keras.layers.batch_normalization import BatchNormalization
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_SMALLEST = 1e-5  # of which a logarithm is taken


@keras.saving.register_keras_serializable(package="ctr_keras")
class LogarithmicTransform(ConfiguredLayer):
    """`norm(exp(W norm(log |e|)))`: each output is a product of fields with powers of their own.

    The absolute values of embeddings, those below 1e-5 taken for it, make products of powers out
    of sums of logarithms. Both batch normalizations are of a field or an output, over all elements
    of an embedding.

    Args:
        units: int. Number of logarithmic neurons, which give a vector each.
        kernel_initializer: initializer of `W`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        training: bool. Whether batch statistics are used.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, dim, units)`.

    Example:

    >>> import numpy as np
    >>> layer = LogarithmicTransform(1, kernel_initializer="ones")
    >>> round(float(layer(np.array([[[2.0], [3.0]]]))[0, 0, 0]), 2)  # about the product
    5.99

    References:
        [AFN](https://arxiv.org/abs/1909.03276), Section 3.
    """

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units}")
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        batch, fields, dim = input_shape
        self.kernel = self.add_weight(
            name="kernel",
            shape=(fields, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.of_logarithms = BatchNormalization(dtype=self.dtype_policy, name="of_logarithms")
        self.of_logarithms.build((batch, dim, fields))
        self.of_products = BatchNormalization(dtype=self.dtype_policy, name="of_products")
        self.of_products.build((batch, dim, self.units))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        dim, fields = inputs.shape[2], inputs.shape[1]
        logarithms = ops.log(ops.maximum(ops.abs(inputs), _SMALLEST))
        logarithms = ops.transpose(logarithms, (0, 2, 1))
        logarithms = self.of_logarithms(logarithms, training=training)
        powers = ops.matmul(ops.reshape(logarithms, (-1, fields)), self.kernel)
        products = ops.reshape(ops.exp(powers), (-1, dim, self.units))
        return self.of_products(products, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[2], self.units)
