"""The first-order part of a model: one weight for each value."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers.field_embedding import FieldEmbedding, initializer_or_spread
from ctr_keras.layers.inputs import PackedLayer
from ctr_keras.types import Config, Initializer, Inputs, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class LinearLogit(PackedLayer):
    """`<w, x> + b`: the weights of a row's values, summed, and a bias.

    A `FieldEmbedding` of width 1, so missing values weigh nothing and numbers scale their weight.

    Args:
        features: FeatureSet with known vocabulary sizes, or its `to_dict()`.
        use_bias: bool. Whether there is a bias. Defaults to `True`.
        fields: list of str or None. Names of the fields that have weights. Defaults to `None`: all.
        initializer: initializer of the weights, or a number, the standard deviation of a normal
            distribution. From 0, a value that was never seen says nothing. Defaults to `"zeros"`.
        regularizer: regularizer of all weights of ids. Defaults to `None`.
        l2: float. Penalty of the weights that a batch reads and of those of numbers, as in
            `FieldEmbedding`. Defaults to `0.0`.
        check_ids: bool. As in `FieldEmbedding`. Defaults to `False`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: dict of the packed inputs (see `feature_inputs`).

    Input shape:
        Name to `(batch, width)`, as in `features.packed_shapes`.

    Output shape:
        `(batch, 1)`.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    >>> layer = LinearLogit(features, initializer="ones")
    >>> np.array(layer({"categorical": np.array([[2], [0]])})).tolist()
    [[1.0], [0.0]]

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Equation 3.
    """

    def __init__(
        self,
        features: FeatureSet | Config,
        use_bias: bool = True,
        *,
        fields: Sequence[str] | None = None,
        initializer: Initializer = "zeros",
        regularizer: Regularizer = None,
        l2: float = 0.0,
        check_ids: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(features, FeatureSet):
            features = FeatureSet.from_dict(features)
        self.features = features
        self.use_bias = use_bias
        self.fields = fields
        self.initializer = initializer_or_spread(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.l2 = l2
        self.check_ids = check_ids

    def build(self, input_shape: dict[str, Shape]) -> None:
        self.weighting = FieldEmbedding(
            self.features,
            dim=1,
            fields=self.fields,
            embeddings_initializer=self.initializer,
            embeddings_regularizer=self.regularizer,
            l2=self.l2,
            numeric="linear",
            check_ids=self.check_ids,
            dtype=self.dtype_policy,
            name="weighting",
        )
        self.weighting.build(input_shape)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, inputs: Inputs) -> Tensor:
        logit = ops.sum(self.weighting(inputs), axis=1)
        return logit + ops.cast(self.bias, logit.dtype) if self.use_bias else logit

    def compute_output_shape(self, input_shape: dict[str, Shape]) -> Shape:
        return (next(iter(input_shape.values()))[0], 1)
