"""The compressed interaction network (CIN) of xDeepFM."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import PoolingLayer, check_fields
from ctr_keras.types import Activation, Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class CompressedInteraction(PoolingLayer):
    """Layers of feature maps, each of the products of the maps before with the fields.

    With `X^0` the fields, map `h` of layer `k` is `X^k_h = f(sum_{i,j} W^k_hij X^{k-1}_i * X^0_j)`,
    elementwise, so that layer `k` has interactions of order `k + 1`. The output has the sum of each
    map over the width of an embedding.

    Args:
        units: list of int. Number of maps of each layer.
        split_half: bool. Whether of all layers but the last one half of the maps is for the output
            and the other for the next layer, rather than all for both. Defaults to `False`.
        activation: activation of the maps. Defaults to `"linear"`.
        kernel_initializer: initializer of `W`. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of `W`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, maps of all layers)`, with `split_half` those that are for the output.

    Example:

    >>> import numpy as np
    >>> layer = CompressedInteraction([1], kernel_initializer="ones")
    >>> np.array(layer(np.array([[[1.0], [2.0]]]))).tolist()  # 1 + 2 + 2 + 4
    [[9.0]]

    References:
        [xDeepFM](https://arxiv.org/abs/1803.05170), Section 3.1, Equations 6 to 8.
    """

    def __init__(
        self,
        units: Sequence[int],
        *,
        split_half: bool = False,
        activation: Activation = "linear",
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or min(units) < 1:
            raise ValueError(f"units must be one number or more, all positive. Received: {units}")
        if split_half and any(count % 2 for count in units[:-1]):
            raise ValueError(f"split_half needs even units but for the last. Received: {units}")
        self.units = tuple(units)
        self.split_half = split_half
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        check_fields(input_shape)
        fields = previous = input_shape[1]
        kernels = []
        for index, count in enumerate(self.units):
            kernels.append(
                self.add_weight(
                    name=f"kernel_{index}",
                    shape=(previous * fields, count),
                    initializer=self.kernel_initializer.clone(),
                    regularizer=self.kernel_regularizer,
                )
            )
            previous = count - self._kept_back(index)
        self.kernels = tuple(kernels)

    def _kept_back(self, index: int) -> int:
        """How many maps of a layer are for the output alone."""
        is_last = index == len(self.units) - 1
        return self.units[index] // 2 if self.split_half and not is_last else 0

    def call(self, inputs: Tensor) -> Tensor:
        _, fields, dim = inputs.shape
        first = maps = ops.transpose(inputs, (0, 2, 1))  # (batch, dim, fields)
        pooled = []
        for index, kernel in enumerate(self.kernels):
            products = maps[:, :, :, None] * first[:, :, None, :]
            products = ops.reshape(products, (-1, maps.shape[2] * fields))
            maps = self.activation(ops.matmul(products, kernel))
            maps = ops.reshape(maps, (-1, dim, self.units[index]))
            kept_back = self._kept_back(index)
            pooled.append(ops.sum(maps[:, :, :kept_back] if kept_back else maps, axis=1))
            maps = maps[:, :, kept_back:]
        return ops.concatenate(pooled, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        given = [self._kept_back(index) or count for index, count in enumerate(self.units)]
        return (input_shape[0], sum(given))
