"""Keras inputs for the packed tensors of a feature set."""

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.types import Tensor


def feature_inputs(features: FeatureSet) -> dict[str, Tensor]:
    """One `keras.Input` for each packed input of a feature set.

    Args:
        features: FeatureSet.

    Returns:
        Name to input, in the order and shapes of `features.packed_shapes`: `numeric` float32, all
        others int32.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
    >>> inputs = feature_inputs(FeatureSet(Categorical("c"), Numeric("n"), label=Label("y")))
    >>> {name: (tensor.shape, tensor.dtype) for name, tensor in inputs.items()}
    {'categorical': ((None, 1), 'int32'), 'numeric': ((None, 1), 'float32')}
    """
    return {
        name: keras.Input(shape, dtype="float32" if name == "numeric" else "int32", name=name)
        for name, shape in features.packed_shapes.items()
    }
