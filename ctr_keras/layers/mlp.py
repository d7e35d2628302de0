"""A stack of dense layers: the deep tower of CTR models."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.layers.base import ConfiguredLayer, check_choice, with_nan_of
from ctr_keras.layers.batch_normalization import BatchNormalization
from ctr_keras.types import Activation, Initializer, Regularizer, Shape, Tensor

_NORMALIZATIONS: dict[str | None, Any] = {
    None: None,
    "batch": BatchNormalization,
    "layer": keras.layers.LayerNormalization,
}
_ORDERS = ("before", "after", "unscaled")


@keras.saving.register_keras_serializable(package="ctr_keras")
class MLP(ConfiguredLayer):
    """Hidden layers: dense, normalization, activation, dropout.

    The papers place the normalization differently, for a layer `W a + b`:

    - `order="before"`: `relu(norm(W a + b))` (OptInter's code)
    - `order="after"`: `norm(relu(W a + b))` (OptInter, Equation 9)
    - `order="unscaled"`: `relu(norm(W a) + b)`, the normalization without scale and shift of its
      own (AutoFIS and AIM)

    Args:
        units: list of int. Width of each hidden layer.
        activation: activation of every layer. Defaults to `"relu"`.
        dropout: float. Share of units to drop after each activation. Defaults to `0.0`.
        normalization: str or None. `"batch"` (see `BatchNormalization`), `"layer"` or none.
            Defaults to `None`.
        order: str. Where the normalization stands. Defaults to `"before"`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the biases. Defaults to `"zeros"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        check_ids: bool. Whether NaN, which stands for a wrong id (see `FieldEmbedding`), passes: a
            ReLU in a TensorFlow graph on a CPU makes 0 of it. Defaults to `False`.
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
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 5.5;
        [AutoFIS](https://arxiv.org/abs/2003.11235), Equation 5;
        [OptInter](https://arxiv.org/abs/2108.01265), Equation 9.
    """

    def __init__(
        self,
        units: Sequence[int],
        *,
        activation: Activation = "relu",
        dropout: float = 0.0,
        normalization: str | None = None,
        order: str = "before",
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or min(units) < 1:
            raise ValueError(f"units must be one width or more, all positive. Received: {units}")
        check_normalization(normalization)
        check_choice("order", order, _ORDERS)
        self.units = tuple(units)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.normalization = normalization
        self.order = order
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.check_ids = check_ids

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, ..., dim). Received: {input_shape}")
        blocks: list[keras.layers.Layer] = []
        for index, units in enumerate(self.units):
            for layer in self._block(index, units):
                layer.build(input_shape)
                input_shape = layer.compute_output_shape(input_shape)
                blocks.append(layer)
        # A tuple, here and in other layers: tf.train.Checkpoint passes over Keras' lists and dicts.
        self.blocks = tuple(blocks)

    def _block(self, index: int, units: int) -> list[keras.layers.Layer]:
        policy = self.dtype_policy
        activation = keras.layers.Activation(
            self.activation, dtype=policy, name=f"activation_{index}"
        )
        dropout = keras.layers.Dropout(self.dropout, dtype=policy, name=f"dropout_{index}")
        dense = keras.layers.Dense(
            units,
            use_bias=self.normalization is None or self.order != "unscaled",
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=policy,
            name=f"dense_{index}",
        )
        if self.normalization is None:
            return [dense, activation, dropout]
        shift = {}
        if self.order == "unscaled":  # its shift is the bias that comes after it
            shift = {"scale": False, "beta_initializer": self.bias_initializer.clone()}
        normalization = _NORMALIZATIONS[self.normalization](
            **shift, dtype=policy, name=f"normalization_{index}"
        )
        if self.order == "after":
            return [dense, activation, normalization, dropout]
        return [dense, normalization, activation, dropout]

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        outputs = self.after_first(self.blocks[0](inputs), training)
        return with_nan_of(inputs, outputs) if self.check_ids else outputs

    def after_first(self, outputs: Tensor, training: bool | None = None) -> Tensor:
        """The output, of what the first dense layer gives."""
        for layer in self.blocks[1:]:
            if isinstance(layer, keras.layers.Dropout | BatchNormalization):
                outputs = layer(outputs, training=training)
            else:
                outputs = layer(outputs)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units[-1])


def check_normalization(kind: str | None) -> None:
    """Checks that there is a normalization of this name, or that it is none."""
    if kind not in _NORMALIZATIONS:
        raise ValueError(
            f"normalization must be one of {tuple(_NORMALIZATIONS)}. Received: {kind!r}"
        )


def normalization_inside(layer: Any, kind: str | None, name: str) -> keras.layers.Layer:
    """A normalization by its name, with the policy of another layer; not yet built."""
    check_normalization(kind)
    make = _NORMALIZATIONS[kind] or keras.layers.Identity
    return make(dtype=layer.dtype_policy, name=name)
