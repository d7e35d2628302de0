"""What of a long history is about the candidate, found by scores or hashes."""

from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, PoolingLayer
from ctr_keras.types import Shape, Tensor

_SMALLEST = 1e-12  # of a square of a length


@keras.saving.register_keras_serializable(package="ctr_keras")
class SimHash(ConfiguredLayer):
    """Signs of vectors along random directions: the more alike two vectors, the more are equal.

    Two vectors at an angle `t` have `1 - t / pi` of their signs in common, on average. Directions
    are drawn once and stay; no gradient goes through.

    Args:
        bits: int. Number of directions. Defaults to `32`.
        seed: int or None. Of the draw. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor of vectors.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., bits)`, of 1 and -1.

    Example:

    >>> import numpy as np
    >>> signs = SimHash(bits=4)(np.array([[1.0, 2.0], [-1.0, -2.0]], "float32"))
    >>> float(np.sum(signs))  # opposite vectors, opposite signs
    0.0

    References:
        Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002;
        [ETA](https://arxiv.org/abs/2108.04468), Section 3.3.
    """

    def __init__(self, bits: int = 32, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bits < 1:
            raise ValueError(f"bits must be at least 1. Received: {bits}")
        self.bits = bits
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, ..., dim). Received: {input_shape}")
        self.directions = self.add_weight(
            name="directions",
            shape=(input_shape[-1], self.bits),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
            autocast=False,  # rounded, a sign may be another
        )

    def call(self, inputs: Tensor) -> Tensor:
        along = ops.matmul(ops.cast(inputs, self.directions.dtype), self.directions)
        return ops.cast(ops.where(along >= 0, 1, -1), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.bits)


