"""AutoInt's interacting layer: multi-head self-attention over fields."""

import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import (
    ConfiguredLayer,
    by_rows,
    check_choice,
    dense_inside,
    with_nan_of,
)
from ctr_keras.types import Activation, Config, Initializer, Regularizer, Shape, Tensor

# What the paper's equations say, and what the authors' code does.
VARIANTS: dict[str, Config] = {
    "paper": {"qkv_activation": "linear", "use_bias": False, "scale": False, "layer_norm": False},
    "official": {"qkv_activation": "relu", "use_bias": True, "scale": True, "layer_norm": True},
}
_RESIDUALS = ("projection", "identity", "none")
_LAYER_NORM_EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="ctr_keras")
class InteractingLayer(ConfiguredLayer):
    """Lets every field attend to all fields, itself included.

    For each head `h`, with fields `x_m`:

    - `a[m, k] = softmax_k(<W_Q x_m, W_K x_k>)`
    - `head_h[m] = sum_k a[m, k] W_V x_k`
    - `output[m] = relu(concat_h head_h[m] + W_res x_m)`

    That is `variant="paper"`. The authors' code, `variant="official"`, differs in four points, each
    an argument that overrides the variant: projections have a bias and a ReLU, the residual one
    too; scores are divided by `sqrt(head_dim)`; a layer normalization follows the final ReLU.

    A masked field is left out as if it were not there; its own output is zero.

    Args:
        head_dim: int. Width of a head, `d'` in the paper. Defaults to `32`.
        heads: int. Number of heads. Defaults to `2`.
        variant: str. `"paper"` or `"official"`. Defaults to `"paper"`.
        qkv_activation: activation of the four projections. Defaults to `None`: the variant's.
        use_bias: bool or None. Whether projections have a bias. Defaults to `None`: the variant's.
        scale: bool or None. Whether to divide scores by `sqrt(head_dim)`. Defaults to `None`: the
            variant's.
        layer_norm: bool or None. Whether to normalize the output. Defaults to `None`: the
            variant's.
        residual: str. `"projection"` (`W_res`), `"identity"` (the input itself, which must be
            `heads * head_dim` wide) or `"none"`. Defaults to `"projection"`.
        attention_dropout: float. Share of attention weights to drop. Defaults to `0.0`.
        kernel_initializer: initializer of the projections. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the projections. Defaults to `None`.
        check_ids: bool. As in `MLP`. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of field embeddings.
        mask: boolean tensor `(batch, fields)`, False for a field to leave out. Defaults to `None`.
        training: bool. Whether dropout is on.
        return_attention_scores: bool. Whether to return the attention weights as well.

    Input shape:
        `(batch, fields, dim)`.

    Output shape:
        `(batch, fields, heads * head_dim)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the attention weights
        `(batch, heads, fields, fields)`, whose last axis sums to 1.

    Example:

    >>> import numpy as np
    >>> layer = InteractingLayer(head_dim=8, heads=2)
    >>> output, scores = layer(np.ones((4, 5, 16), "float32"), return_attention_scores=True)
    >>> tuple(output.shape), tuple(scores.shape)
    ((4, 5, 16), (4, 2, 5, 5))

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 4.3, Equations 5 to 8.
    """

    def __init__(
        self,
        head_dim: int = 32,
        heads: int = 2,
        *,
        variant: str = "paper",
        qkv_activation: Activation = None,
        use_bias: bool | None = None,
        scale: bool | None = None,
        layer_norm: bool | None = None,
        residual: str = "projection",
        attention_dropout: float = 0.0,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("variant", variant, VARIANTS)
        check_choice("residual", residual, _RESIDUALS)
        if head_dim < 1 or heads < 1:
            raise ValueError(
                f"head_dim and heads must be at least 1. Received: {head_dim}, {heads}"
            )
        given = {
            "qkv_activation": qkv_activation,
            "use_bias": use_bias,
            "scale": scale,
            "layer_norm": layer_norm,
        }
        chosen = VARIANTS[variant] | {k: v for k, v in given.items() if v is not None}
        self.head_dim = head_dim
        self.heads = heads
        self.variant = variant
        self.qkv_activation = keras.activations.get(chosen["qkv_activation"])
        self.use_bias: bool = chosen["use_bias"]
        self.scale: bool = chosen["scale"]
        self.layer_norm: bool = chosen["layer_norm"]
        self.residual = residual
        self.attention_dropout = attention_dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.check_ids = check_ids
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, fields, dim). Received: {input_shape}")
        if self.residual == "identity" and input_shape[-1] != self._width:
            raise ValueError(
                f"residual='identity' needs an input of width {self._width} (heads * head_dim). "
                f"Received: {input_shape}"
            )
        self.query = self._projection("query", input_shape)
        self.key = self._projection("key", input_shape)
        self.value = self._projection("value", input_shape)
        if self.residual == "projection":
            self.residual_projection = self._projection("residual", input_shape)
        self.dropout = keras.layers.Dropout(
            self.attention_dropout, dtype=self.dtype_policy, name="attention_dropout"
        )
        self.dropout.build((input_shape[0], self.heads, input_shape[1], input_shape[1]))
        if self.layer_norm:
            self.normalization = keras.layers.LayerNormalization(
                epsilon=_LAYER_NORM_EPSILON, dtype=self.dtype_policy, name="normalization"
            )
            self.normalization.build((*input_shape[:-1], self._width))

    def _projection(self, name: str, input_shape: Shape) -> keras.layers.Layer:
        options = {"activation": self.qkv_activation, "use_bias": self.use_bias}
        return dense_inside(self, self._width, name, input_shape, **options)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        outputs, scores = [], []
        for query, key, value in self.heads_of(inputs):
            scores.append(self._attention(query, key, mask))
            weights = self.dropout(scores[-1], training=training)
            outputs.append(ops.matmul(weights, value))
        output = ops.concatenate(outputs, axis=-1) if self.heads > 1 else outputs[0]
        if self.residual != "none":
            output = output + self.residual_of(inputs)
        output = self.finished(output)
        if self.check_ids:
            output = with_nan_of(inputs, output)
        if mask is not None:
            output = output * ops.cast(mask, output.dtype)[:, :, None]
        return (output, ops.stack(scores, axis=1)) if return_attention_scores else output

    def heads_of(self, inputs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Query, key and value of each head, each (batch, fields, head_dim)."""
        # Head by head: splitting kernels is cheap, and splitting what they give is not.
        projections = (self._project(layer, inputs) for layer in (self.query, self.key, self.value))
        return zip(*projections, strict=True)

    def logits(self, query: Tensor, key: Tensor) -> Tensor:
        """What a softmax makes attention weights of: (batch, fields asking, fields asked)."""
        logits = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        return logits / self.head_dim**0.5 if self.scale else logits

    def residual_of(self, inputs: Tensor) -> Tensor:
        """What is added to the heads; there is none if `residual` is `"none"`."""
        is_projected = self.residual == "projection"
        return by_rows(self.residual_projection, inputs) if is_projected else inputs

    def finished(self, output: Tensor) -> Tensor:
        """The output, of heads side by side and what is added to them."""
        output = ops.relu(output)
        return self.normalization(output) if self.layer_norm else output

    def _attention(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """The attention weights of one head, (batch, fields, fields)."""
        logits = self.logits(query, key)
        if keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16"):
            logits = ops.cast(logits, "float32")  # a softmax loses too much in half precision
        if mask is not None:
            logits = ops.where(ops.cast(mask, "bool")[:, None, :], logits, -1e9)
        return ops.cast(ops.softmax(logits, axis=-1), self.compute_dtype)

    def _project(self, layer: keras.layers.Dense, inputs: Tensor) -> list[Tensor]:
        """A projection by head, each (batch, fields, head_dim)."""
        if layer.quantization_mode is not None:  # only the layer knows what its kernel stands for
            return list(ops.split(by_rows(layer, inputs), self.heads, axis=-1))
        ends = range(self.head_dim, self._width + 1, self.head_dim)
        return [
            by_rows(functools.partial(self._head, layer, slice(end - self.head_dim, end)), inputs)
            for end in ends
        ]

    def _head(self, layer: keras.layers.Dense, columns: slice, vectors: Tensor) -> Tensor:
        projected = ops.matmul(vectors, layer.kernel[:, columns])
        if self.use_bias:
            projected = projected + layer.bias[columns]
        return self.qkv_activation(projected)

    @property
    def _width(self) -> int:
        return self.heads * self.head_dim

    def compute_output_shape(
        self, input_shape: Shape, return_attention_scores: bool = False
    ) -> Shape | tuple[Shape, Shape]:
        output = (*input_shape[:-1], self._width)
        scores = (input_shape[0], self.heads, input_shape[1], input_shape[1])
        return (output, scores) if return_attention_scores else output

    def compute_output_spec(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Tensor:
        del mask, training
        shapes = self.compute_output_shape(inputs.shape, return_attention_scores)
        if return_attention_scores:
            return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)
        return keras.KerasTensor(shapes, self.compute_dtype)
