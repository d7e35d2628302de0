"""PIN's micro-networks: a small tower of its own for each pair of fields."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, glorot_of_one
from ctr_keras.layers.bilinear_interaction import pairs_of
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class PairNetworks(ConfiguredLayer):
    """A network for each pair of fields, on `[e_i, e_j, e_i * e_j]`.

    Its layers are dense, normalized by layer and rectified; scales and shifts of normalizations are
    common to all pairs, kernels and biases each pair's own.

    Args:
        units: list of int. Widths of the layers. Defaults to `(40, 5)`.
        kernel_initializer: initializer of the kernels. Defaults to `None`: Glorot's, uniform, for
            the kernel of one pair.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`, of at least two fields.

    Output shape:
        `(batch, pairs, units[-1])`.

    Example:

    >>> import numpy as np
    >>> tuple(PairNetworks()(np.ones((2, 4, 3), "float32")).shape)  # 6 pairs
    (2, 6, 5)

    References:
        [PIN](https://arxiv.org/abs/1807.00311), Section 3.4.
    """

    def __init__(
        self,
        units: Sequence[int] = (40, 5),
        *,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or min(units) < 1:
            raise ValueError(f"units must be one width or more, all positive. Received: {units}")
        self.units = tuple(units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape, at_least=2)
        self._pairs = pairs_of(input_shape[1])
        pairs, width = len(self._pairs[0]), 3 * input_shape[2]
        kernels, biases, normalizations = [], [], []
        for index, units in enumerate(self.units):
            own = self.kernel_initializer and self.kernel_initializer.clone()
            kernels.append(
                self.add_weight(
                    name=f"kernel_{index}",
                    shape=(pairs, width, units),
                    initializer=own or glorot_of_one(width, units),
                    regularizer=self.kernel_regularizer,
                )
            )
            biases.append(
                self.add_weight(name=f"bias_{index}", shape=(pairs, units), initializer="zeros")
            )
            normalization = keras.layers.LayerNormalization(
                dtype=self.dtype_policy, name=f"normalization_{index}"
            )
            normalization.build((input_shape[0], pairs, units))
            normalizations.append(normalization)
            width = units
        self.kernels, self.biases = tuple(kernels), tuple(biases)
        self.normalizations = tuple(normalizations)

    def call(self, inputs: Tensor) -> Tensor:
        first, second = (ops.take(inputs, fields, axis=1) for fields in self._pairs)
        outputs = ops.concatenate([first, second, first * second], axis=-1)
        layers = zip(self.kernels, self.biases, self.normalizations, strict=True)
        for kernel, bias, normalization in layers:
            outputs = ops.einsum("bpi,piu->bpu", outputs, ops.cast(kernel, outputs.dtype))
            outputs = ops.relu(normalization(outputs + ops.cast(bias, outputs.dtype)))
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        fields = input_shape[1]
        return (input_shape[0], fields * (fields - 1) // 2, self.units[-1])
