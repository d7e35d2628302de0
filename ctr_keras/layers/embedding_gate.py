"""AIM's embedding dimension search: a gate for every dimension of every field's embedding."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.layers.batch_normalization import BatchNormalization
from ctr_keras.types import Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class EmbeddingGate(ConfiguredLayer):
    """Scales every dimension of every field's embedding by a gate, after a normalization.

    `output_fd = beta_fd norm(e_fd)`, with a batch normalization of each dimension of each field
    without scale and shift. Dimensions whose gate ends at zero are not needed: see
    `CompactEmbedding`. The gates are one weight, `gates`.

    A masked field's output is zero.

    Args:
        normalized: bool. Whether there is a normalization. Defaults to `True`.
        momentum: float. Of it (see `BatchNormalization`). Defaults to `0.9`.
        epsilon: float. Of the normalization. Defaults to `0.001`.
        gate_initializer: initializer of the gates. Defaults to `None`: uniform in [0.599, 0.601].
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.
        training: bool. Whether batch statistics are used.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, dim)`.

    Example:

    >>> import numpy as np
    >>> layer = EmbeddingGate(normalized=False, gate_initializer="zeros")
    >>> np.array(layer(np.ones((1, 2, 3), "float32"))).tolist()
    [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]

    References:
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, embedding dimension search.
    """

    def __init__(
        self,
        *,
        normalized: bool = True,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        gate_initializer: Initializer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.normalized = normalized
        self.momentum = momentum
        self.epsilon = epsilon
        self.gate_initializer = keras.initializers.get(
            gate_initializer or keras.initializers.RandomUniform(0.599, 0.601)
        )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3 or None in input_shape[1:]:
            raise ValueError(
                f"input must be (batch, fields, dim), both known. Received: {input_shape}"
            )
        fields, dim = input_shape[1], input_shape[2]
        if self.normalized:
            self.normalization = BatchNormalization(
                momentum=self.momentum,
                epsilon=self.epsilon,
                center=False,
                scale=False,
                dtype=self.dtype_policy,
                name="normalization",
            )
            self.normalization.build((input_shape[0], fields * dim))
        self.gates = self.add_weight(
            name="gates", shape=(fields, dim), initializer=self.gate_initializer
        )

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        outputs = inputs
        if self.normalized:
            fields, dim = self.gates.shape
            flat = ops.reshape(inputs, (-1, fields * dim))
            flat = self.normalization(flat, training=training)
            outputs = ops.reshape(flat, (-1, fields, dim))
        outputs = outputs * ops.cast(self.gates, outputs.dtype)
        if mask is not None:
            outputs = outputs * ops.cast(mask, outputs.dtype)[:, :, None]
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
