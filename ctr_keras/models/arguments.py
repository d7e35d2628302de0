"""Types of builders' arguments: what a wrong value must be is known before anything is built."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import keras
import pydantic

from ctr_keras.layers.field_embedding import initializer_or_spread
from ctr_keras.settings import Count, Fraction


def _accepted_by(get: Callable[[Any], Any], expected: str) -> pydantic.AfterValidator:
    """A check that a function of Keras takes a value, which stays as it is."""

    def check(value: Any) -> Any:
        try:
            get(value)
        except (TypeError, ValueError):
            raise ValueError(expected) from None
        return value

    return pydantic.AfterValidator(check)


Hidden: TypeAlias = Annotated[Sequence[Count], pydantic.Field(min_length=1)]  # widths of a tower
Dropout: TypeAlias = Fraction
Penalty: TypeAlias = pydantic.NonNegativeFloat
KernelInitializer: TypeAlias = Annotated[
    Any, _accepted_by(keras.initializers.get, "an initializer of Keras, such as 'glorot_uniform'")
]
EmbeddingsInitializer: TypeAlias = Annotated[
    Any,
    _accepted_by(
        initializer_or_spread,
        "an initializer of Keras, such as 'glorot_uniform', or a standard deviation",
    ),
]
