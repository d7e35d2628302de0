"""What models of a history share: the candidate, its behaviours side by side, what is padding."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldEmbedding
from ctr_keras.models.base import CTRModel
from ctr_keras.models.parts import dense_logit, joined, kernel_penalty, probability, tower
from ctr_keras.types import Initializer, Inputs, Settings, Tensor


class Behaviors(NamedTuple):
    """A candidate and a history, embedded by one table.

    Attributes:
        fields: all fields, `(batch, fields, dim)`.
        candidate: the fields that the history has as well, side by side, `(batch, width)`.
        history: `(batch, length, width)`.
        mask: what is no padding, `(batch, length)`.
    """

    fields: Tensor
    candidate: Tensor
    history: Tensor
    mask: Tensor


def embed_behaviors(
    model: str, features: FeatureSet, inputs: Inputs, dim: int, **table: Any
) -> Behaviors:
    """Candidate and history, for a model that compares them.

    Each sequence is one of a field's values, as `vocabulary_of` says: these fields are the
    candidate. The first sequence says what is padding.

    Args:
        model: str. What errors call the model.
        features: FeatureSet.
        inputs: dict of the packed inputs.
        dim: int. Width of an embedding.
        **table: what else `FieldEmbedding` takes.

    Raises:
        ValueError: for a sequence that is of no field or of another length.
    """
    names = [feature.name for feature in features.sequences]
    for feature in features.sequences:
        if feature.vocabulary_of not in features.field_names:
            raise ValueError(
                f"{model} compares behaviours with the candidate: the sequence {feature.name!r} "
                "needs vocabulary_of a field"
            )
    check_lengths(features, names)
    fields, *histories = FieldEmbedding(features, dim, sequences=names, name="embedding", **table)(
        inputs
    )
    places = [features.field_names.index(f.vocabulary_of) for f in features.sequences]
    candidate = joined([fields[:, place] for place in places])
    history = joined(histories)
    return Behaviors(fields, candidate, history, ops.not_equal(inputs[names[0]], 0))


def check_lengths(features: FeatureSet, names: Sequence[str]) -> None:
    """Checks that sequences can stand side by side."""
    lengths = {name: features.packed_shapes[name][0] for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"sequences must have one max_length. Received: {lengths}")


def kernels(initializer: Initializer, l2: float) -> Settings:
    """Initializer and regularizer of a layer's kernels, drawn anew for each layer."""
    return {
        "kernel_initializer": keras.initializers.get(initializer).clone(),
        "kernel_regularizer": kernel_penalty(l2),
    }


def on_tower(
    name: str, inputs: Inputs, vectors: Sequence[Tensor], weights: Settings, *of_tower: Any
) -> keras.Model:
    """The model of a tower on fields and vectors side by side.

    Args:
        name: str. The model's.
        inputs: dict of the packed inputs.
        vectors: list of tensors, `(batch, ..., dim)`.
        weights: dict. The arguments of `kernels`.
        *of_tower: what else `tower` takes, in its order.
    """
    flat = [ops.reshape(vector, (-1, math.prod(vector.shape[1:]))) for vector in vectors]
    deep = tower(joined(flat), *of_tower, **kernels(**weights))
    return CTRModel(inputs, probability(dense_logit(deep, **kernels(**weights))), name=name)
