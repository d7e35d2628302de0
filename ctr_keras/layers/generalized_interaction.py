"""AOANet's generalized interaction: which fields interact and how, both learned."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_fields, identities
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class GeneralizedInteraction(ConfiguredLayer):
    """Vectors `o = sum_{s,f} a_sfo (e_f * (W_o (h_o * x_s)))` of the fields `e` and vectors `x`.

    `a` weighs the pairs of a field and a vector, `W` and `h` say how their elements go together:
    from the defaults `(sum_f e_f) * (sum_s x_s)`, elementwise.

    Args:
        units: int. Number of vectors that it gives. Defaults to `4`.
        kernel_initializer: initializer of `W`. Defaults to `None`: identity matrices.
        kernel_regularizer: regularizer of `W`, `a` and `h`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        fields: tensor of field embeddings.
        inputs: tensor of vectors: the same, or what another of these layers gave.

    Input shape:
        `(batch, fields, dim)` and `(batch, vectors, dim)`.

    Output shape:
        `(batch, units, dim)`.

    Example:

    >>> import numpy as np
    >>> fields = np.array([[[1.0], [2.0]]])
    >>> np.array(GeneralizedInteraction(1)(fields, fields)).tolist()  # 3 * 3
    [[[9.0]]]

    References:
        Lang et al., Architecture and Operation Adaptive Network for Online Recommendations, KDD
        2021, Section 3.
    """

    def __init__(
        self,
        units: int = 4,
        *,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units}")
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, fields_shape: Shape, inputs_shape: Shape) -> None:
        check_fields(fields_shape)
        check_fields(inputs_shape)
        _, fields, dim = fields_shape
        weights = {
            "kernel": ((self.units, dim, dim), self.kernel_initializer or identities),
            "pairs": ((inputs_shape[1], fields, self.units), "ones"),
            "elements": ((self.units, dim), "ones"),
        }
        for name, (shape, initializer) in weights.items():
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                regularizer=self.kernel_regularizer,
            )
            setattr(self, name, weight)

    def call(self, fields: Tensor, inputs: Tensor) -> Tensor:
        kernel, pairs, elements = (
            ops.cast(w, inputs.dtype) for w in (self.kernel, self.pairs, self.elements)
        )
        weighed = ops.einsum("bfd,sfo->bosd", fields, pairs)
        mapped = ops.einsum("bse,ode->bosd", inputs, kernel * elements[:, None, :])
        return ops.sum(weighed * mapped, axis=2)

    def compute_output_shape(self, fields_shape: Shape, inputs_shape: Shape) -> Shape:
        del fields_shape
        return (inputs_shape[0], self.units, inputs_shape[2])
