"""Embeddings of a different width for each field, at a common width where they meet."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers.field_embedding import FieldEmbedding, initializer_or_spread
from ctr_keras.layers.inputs import PackedLayer
from ctr_keras.types import Config, Initializer, Inputs, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class CompactEmbedding(PackedLayer):
    """Embeds each field at its own width and scatters the values to `dim` positions.

    Field `f` keeps the positions `kept[f]` of its embedding, in rising order; the others are zero
    and stored nowhere. The result is that of a `FieldEmbedding` whose other dimensions are masked,
    with only the rows and columns that are used in memory: one table for all fields of a width.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        dim: int. The common width.
        kept: dict. By field, the positions it keeps; a field that is not named keeps all. Fields
            that share a vocabulary must keep the same.
        embeddings_initializer: initializer of the tables. Defaults to `None`: as `FieldEmbedding`.
        embeddings_regularizer: regularizer of the tables. Defaults to `None`.
        l2: float. Penalty of the rows that a batch reads, as in `FieldEmbedding`. Defaults to
            `0.0`.
        check_ids: bool. As in `FieldEmbedding`. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, fields, dim)`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 2, "b": 2}
    ... )
    >>> layer = CompactEmbedding(features, 3, {"a": [1]}, embeddings_initializer="ones")
    >>> np.array(layer({"categorical": np.array([[2, 5]])})).tolist()
    [[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]

    References:
        [AIM](https://arxiv.org/abs/2111.03318), Section 4, embedding dimension search: retraining.
    """

    def __init__(
        self,
        features: FeatureSet | Config,
        dim: int,
        kept: Mapping[str, Sequence[int]],
        *,
        embeddings_initializer: Initializer = None,
        embeddings_regularizer: Regularizer = None,
        l2: float = 0.0,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        self.features = features
        self.dim = dim
        self.kept = {name: tuple(int(p) for p in positions) for name, positions in kept.items()}
        self.embeddings_initializer = initializer_or_spread(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.l2 = l2
        self.check_ids = check_ids
        self._check_kept()

    def _check_kept(self) -> None:
        for name, positions in self.kept.items():
            if name not in self.features.field_names:
                raise ValueError(
                    f"unknown field {name!r}; available: {', '.join(self.features.field_names)}. "
                    f"Received: {self.kept}"
                )
            rising = sorted(set(positions))
            if list(positions) != rising or not set(positions) <= set(range(self.dim)):
                raise ValueError(
                    f"field {name!r} must keep rising positions below {self.dim}. "
                    f"Received: {positions}"
                )
        owners: dict[str, tuple[str, tuple[int, ...]]] = {}
        for field in self.features.fields:
            owner = self.features.vocabulary_name(field)
            first, positions = owners.setdefault(owner, (field.name, self._positions(field.name)))
            if positions != self._positions(field.name):
                raise ValueError(
                    f"{first!r} and {field.name!r} share a vocabulary and must keep the same "
                    f"positions. Received: {positions} and {self._positions(field.name)}"
                )
        if not any(self._positions(name) for name in self.features.field_names):
            raise ValueError(f"no field keeps anything. Received: {self.kept}")

    def _positions(self, name: str) -> tuple[int, ...]:
        return self.kept.get(name, tuple(range(self.dim)))

    def build(self, input_shape: dict[str, Shape]) -> None:
        fields_of: dict[int, list[str]] = {}
        for name in self.features.field_names:
            fields_of.setdefault(len(self._positions(name)), []).append(name)
        self.tables = tuple(
            self._table(width, fields_of[width], input_shape)
            for width in sorted(fields_of)
            if width
        )
        # Where each element of the output stands among the tables' outputs side by side; what is
        # not kept is the zero that comes last.
        count = sum(width * len(names) for width, names in fields_of.items())
        sources = np.full((len(self.features.fields), self.dim), count, "int32")
        start = 0
        for width, names in sorted(fields_of.items()):
            for name in names:
                row = self.features.field_names.index(name)
                sources[row, list(self._positions(name))] = range(start, start + width)
                start += width
        self._sources = sources.ravel()

    def _table(
        self, width: int, names: list[str], input_shape: dict[str, Shape]
    ) -> keras.layers.Layer:
        table = FieldEmbedding(
            self.features,
            width,
            fields=names,
            embeddings_initializer=self.embeddings_initializer,
            embeddings_regularizer=self.embeddings_regularizer,
            l2=self.l2,
            numeric="linear",
            check_ids=self.check_ids,
            dtype=self.dtype_policy,
            name=f"width_{width}",
        )
        table.build(input_shape)
        return table

    def call(self, inputs: Inputs) -> Tensor:
        flat = [
            ops.reshape(table(inputs), (-1, len(table.fields) * table.dim)) for table in self.tables
        ]
        flat.append(ops.zeros_like(flat[0][:, :1]))
        scattered = ops.take(ops.concatenate(flat, axis=1), self._sources, axis=1)
        return ops.reshape(scattered, (-1, len(self.features.fields), self.dim))

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape:
        return (next(iter(input_shape.values()))[0], len(self.features.fields), self.dim)
