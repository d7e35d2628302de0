"""OptFS' search: embeddings with a gate for every value."""

from typing import Any

import keras
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers.field_embedding import FieldEmbedding
from ctr_keras.tables import look_up
from ctr_keras.types import Config, Initializer, Inputs, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class GatedEmbedding(FieldEmbedding):
    """A `FieldEmbedding` that scales the vector of each value by the value's gate.

    The gate of an id is `sigmoid(temperature * w) / sigmoid(start)` with a weight `w` of its own,
    of which all, `gates`, are as many as the table has rows: 1 at the start. The temperature grows
    with the training steps, `final_temperature^(step / steps)` up to `final_temperature`, and gates
    become steps at `w = 0`: what is below is dropped. An interaction of two fields is so scaled by
    the gates of both values.

    In training, `penalty * sum of sigmoid(temperature * w)` over all ids is added to the loss that
    is differentiated, not to the one that `fit` reports. Numbers have no gates.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        dim: int. Width of an embedding.
        start: float. What the weights of gates start from. Defaults to `0.5`.
        final_temperature: float. At least 1. Defaults to `1000.0`.
        steps: int. In which it grows. Defaults to `1000`.
        penalty: float. Defaults to `0.0`.
        numeric, embeddings_initializer, l2, check_ids: as in `FieldEmbedding`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).
        training: bool. Whether the step is counted and the penalty added.

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, fields, dim)`.

    Raises:
        ValueError: for a final temperature below 1.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    >>> layer = GatedEmbedding(features, 1, embeddings_initializer="ones")
    >>> inputs = {"categorical": np.array([[2], [3]])}
    >>> np.array(layer(inputs)).ravel().tolist()
    [1.0, 1.0]
    >>> _ = layer.gates.assign([[0.5], [0.5], [-100.0], [0.5]])
    >>> np.array(layer(inputs)).ravel().tolist()
    [0.0, 1.0]

    References:
        [OptFS](https://arxiv.org/abs/2301.10909): its gates of features and learning by
        continuation.
    """

    def __init__(
        self,
        features: FeatureSet | Config,
        dim: int,
        *,
        numeric: str | None = None,
        start: float = 0.5,
        final_temperature: float = 1000.0,
        steps: int = 1000,
        penalty: float = 0.0,
        embeddings_initializer: Initializer = None,
        l2: float = 0.0,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            features,
            dim,
            numeric=numeric,
            embeddings_initializer=embeddings_initializer,
            l2=l2,
            check_ids=check_ids,
            **kwargs,
        )
        if final_temperature < 1:
            raise ValueError(f"final_temperature must be at least 1. Received: {final_temperature}")
        self.start = start
        self.final_temperature = final_temperature
        self.steps = steps
        self.penalty = penalty

    def build(self, input_shape: dict[str, Shape]) -> None:
        super().build(input_shape)
        if not hasattr(self, "table"):
            raise ValueError("numbers have no gates, and there is no other field")
        self.gates = self.add_weight(
            name="gates",
            shape=(self.table.shape[0], 1),
            initializer=keras.initializers.Constant(self.start),
            dtype="float32",
            autocast=False,
        )
        self.step = self.add_weight(
            name="step", shape=(), initializer="zeros", dtype="int32", trainable=False
        )

    def call(self, inputs: Inputs, training: bool | None = None) -> Tensor:
        if training and self.trainable:
            self.step.assign_add(1)
            total = self.penalty * ops.sum(self._opened(ops.convert_to_tensor(self.gates)))
            self.add_loss(total - ops.stop_gradient(total))
        return super().call(inputs, training=training)

    def _look_up(self, rows: Tensor) -> Tensor:
        gates = self._opened(look_up(self.gates, rows)) / ops.sigmoid(self.start)
        vectors = super()._look_up(rows)
        return vectors * ops.cast(gates, vectors.dtype)

    def _opened(self, gates: Tensor) -> Tensor:
        done = ops.minimum(ops.cast(self.step, "float32") / self.steps, 1.0)
        return ops.sigmoid(gates * self.final_temperature**done)
