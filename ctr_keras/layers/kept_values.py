"""What OptFS leaves of the inputs: the values that are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers.inputs import PackedLayer
from ctr_keras.tables import look_up
from ctr_keras.types import Array, Config, Inputs, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class KeptValues(PackedLayer):
    """Turns the ids of values that are not kept into 0, which is missing: layers read nothing.

    What is kept is one weight that is not trained, `is_kept`, with a number for each id; a new
    layer keeps all. Numbers and weights pass as they are.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        check_ids: bool. As in `FieldEmbedding`; here it is without effect on what passes. Defaults
            to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        That of the inputs.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    >>> layer = KeptValues(features)
    >>> inputs = {"categorical": np.array([[2], [3]])}
    >>> np.array(layer(inputs)["categorical"]).tolist()
    [[2], [3]]
    >>> layer.keep({"a": [True, False, True]})  # ids 1, 2 and 3
    >>> np.array(layer(inputs)["categorical"]).tolist()
    [[0], [3]]

    References:
        [OptFS](https://arxiv.org/abs/2301.10909), its gates of features when it retrains.
    """

    def __init__(
        self, features: FeatureSet | Config, *, check_ids: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        self.features = features
        self.check_ids = check_ids

    def build(self, input_shape: dict[str, Shape]) -> None:
        del input_shape
        self.is_kept = self.add_weight(
            name="is_kept",
            shape=(self.features.id_count, 1),
            initializer="ones",
            dtype="int8",
            trainable=False,
            autocast=False,
        )

    def keep(self, values: Mapping[str, Sequence[bool] | Array]) -> None:
        """Sets what is kept of some vocabularies, of all others everything.

        Args:
            values: dict. By the name of a vocabulary, whether each of its ids is kept.
        """
        kept = np.ones(self.is_kept.shape, "int8")
        for name, of_ids in values.items():
            ids = self.features.id_ranges[name]
            kept[ids.start : ids.stop, 0] = of_ids
        self.is_kept.assign(kept)

    @property
    def kept(self) -> dict[str, Array]:
        """By vocabulary of a field, whether each of its ids is kept."""
        is_kept = ops.convert_to_numpy(self.is_kept)[:, 0] != 0
        read = {self.features.vocabulary_name(field) for field in self.features.fields}
        ranges = self.features.id_ranges.items()
        return {name: is_kept[ids.start : ids.stop] for name, ids in ranges if name in read}

    def call(self, inputs: Inputs) -> dict[str, Tensor]:
        return {
            name: self._kept(values) if name in self.features.id_inputs else values
            for name, values in inputs.items()
        }

    def _kept(self, ids: Tensor) -> Tensor:
        return ops.where(ops.equal(look_up(self.is_kept, ids)[..., 0], 0), 0, ids)
