"""Numbers as embeddings that are no straight lines: by waves, or by buckets, learned or given."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, exact_softmax
from ctr_keras.types import Initializer, Shape, Tensor


class NumberEmbedding(ConfiguredLayer):
    """What the layers share: a vector of each number, by weights of its own."""

    def __init__(self, dim: int, initializer: Initializer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1. Received: {dim}")
        self.dim = dim
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2 or not input_shape[1]:
            raise ValueError(f"input must be (batch, numbers). Received: {input_shape}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.dim)


@keras.saving.register_keras_serializable(package="ctr_keras")
class PeriodicEmbedding(NumberEmbedding):
    """A linear function of sines and cosines of a number, whose frequencies are learned.

    For a number `x`, with weights of its own, `sum_k cos(2 pi c_k x) W_k + sin(2 pi c_k x) W'_k`. A
    line in `x`, which `FieldEmbedding` has by default, can only rise or fall.

    Args:
        dim: int. Width of a vector.
        frequencies: int. How many. Defaults to `16`.
        spread: float. Standard deviation of the frequencies that training starts from: of numbers
            about so many apart as its inverse, a model tells them apart at first. Defaults to
            `0.1`.
        initializer: initializer of the linear function. Defaults to `"glorot_uniform"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of numbers.

    Input shape:
        `(batch, numbers)`.

    Output shape:
        `(batch, numbers, dim)`.

    Example:

    >>> import numpy as np
    >>> tuple(PeriodicEmbedding(4)(np.ones((2, 3), "float32")).shape)
    (2, 3, 4)

    References:
        [On Embeddings for Numerical Features](https://arxiv.org/abs/2203.05556), Section 3.3, `PL`.
    """

    def __init__(
        self,
        dim: int,
        frequencies: int = 16,
        spread: float = 0.1,
        initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, initializer, **kwargs)
        self.frequencies = frequencies
        self.spread = spread

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        numbers = input_shape[1]
        self.scales = self.add_weight(
            name="scales",
            shape=(numbers, self.frequencies),
            initializer=keras.initializers.RandomNormal(stddev=self.spread),
            autocast=False,  # half precision has no digits left of the angle of a large number
        )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(numbers, 2 * self.frequencies, self.dim),
            initializer=self.initializer,
        )

    def call(self, inputs: Tensor) -> Tensor:
        angles = 2 * math.pi * ops.cast(inputs, "float32")[:, :, None] * self.scales
        waves = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        return ops.einsum("bnk,nkd->bnd", ops.cast(waves, self.compute_dtype), self.kernel)


@keras.saving.register_keras_serializable(package="ctr_keras")
class AutoDisEmbedding(NumberEmbedding):
    """A mixture of vectors, of which each stands for numbers of a size that is learned.

    For a number `x`, with weights of its own: `h = leaky_relu(w x)`, and the shares of its vectors
    are `softmax((W h + keep h) / temperature)`.

    Args:
        dim: int. Width of a vector.
        buckets: int. Vectors of a number. Defaults to `20`.
        keep: float. Share of `h` that goes by the matrix. Defaults to `0.1`.
        temperature: float. The lower, the more one vector has all. Defaults to `1.0`.
        initializer: initializer of the vectors. Defaults to `"glorot_uniform"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of numbers.

    Input shape:
        `(batch, numbers)`.

    Output shape:
        `(batch, numbers, dim)`.

    Example:

    >>> import numpy as np
    >>> tuple(AutoDisEmbedding(4)(np.ones((2, 3), "float32")).shape)
    (2, 3, 4)

    References:
        [An Embedding Learning Framework for Numerical Features in CTR
        Prediction](https://arxiv.org/abs/2012.08986), Section 3.2.
    """

    def __init__(
        self,
        dim: int,
        buckets: int = 20,
        keep: float = 0.1,
        temperature: float = 1.0,
        initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, initializer, **kwargs)
        if temperature <= 0:
            raise ValueError(f"temperature must be over 0. Received: {temperature}")
        self.buckets = buckets
        self.keep = keep
        self.temperature = temperature

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        numbers, buckets = input_shape[1], self.buckets
        self.slopes = self.add_weight(
            name="slopes", shape=(numbers, buckets), initializer="glorot_uniform"
        )
        self.mixing = self.add_weight(
            name="mixing", shape=(numbers, buckets, buckets), initializer="glorot_uniform"
        )
        self.vectors = self.add_weight(
            name="vectors", shape=(numbers, buckets, self.dim), initializer=self.initializer
        )

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.cast(inputs, self.compute_dtype)
        hidden = ops.leaky_relu(inputs[:, :, None] * self.slopes, negative_slope=0.01)
        logits = ops.einsum("bnh,nhk->bnk", hidden, self.mixing) + self.keep * hidden
        shares = exact_softmax(logits / self.temperature)
        return ops.einsum("bnk,nkd->bnd", ops.cast(shares, self.compute_dtype), self.vectors)


@keras.saving.register_keras_serializable(package="ctr_keras")
class StepEmbedding(NumberEmbedding):
    """Numbers in buckets as vectors of which each is a step away from that of the bucket below.

    For bucket `b` of `K`, with a step `s` for each bucket of the number, `(sum of s_1 to s_b - sum
    of s_b+1 to s_K) / 2`; a zero vector where there is no such bucket. A row teaches its bucket
    and, by the steps that they share, all others, the nearest ones most; with a vector of its own a
    bucket of few rows learns from these alone.

    Args:
        dim: int. Width of a vector.
        buckets: list of int. How many each number has.
        initializer: initializer of the steps. Defaults to `"glorot_uniform"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: integer tensor of buckets, from 1 on; of 0 or less for a missing number.

    Input shape:
        `(batch, numbers)`.

    Output shape:
        `(batch, numbers, dim)`.

    Raises:
        ValueError: for a number without buckets; if the input has another count of numbers than
            `buckets`.

    Example:

    >>> import numpy as np
    >>> layer = StepEmbedding(1, buckets=[4], initializer="ones")
    >>> np.array(layer(np.array([[1], [2], [4], [0]]))).ravel().tolist()
    [-1.0, 0.0, 2.0, 0.0]

    References:
        [On Embeddings for Numerical Features](https://arxiv.org/abs/2203.05556), Section 3.2, whose
        piecewise linear encoding of a number that is known by its bucket alone has a one for each
        bucket up to it.
    """

    def __init__(
        self,
        dim: int,
        buckets: Sequence[int],
        initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, initializer, **kwargs)
        self.buckets = tuple(buckets)
        if min(self.buckets, default=1) < 1:
            raise ValueError(f"each number needs a bucket. Received: buckets={self.buckets}")

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if input_shape[1] != len(self.buckets):
            raise ValueError(
                f"expected {len(self.buckets)} numbers, as `buckets` has. Received: {input_shape}"
            )
        self.steps = self.add_weight(
            name="steps",
            shape=(sum(self.buckets), self.dim),
            initializer=self.initializer,
            autocast=False,  # half precision has no digits left of a long sum
        )

    def call(self, inputs: Tensor) -> Tensor:
        ends = np.cumsum(self.buckets, dtype="int32")
        starts = ends - np.array(self.buckets, "int32")
        sums = ops.cumsum(ops.convert_to_tensor(self.steps), axis=0)
        sums = ops.concatenate([ops.zeros_like(sums[:1]), sums], axis=0)  # of so many first steps
        # Up to a bucket less above it is 2 sums[b] - sums[start] - sums[end]; of no bucket, zero.
        outer = [
            ops.take(sums, np.repeat(places, self.buckets), axis=0) for places in (starts, ends)
        ]
        vectors = sums[1:] - (outer[0] + outer[1]) / 2
        vectors = ops.concatenate([ops.zeros_like(sums[:1]), vectors], axis=0)
        counts = np.array(self.buckets, "int32")
        is_bucket = ops.logical_and(ops.greater(inputs, 0), ops.less_equal(inputs, counts))
        rows = ops.where(is_bucket, inputs + starts, 0)
        return ops.cast(ops.take(vectors, rows, axis=0), self.compute_dtype)
