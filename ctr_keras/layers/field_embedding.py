"""Every field of a feature set as one embedding vector."""

from typing import Any

import keras
from keras import ops

from ctr_keras.features import FeatureSet

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="ctr_keras")
class FieldEmbedding(keras.layers.Layer):
    """Embeds the packed inputs of a feature set: one vector a field.

    All ids share one table of `features.id_count` rows, and all single-valued fields are looked up
    in one gather. For a row of inputs, with table `V` and numeric vectors `v`:

    - categorical and crossed field: `V[id]`
    - numeric field: `x * v`
    - multi-valued field: mean of `V[id]` over its actual ids

    Id 0 (missing, padding) always gives a zero vector, whatever its row of the table holds, and its
    row gets no gradient. Fields come in the order of `features.fields`. Sequences are no fields.

    Ids must lie in `[0, features.id_count)`. The backend decides what another id gives (an error on
    the CPU, garbage on accelerators and with JAX); `check_ids` turns it into a NaN vector anywhere.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        dim: int. Width of an embedding.
        embeddings_initializer: initializer of table and numeric vectors. Defaults to `None`:
            normal with standard deviation 0.01, as AutoInt's code has it.
        embeddings_regularizer: regularizer of the table. Defaults to `None`.
        check_ids: bool. Whether an id outside the table gives NaN, for debugging.
            Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, fields, dim)`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
    >>> features = FeatureSet(
    ...     Categorical("c"), Numeric("n"), label=Label("y"), vocabulary_sizes={"c": 3}
    ... )
    >>> layer = FieldEmbedding(features, dim=4)
    >>> batch = {"categorical": np.array([[2], [0]]), "numeric": np.array([[0.5], [1.0]])}
    >>> tuple(layer(batch).shape)
    (2, 2, 4)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 4.2, Equations 2 to 4.
    """

    def __init__(
        self,
        features: FeatureSet | dict[str, Any],
        dim: int,
        *,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1. Received: {dim}")
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        if not features.fields:
            raise ValueError("the feature set has no field to embed, only sequences")
        self.features = features
        self.dim = dim
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer or keras.initializers.RandomNormal(stddev=0.01)
        )
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.check_ids = check_ids

    def build(self, input_shape: dict[str, Shape]) -> None:
        for name in self._input_names:
            width = self.features.packed_shapes[name][0]
            if name not in input_shape:
                raise ValueError(f"input {name!r} is missing. Received: {', '.join(input_shape)}")
            if len(input_shape[name]) != 2 or input_shape[name][1] != width:
                raise ValueError(
                    f"input {name!r} must be (batch, {width}). Received: {input_shape[name]}"
                )
        if self._has_ids:
            self.table = self.add_weight(
                name="table",
                shape=(self.features.id_count, self.dim),
                initializer=self.embeddings_initializer,
                regularizer=self.embeddings_regularizer,
                autocast=False,  # rows are cast when looked up, not the whole table
            )
        if self.features.numeric:
            self.numeric_vectors = self.add_weight(
                name="numeric_vectors",
                shape=(len(self.features.numeric), self.dim),
                initializer=_copy(self.embeddings_initializer),
            )

    def call(self, inputs: dict[str, Any]) -> Any:
        singles = [inputs[name] for name in ("categorical", "crossed") if name in self._input_names]
        parts = []
        if singles:
            embedded = self.embed_ids(ops.concatenate(singles, axis=1))
            crossed_from = len(self.features.categorical)
            parts.append(embedded[:, :crossed_from])
        if self.features.numeric:
            values = ops.cast(inputs["numeric"], self.compute_dtype)
            vectors = ops.cast(self.numeric_vectors, self.compute_dtype)
            parts.append(values[:, :, None] * vectors)
        parts += [self._mean(inputs[f.name]) for f in self.features.multi_valued]
        if self.features.crossed:
            parts.append(embedded[:, crossed_from:])
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def embed_ids(self, ids: Any) -> Any:
        """Embeds global ids of any shape, such as a sequence's; id 0 gives zeros.

        Args:
            ids: integer tensor.

        Returns:
            Tensor of the shape of `ids` and a last axis of `dim`.
        """
        if not self.check_ids:
            return self._look_up(ids)
        is_known = ops.logical_and(ids >= 0, ids < self.features.id_count)
        vectors = self._look_up(ops.where(is_known, ids, 0))
        return ops.where(is_known[..., None], vectors, float("nan"))

    def _look_up(self, ids: Any) -> Any:
        vectors = ops.cast(ops.take(self.table, ids, axis=0), self.compute_dtype)
        return ops.where(ops.not_equal(ids, 0)[..., None], vectors, 0.0)

    def _mean(self, ids: Any) -> Any:
        count = ops.sum(ops.cast(ops.not_equal(ids, 0), self.compute_dtype), axis=1, keepdims=True)
        total = ops.sum(self.embed_ids(ids), axis=1)
        return (total / ops.maximum(count, 1))[:, None]

    @property
    def _has_ids(self) -> bool:
        return len(self.features.fields) > len(self.features.numeric)

    @property
    def _input_names(self) -> list[str]:
        sequences = {feature.name for feature in self.features.sequences}
        return [name for name in self.features.packed_shapes if name not in sequences]

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape:
        batch = next(iter(input_shape.values()))[0]
        return (batch, len(self.features.fields), self.dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "features": self.features.to_dict(),
            "dim": self.dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
            "check_ids": self.check_ids,
        }


def _copy(initializer: Any) -> Any:
    """An initializer of the same kind that does not repeat the first one's draws."""
    return initializer.clone() if hasattr(initializer, "clone") else initializer
