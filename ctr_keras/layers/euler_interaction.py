"""EulerNet's layers: fields as complex numbers, whose interactions are sums of angles."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, dense_inside
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class ComplexFields(ConfiguredLayer):
    """`mu_i exp(i e_i)`: each element of an embedding is the angle of a complex number.

    Args:
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, 2 * dim)`: the real parts, `mu cos(e)`, then the imaginary, `mu sin(e)`.

    Example:

    >>> import numpy as np
    >>> np.array(ComplexFields()(np.array([[[0.0]]]))).tolist()
    [[[1.0, 0.0]]]

    References:
        [EulerNet](https://arxiv.org/abs/2304.10711), Section 4.1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        self.modulus = self.add_weight(name="modulus", shape=(input_shape[1],), initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        modulus = ops.cast(self.modulus, inputs.dtype)[:, None]
        return ops.concatenate([modulus * ops.cos(inputs), modulus * ops.sin(inputs)], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], 2 * input_shape[-1])


@keras.saving.register_keras_serializable(package="ctr_keras")
class EulerInteraction(ConfiguredLayer):
    """Products of powers of complex fields, whose exponents are learned, and a dense layer.

    In polar form, `x_i = exp(l_i + i t_i)`, output `k` is
    `exp(sum_i a_ik (l_i + i t_i) + b_k) + relu(W x + c)_k`, elementwise over an embedding, where
    real and imaginary parts go through the dense layer each on their own.

    Args:
        units: int. Number of complex vectors that it gives.
        kernel_initializer: initializer of `W`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W` and `a`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of complex fields, as `ComplexFields` gives them.

    Input shape:
        `(batch, fields, 2 * dim)`.

    Output shape:
        `(batch, units, 2 * dim)`.

    Example:

    >>> import numpy as np
    >>> tuple(EulerInteraction(5)(np.ones((2, 3, 8), "float32")).shape)
    (2, 5, 8)

    References:
        [EulerNet](https://arxiv.org/abs/2304.10711), Section 4.2.
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
        if input_shape[2] % 2:
            raise ValueError(f"complex fields are of even width. Received: {input_shape}")
        batch, fields, dim = input_shape[0], input_shape[1], input_shape[2] // 2
        self.powers = self.add_weight(
            name="powers",
            shape=(fields, self.units),
            initializer="glorot_uniform",
            regularizer=self.kernel_regularizer,
        )
        shift = {"shape": (self.units, dim), "initializer": "zeros"}
        self.log_scale = self.add_weight(name="log_scale", **shift)
        self.angle = self.add_weight(name="angle", **shift)
        width = self.units * dim
        self.dense = dense_inside(self, width, "dense", (batch, fields * dim), activation="relu")

    def call(self, inputs: Tensor) -> Tensor:
        fields, dim = inputs.shape[1], inputs.shape[2] // 2
        real, imaginary = ops.split(inputs, 2, axis=-1)
        logarithm = 0.5 * ops.log(ops.square(real) + ops.square(imaginary) + 1e-8)
        angle = ops.arctan2(imaginary, real)
        scale = ops.exp(self._powers_of(logarithm) + ops.cast(self.log_scale, inputs.dtype))
        angle = self._powers_of(angle) + ops.cast(self.angle, inputs.dtype)
        dense = [
            ops.reshape(self.dense(ops.reshape(part, (-1, fields * dim))), (-1, self.units, dim))
            for part in (real, imaginary)
        ]
        outputs = [dense[0] + scale * ops.cos(angle), dense[1] + scale * ops.sin(angle)]
        return ops.concatenate(outputs, axis=-1)

    def _powers_of(self, polar: Tensor) -> Tensor:
        return ops.einsum("bfd,fu->bud", polar, ops.cast(self.powers, polar.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.units, input_shape[2])
