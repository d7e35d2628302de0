"""Layers of cross networks: each raises the degree of interactions by one."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_choice, exact_softmax
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_KERNELS = ("matrix", "vector")


@keras.saving.register_keras_serializable(package="ctr_keras")
class CrossLayer(ConfiguredLayer):
    """`x_0 * (W x + b) + x`, elementwise: the first vector `x_0` times what came of it, `x`.

    With `kernel="vector"`, the first cross network's, it is `x_0 <w, x> + b + x`. With a rank,
    `W = U V`. With a gate the product is multiplied by `sigmoid(W_g x)`.

    Args:
        kernel: str. `"matrix"` or `"vector"`. Defaults to `"matrix"`.
        rank: int or None. Of the matrix. Defaults to `None`: a full one.
        gated: bool. Whether there is a gate. Defaults to `False`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        first: tensor, `x_0`.
        inputs: tensor, `x`.

    Input shape:
        Twice `(batch, width)`.

    Output shape:
        `(batch, width)`.

    Example:

    >>> import numpy as np
    >>> first = np.array([[1.0, 2.0]])
    >>> layer = CrossLayer(kernel_initializer="ones")
    >>> np.array(layer(first, first)).tolist()  # 1 * 3 + 1, 2 * 3 + 2
    [[4.0, 8.0]]

    References:
        [DCN](https://arxiv.org/abs/1708.05123), Section 2.2;
        [DCN-V2](https://arxiv.org/abs/2008.13535), Section 3.2 and 4;
        [GDCN](https://arxiv.org/abs/2311.04635), Section 3.2.
    """

    def __init__(
        self,
        kernel: str = "matrix",
        rank: int | None = None,
        *,
        gated: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("kernel", kernel, _KERNELS)
        if rank is not None and (rank < 1 or kernel == "vector"):
            raise ValueError(
                "rank must be at least 1, and is that of a matrix. "
                f"Received: {rank} and kernel={kernel!r}"
            )
        self.kernel = kernel
        self.rank = rank
        self.gated = gated
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, first_shape: Shape, inputs_shape: Shape) -> None:
        width = _width(first_shape, inputs_shape)
        if self.kernel == "vector":
            self.weight = self._kernel("kernel", (width, 1))
        elif self.rank is None:
            self.weight = self._kernel("kernel", (width, width))
        else:
            self.down = self._kernel("down", (width, self.rank))
            self.up = self._kernel("up", (self.rank, width))
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        if self.gated:
            self.gate = self._kernel("gate", (width, width))

    def _kernel(self, name: str, shape: Shape) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
        )

    def call(self, first: Tensor, inputs: Tensor) -> Tensor:
        if self.rank is None:
            mapped = ops.matmul(inputs, self.weight)
        else:
            mapped = ops.matmul(ops.matmul(inputs, self.down), self.up)
        is_vector = self.kernel == "vector"
        product = first * mapped + self.bias if is_vector else first * (mapped + self.bias)
        if self.gated:
            product = product * ops.sigmoid(ops.matmul(inputs, self.gate))
        return product + inputs

    def compute_output_shape(self, first_shape: Shape, inputs_shape: Shape) -> Shape:
        del first_shape
        return inputs_shape


@keras.saving.register_keras_serializable(package="ctr_keras")
class CrossMixture(ConfiguredLayer):
    """A cross layer whose matrix is a mixture of experts of low rank.

    `x_0 * (sum_k g_k U_k tanh(C_k tanh(V_k x)) + b) + x`, where `g = softmax(G x)`.

    Args:
        rank: int. Of an expert. Defaults to `32`.
        experts: int. Defaults to `4`.
        kernel_initializer: initializer of all kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of all kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        first: tensor, `x_0`.
        inputs: tensor, `x`.

    Input shape:
        Twice `(batch, width)`.

    Output shape:
        `(batch, width)`.

    Example:

    >>> import numpy as np
    >>> first = np.ones((2, 6), "float32")
    >>> tuple(CrossMixture(rank=3, experts=2)(first, first).shape)
    (2, 6)

    References:
        [DCN-V2](https://arxiv.org/abs/2008.13535), Section 4, Equations 4 and 5; each layer has
        gates of its own.
    """

    def __init__(
        self,
        rank: int = 32,
        experts: int = 4,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rank < 1 or experts < 1:
            raise ValueError(f"rank and experts must be at least 1. Received: {rank}, {experts}")
        self.rank = rank
        self.experts = experts
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, first_shape: Shape, inputs_shape: Shape) -> None:
        width, inner = _width(first_shape, inputs_shape), self.experts * self.rank
        shapes = {
            "down": (width, inner),  # of all experts, side by side
            "middle": (self.experts, self.rank, self.rank),
            "up": (inner, width),
            "gate": (width, self.experts),
        }
        for name, shape in shapes.items():
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=self.kernel_initializer.clone(),
                regularizer=self.kernel_regularizer,
            )
            setattr(self, name, weight)
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def call(self, first: Tensor, inputs: Tensor) -> Tensor:
        shares = exact_softmax(ops.matmul(inputs, self.gate))
        inner = ops.tanh(ops.matmul(inputs, self.down))
        inner = ops.reshape(inner, (-1, self.experts, self.rank))
        inner = ops.tanh(ops.einsum("ber,ers->bes", inner, self.middle)) * shares[:, :, None]
        mapped = ops.matmul(ops.reshape(inner, (-1, self.experts * self.rank)), self.up)
        return first * (mapped + self.bias) + inputs

    def compute_output_shape(self, first_shape: Shape, inputs_shape: Shape) -> Shape:
        del first_shape
        return inputs_shape


def _width(first_shape: Shape, inputs_shape: Shape) -> int:
    if len(inputs_shape) != 2 or inputs_shape[1] is None or first_shape[1:] != inputs_shape[1:]:
        raise ValueError(
            "inputs must both be (batch, width), of the same known width. "
            f"Received: {first_shape} and {inputs_shape}"
        )
    width: int = inputs_shape[1]
    return width
