"""MIAN's global module: one attention over all parts, original and interacted."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, check_choice, dense_inside
from ctr_keras.layers.tanh_attention import TanhAttention
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor

_ALIGNMENTS = ("linear", "zero_pad")


@keras.saving.register_keras_serializable(package="ctr_keras")
class GlobalInteraction(ConfiguredLayer):
    """Global interactive module (GIM): a weighted sum of parts of a common width.

    For parts `r_l`: `R = sum_l g_l r_l` with `g = softmax_l(tanh(<r_l, W_l> + b_l))`. The sum needs
    equal widths, which the paper's parts do not have: each part of another width than `width` first
    goes through a linear map of its own, without bias.

    Args:
        width: int. Width of the output.
        align: str. `"linear"` for the maps, or `"zero_pad"`: parts are filled up with zeros.
            Defaults to `"linear"`.
        temperature: float. Of the softmax. Defaults to `1.0`.
        kernel_initializer: initializer of maps and `W`. Defaults to `None`: truncated normal with
            standard deviation 0.02.
        kernel_regularizer: regularizer of maps and `W`. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: list of tensors, the parts.
        return_attention_scores: bool. Whether to return the weights `g` as well.

    Input shape:
        List of `(batch, any width)`.

    Output shape:
        `(batch, width)`.

    Returns:
        The output, or with `return_attention_scores=True` the output and the weights
        `(batch, parts)`.

    Example:

    >>> import numpy as np
    >>> parts = [np.ones((2, 4), "float32"), np.ones((2, 6), "float32")]
    >>> output, weights = GlobalInteraction(4)(parts, return_attention_scores=True)
    >>> tuple(output.shape), tuple(weights.shape)
    ((2, 4), (2, 2))

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equations 14 and 15.
    """

    def __init__(
        self,
        width: int,
        *,
        align: str = "linear",
        temperature: float = 1.0,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if width < 1:
            raise ValueError(f"width must be at least 1. Received: {width}")
        check_choice("align", align, _ALIGNMENTS)
        self.width = width
        self.align = align
        self.temperature = temperature
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer or keras.initializers.TruncatedNormal(stddev=0.02)
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Sequence[Shape]) -> None:
        is_list = input_shape and all(isinstance(shape, list | tuple) for shape in input_shape)
        if not is_list or any(len(shape) != 2 or shape[-1] is None for shape in input_shape):
            raise ValueError(f"inputs must be a list of (batch, width). Received: {input_shape}")
        self._check_padding(input_shape)
        self._mapped = tuple(
            index
            for index, shape in enumerate(input_shape)
            if self.align == "linear" and shape[-1] != self.width
        )
        self.maps = tuple(
            dense_inside(self, self.width, f"map_{index}", input_shape[index], use_bias=False)
            for index in self._mapped
        )
        self.attention = TanhAttention(
            temperature=self.temperature,
            kernel_initializer=self.kernel_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build((None, len(input_shape), self.width))

    def _check_padding(self, input_shape: Sequence[Shape]) -> None:
        widest = max(shape[-1] or 0 for shape in input_shape)
        if self.align == "zero_pad" and widest > self.width:
            raise ValueError(
                f"zeros cannot make a part of {widest} as narrow as width={self.width}. "
                f"Received: {input_shape}"
            )

    def call(self, inputs: Sequence[Tensor], return_attention_scores: bool = False) -> Tensor:
        aligned = ops.stack([self._aligned(i, part) for i, part in enumerate(inputs)], axis=1)
        weights = self.attention(aligned)
        output = ops.sum(weights[:, :, None] * aligned, axis=1)
        return (output, weights) if return_attention_scores else output

    def _aligned(self, index: int, part: Tensor) -> Tensor:
        if index in self._mapped:
            return self.maps[self._mapped.index(index)](part)
        return ops.pad(part, [(0, 0), (0, self.width - part.shape[-1])])

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return (input_shape[0][0], self.width)

    def compute_output_spec(
        self, inputs: Sequence[Tensor], return_attention_scores: bool = False
    ) -> Tensor:
        output = keras.KerasTensor((inputs[0].shape[0], self.width), self.compute_dtype)
        weights = keras.KerasTensor((inputs[0].shape[0], len(inputs)), self.compute_dtype)
        return (output, weights) if return_attention_scores else output
