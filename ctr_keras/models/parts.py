"""What models begin and end with."""

from collections.abc import Sequence
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.layers import feature_inputs


def field_inputs(features: FeatureSet) -> dict[str, Any]:
    """The packed inputs that hold fields; a sequence is none, so models of fields do not take it.

    Args:
        features: FeatureSet.

    Returns:
        Name to `keras.Input`.

    Example:

    >>> from ctr_keras.features import Categorical, Label, Sequence
    >>> features = FeatureSet(
    ...     Categorical("a"), Sequence("s", vocabulary_of="a"), label=Label("y")
    ... )
    >>> list(field_inputs(features))
    ['categorical']
    """
    sequences = {feature.name for feature in features.sequences}
    return {k: v for k, v in feature_inputs(features).items() if k not in sequences}


def summed(logits: Sequence[Any]) -> Any:
    """The sum of a model's logits, in float32 whatever the policy, from a layer `logit`.

    Args:
        logits: list of tensors `(batch, 1)`.

    Returns:
        Tensor `(batch, 1)`.

    Example:

    >>> summed([keras.Input((1,)), keras.Input((1,))]).shape
    (None, 1)
    """
    if len(logits) == 1:
        return keras.layers.Activation("linear", dtype="float32", name="logit")(logits[0])
    return keras.layers.Add(dtype="float32", name="logit")(list(logits))


def probability(logit: Any) -> Any:
    """The click probability of a logit, in float32 whatever the policy, from a layer `score`.

    Args:
        logit: tensor `(batch, 1)`.

    Returns:
        Tensor `(batch, 1)` in (0, 1).

    Example:

    >>> probability(keras.Input((1,))).shape
    (None, 1)
    """
    return keras.layers.Activation("sigmoid", dtype="float32", name="score")(logit)
