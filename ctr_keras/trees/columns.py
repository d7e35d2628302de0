"""The columns that trees split on, made of packed inputs by the same code in training and serving.

A categorical or crossed field is one column, the place of its value in the vocabulary, NaN for id
0; so is a number in buckets, whose places rise with it. A number is one column, NaN where it is 0,
as the packed inputs have 0 for a missing number. A multi-valued field has a column for each of its
most frequent values, 1, or the value's weight, if the row has it and 0 if not.
"""

import numpy as np
from keras import ops

from ctr_keras.features import Feature, FeatureSet
from ctr_keras.types import Inputs, Tensor

_VALUES = (
    64  # columns of a multi-valued field, at most: its most frequent values have the first ids
)


def id_ranges(features: FeatureSet) -> list[range]:
    """The ids of each categorical column, in the order of the columns; they come first."""
    return [_ids(features, field) for field in (*features.categorical, *features.crossed)]


def column_names(features: FeatureSet) -> list[str]:
    """What each column holds, with the size of its vocabulary."""
    categories = (*features.categorical, *features.crossed)
    return [
        *(f"{field.name} of {len(_ids(features, field))} ids" for field in categories),
        *(field.name for field in features.numeric),
        *(
            f"{field.name} {'has' if field.weights_input is None else 'weighs'} id {number}"
            for field in features.multi_valued
            for number in _frequent(features, field)
        ),
    ]


def column_values(features: FeatureSet, inputs: Inputs) -> Tensor:
    """The columns of a batch, `(batch, columns)` float32."""
    parts = []
    if ranges := id_ranges(features):
        kinds = [kind for kind in ("categorical", "crossed") if getattr(features, kind)]
        ids = ops.concatenate([inputs[kind] for kind in kinds], axis=1)
        starts = np.array([range_.start for range_ in ranges], "int32")
        places = ops.cast(ops.subtract(ids, starts), "float32")
        parts.append(ops.where(ops.equal(ids, 0), np.float32("nan"), places))
    if features.numeric:
        numbers = ops.cast(inputs["numeric"], "float32")
        is_there = ops.logical_and(ops.isfinite(numbers), ops.not_equal(numbers, 0))
        parts.append(ops.where(is_there, numbers, np.float32("nan")))
    for field in features.multi_valued:
        values = np.array(_frequent(features, field), "int32")
        is_value = ops.equal(ops.expand_dims(inputs[field.name], -1), values)
        held = ops.cast(is_value, "float32")
        if field.weights_input is not None:
            held *= ops.expand_dims(ops.cast(inputs[field.weights_input], "float32"), -1)
        parts.append(ops.max(held, axis=1, initial=0.0))
    return ops.concatenate(parts, axis=1)


def _ids(features: FeatureSet, field: Feature) -> range:
    return features.id_ranges[features.vocabulary_name(field)]


def _frequent(features: FeatureSet, field: Feature) -> range:
    return _ids(features, field)[:_VALUES]
