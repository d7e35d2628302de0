"""Batch normalization whose statistics for inference are true after few steps as after many."""

import contextlib
import operator
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.types import Initializer, Shape, Tensor

# The moving averages look back over this share of the steps so far, one in twenty.
_GROWTH = 20
_MANY = 1e6  # batches, where a file does not say how many


@keras.saving.register_keras_serializable(package="ctr_keras")
class BatchNormalization(ConfiguredLayer):
    """Normalizes each channel: by the batch in training, by moving averages in inference.

    `output = gamma (x - mean) / sqrt(variance + epsilon) + beta`, over all axes but the last.

    The moving averages start from nothing: the first batch counts whole. After batch `t`, of `m`
    and `v`, with a share `s_t` of the last batch,

    - `s_t = max(1 - momentum, 20 / (t + 19))`
    - `moving_variance = (1 - s_t) (moving_variance + s_t (m - moving_mean)^2) + s_t v`
    - `moving_mean = moving_mean + s_t (m - moving_mean)`

    They are mean and variance of all rows so far, weighted by batch: as `s_1 = 1`, the weights of
    all batches sum to 1 from the first one on, and nothing is left of initial values, of which a
    fixed momentum keeps `momentum^t`. What the batches' means differ by is part of the variance, so
    that batches of one row do. While weights learn fast, at the start, the averages look back over
    the last twentieth of the steps, later over `1 / (1 - momentum)` of them.

    Averages still lag behind weights that move: `recompute_statistics` measures them anew.

    With `trainable=False` the layer normalizes by its averages in training, too. Replicas of
    TensorFlow's strategies normalize by their own rows each, and the averages are the means of
    theirs; on JAX, a batch spread over devices by `keras.distribution` has one mean and variance.

    Masked positions count in neither mean nor variance.

    Args:
        momentum: float. The most that moving averages keep at a step. Defaults to `0.9`.
        epsilon: float. Added to the variance. Defaults to `0.001`.
        center: bool. Whether there is `beta`. Defaults to `True`.
        scale: bool. Whether there is `gamma`. Defaults to `True`.
        beta_initializer: initializer of `beta`. Defaults to `"zeros"`.
        gamma_initializer: initializer of `gamma`. Defaults to `"ones"`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        mask: boolean tensor `(batch, ...)`, False for a position to leave out of mean and variance.
            Defaults to `None`.
        training: bool. Whether to normalize by the batch, and to add it to the averages.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., dim)`.

    Example:

    >>> import numpy as np
    >>> layer = BatchNormalization()
    >>> output = layer(np.array([[1.0], [3.0]]), training=True)
    >>> np.array(layer.moving_mean).tolist(), np.array(layer.moving_variance).tolist()
    ([2.0], [1.0])

    References:
        [Batch Normalization](https://arxiv.org/abs/1502.03167); for averages of variances, Chan et
        al., Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979; for
        averages over a share of the steps, [Shamir and Zhang](https://arxiv.org/abs/1212.1824).
    """

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be between 0 and 1. Received: {momentum}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.supports_masking = True
        self._measures = False  # whether averages are being recomputed

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"input must be (batch, ..., dim). Received: {input_shape}")
        shape = (input_shape[-1],)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma", shape=shape, initializer=self.gamma_initializer, autocast=False
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta", shape=shape, initializer=self.beta_initializer, autocast=False
            )
        self.moving_mean = self._statistic("moving_mean", shape, "zeros")
        self.moving_variance = self._statistic("moving_variance", shape, "ones")
        # A float, as XLA on a GPU takes no integer variable that TensorFlow keeps on the host.
        self.batches = self._statistic("batches", (), "zeros")

    def _statistic(self, name: str, shape: Shape, initializer: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=keras.backend.result_type(self.variable_dtype, "float32"),
            trainable=False,
            autocast=False,
            aggregation="mean",
        )

    def call(
        self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        # Sums of squares leave the range of float16.
        inputs = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        if self.trainable and (training or self._measures):
            mean, variance = _moments(inputs, mask)
            self._average(mean, variance, ops.shape(inputs)[0])
        else:
            mean, variance = self.moving_mean, self.moving_variance
        gamma, beta, mean, variance = (
            None if each is None else ops.cast(each, inputs.dtype)
            for each in (self.gamma, self.beta, mean, variance)
        )
        outputs = ops.batch_normalization(inputs, mean, variance, -1, beta, gamma, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def _average(self, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
        """Adds a batch to the averages."""
        if self._measures:  # all rows count alike, and they are what is counted
            rows = ops.cast(rows, self.batches.dtype)
            batches = self.batches + rows
            share = rows / batches
        else:
            batches = self.batches + 1
            share = ops.maximum(1 - self.momentum, _GROWTH / (batches + (_GROWTH - 1)))
        moved = ops.cast(mean, self.moving_mean.dtype) - self.moving_mean
        between = self.moving_variance + share * ops.square(moved)
        variance = ops.cast(variance, self.moving_variance.dtype)
        self.moving_variance.assign((1 - share) * between + share * variance)
        self.moving_mean.assign(self.moving_mean + share * moved)
        self.batches.assign(batches)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def load_own_variables(self, store: Any) -> None:
        """Files of earlier versions, which had Keras' layer, do not count batches."""
        count = str(len(self.weights) - 1)
        super().load_own_variables({count: np.array(_MANY), **store})


def _moments(inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel.

    `ops.moments` takes the difference of two large numbers on some backends.
    """
    axes = tuple(range(len(inputs.shape) - 1))
    if mask is None:
        mean = ops.mean(inputs, axes)
        return mean, ops.mean(ops.square(inputs - mean), axes)
    weights = ops.expand_dims(ops.cast(mask, inputs.dtype), -1)
    count = ops.maximum(ops.sum(weights), 1)
    mean = ops.sum(weights * inputs, axes) / count
    return mean, ops.sum(weights * ops.square(inputs - mean), axes) / count


def recompute_statistics(model: keras.Model, inputs: Any, batch_size: int = 4096) -> None:
    """Replaces a model's moving averages by statistics of rows, under the weights as they are.

    These do not lag, whatever the weights have done meanwhile: call it before evaluating or saving
    a model after a short or a fast training, and after averaging weights. All else in the model
    does as in inference, so that dropout, which widens what comes after it in training, has no part
    in them. Some ten thousand rows do; layers with `trainable=False` keep what they have.

    Args:
        model: keras.Model.
        inputs: what the model takes: an array, or a dict or list of arrays, of rows to learn from.
        batch_size: int. Rows to normalize at a time. Defaults to `4096`.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([BatchNormalization()])
    >>> model.build((None, 1))
    >>> recompute_statistics(model, np.array([[1.0], [3.0], [5.0], [7.0]]), batch_size=2)
    >>> np.array(model.layers[0].moving_mean), np.array(model.layers[0].moving_variance)
    (array([4.], dtype=float32), array([5.], dtype=float32))
    """
    if not has_statistics(model):
        return
    rows = len(keras.tree.flatten(inputs)[0])
    with _measuring(model):
        for start in range(0, rows, batch_size):
            batch = slice(start, start + batch_size)
            model(keras.tree.map_structure(operator.itemgetter(batch), inputs))


def has_statistics(model: keras.Model) -> bool:
    """Whether a model has moving averages for `recompute_statistics` to replace.

    Args:
        model: keras.Model.

    Example:

    >>> has_statistics(keras.Sequential([BatchNormalization()]))
    True
    """
    return bool(_normalizations(model))


def _normalizations(model: keras.Model) -> list[BatchNormalization]:
    return [layer for layer in flat_layers(model) if isinstance(layer, BatchNormalization)]


@contextlib.contextmanager
def _measuring(model: keras.Model) -> Iterator[None]:
    """A model whose calls recompute averages from nothing."""
    layers = _normalizations(model)
    counts = [np.array(ops.convert_to_numpy(layer.batches)) for layer in layers]
    for layer in layers:
        layer._measures = True
        layer.batches.assign(0)
    try:
        yield
    finally:
        for layer, count in zip(layers, counts, strict=True):
            layer._measures = False
            layer.batches.assign(count)