@keras.saving.register_keras_serializable(package="ctr_keras")
class TopBehaviors(ConfiguredLayer):
    """The behaviours of the highest scores, in the order of the history.

    Of equal scores the most recent are taken. Where fewer are there, zeros fill the rest. No
    gradient reaches the scores.

    Args:
        count: int. How many to take, at most.
        check_ids: bool. Whether NaN in any behaviour, which stands for a wrong id (see
            `FieldEmbedding`), passes though it is not taken. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        scores: tensor of a score for each behaviour.
        behaviors: tensor of the behaviours' embeddings.
        behaviors_mask: boolean tensor `(batch, length)`, False for what is not to be taken.
            Defaults to `None`.
        return_mask: bool. Whether to return which places are filled as well.

    Input shape:
        `(batch, length)` and `(batch, length, dim)`.

    Output shape:
        `(batch, count, dim)`, of a shorter history `(batch, length, dim)`.

    Returns:
        The output, or with `return_mask=True` the output and a boolean mask `(batch, count)`.

    Example:

    >>> import numpy as np
    >>> scores, history = np.array([[0.1, 0.3, 0.2]]), np.array([[[1.0], [2.0], [3.0]]])
    >>> np.array(TopBehaviors(2)(scores, history)).tolist()
    [[[2.0], [3.0]]]

    References:
        [SIM](https://arxiv.org/abs/2006.05639), Section 3.2.
    """

    def __init__(self, count: int, check_ids: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if count < 1:
            raise ValueError(f"count must be at least 1. Received: {count}")
        self.count = count
        self.check_ids = check_ids

    def build(self, scores_shape: Shape, behaviors_shape: Shape) -> None:
        is_right = len(scores_shape) == 2 and len(behaviors_shape) == 3
        if not is_right or behaviors_shape[1] is None:
            raise ValueError(
                "inputs must be scores (batch, length) and behaviours (batch, length, dim) of a "
                f"known length. Received: {scores_shape} and {behaviors_shape}"
            )

    def call(
        self,
        scores: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        return_mask: bool = False,
    ) -> Tensor:
        if behaviors_mask is None:
            behaviors_mask = ops.ones_like(scores, "bool")
        mask = ops.cast(behaviors_mask, "bool")
        scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        scores = ops.where(mask, ops.stop_gradient(scores), -float("inf"))
        length = behaviors.shape[1]
        # Backwards, as of equal scores the first are taken.
        _, places = ops.top_k(ops.flip(scores, axis=1), min(self.count, length))
        places = ops.sort(length - 1 - places, axis=1)
        is_there = ops.take_along_axis(mask, places, axis=1)
        taken = ops.take_along_axis(behaviors, places[:, :, None], axis=1)
        output = ops.where(is_there[:, :, None], taken, 0.0)
        if self.check_ids:
            output += 0.0 * ops.sum(behaviors, axis=1, keepdims=True)
        return (output, is_there) if return_mask else output

    def compute_output_shape(self, scores_shape: Shape, behaviors_shape: Shape) -> Shape:
        del scores_shape
        batch, length, dim = behaviors_shape
        return (batch, min(self.count, length), dim)

    def compute_output_spec(
        self,
        scores: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
        return_mask: bool = False,
    ) -> Tensor:
        del behaviors_mask
        shape = self.compute_output_shape(scores.shape, behaviors.shape)
        output = keras.KerasTensor(shape, self.compute_dtype)
        return (output, keras.KerasTensor(shape[:2], "bool")) if return_mask else output


@keras.saving.register_keras_serializable(package="ctr_keras")
class HashAttention(PoolingLayer):
    """Behaviours that fall into the candidate's buckets, summed: attention without a softmax.

    Signs (see `SimHash`) are taken in groups of `width`, each group a hash table of its own. In
    each table the behaviours whose signs are all those of the candidate are summed, the sum gets
    the length 1, and the output is the mean over tables. A behaviour at an angle `t` to the
    candidate is in its bucket with probability `(1 - t / pi)^width`.

    Args:
        width: int. Signs of a group, which divide all signs. Defaults to `3`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        candidate: tensor of the candidate's signs.
        signs: tensor of the behaviours' signs.
        behaviors: tensor of the behaviours' embeddings.
        behaviors_mask: boolean tensor `(batch, length)`, False for padding. Defaults to `None`.

    Input shape:
        `(batch, bits)`, `(batch, length, bits)` and `(batch, length, dim)`.

    Output shape:
        `(batch, dim)`.

    Example:

    >>> import numpy as np
    >>> signs, history = np.array([[[1.0, 1.0], [1.0, -1.0]]]), np.array([[[3.0], [-5.0]]])
    >>> np.array(HashAttention(2)(signs[:, 0], signs, history)).tolist()
    [[1.0]]

    References:
        [SDIM](https://arxiv.org/abs/2205.10249), Section 4.2.
    """

    def __init__(self, width: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width < 1:
            raise ValueError(f"width must be at least 1. Received: {width}")
        self.width = width
        self.supports_masking = True

    def build(self, candidate_shape: Shape, signs_shape: Shape, behaviors_shape: Shape) -> None:
        shapes = (candidate_shape, signs_shape, behaviors_shape)
        is_right = [len(shape) for shape in shapes] == [2, 3, 3]
        bits = candidate_shape[-1]
        if not is_right or bits is None or bits % self.width or signs_shape[-1] != bits:
            raise ValueError(
                "inputs must be signs (batch, bits) and (batch, length, bits), whose number "
                f"width={self.width} divides, and behaviours (batch, length, dim). Received: "
                f"{candidate_shape}, {signs_shape} and {behaviors_shape}"
            )

    def call(
        self,
        candidate: Tensor,
        signs: Tensor,
        behaviors: Tensor,
        behaviors_mask: Tensor | None = None,
    ) -> Tensor:
        are_equal = candidate[:, None] * signs > 0
        length, bits = signs.shape[1:]
        groups = ops.reshape(are_equal, (-1, length, bits // self.width, self.width))
        dtype = keras.backend.result_type(behaviors.dtype, "float32")
        collides = ops.cast(ops.all(groups, axis=-1), dtype)
        if behaviors_mask is not None:
            collides = collides * ops.cast(behaviors_mask, dtype)[:, :, None]
        sums = ops.einsum("btg,btd->bgd", collides, ops.cast(behaviors, dtype))
        squares = ops.sum(ops.square(sums), axis=-1, keepdims=True)
        units = sums * ops.rsqrt(ops.maximum(squares, _SMALLEST))
        return ops.cast(ops.mean(units, axis=1), self.compute_dtype)

    def compute_output_shape(
        self, candidate_shape: Shape, signs_shape: Shape, behaviors_shape: Shape
    ) -> Shape:
        del candidate_shape, signs_shape
        return (behaviors_shape[0], behaviors_shape[-1])
