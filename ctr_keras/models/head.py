"""What all models end with."""

from typing import Any

import keras


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
