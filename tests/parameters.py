"""Parameters of tests: which of them the suite has, and which `make test-all` alone."""

from collections.abc import Iterable
from typing import Any

import keras
import pytest

_IS_JAX = keras.backend.backend() == "jax"
# For what is the same on both backends where each step is: the suite has it on TensorFlow.
whole_on_jax = pytest.mark.whole if _IS_JAX else lambda test: test
WHOLE_ON_JAX = [pytest.mark.backend, *([pytest.mark.whole] if _IS_JAX else [])]  # of a parameter


def first_of(values: Iterable[Any], count: int = 1) -> list:
    """Parameters whose code is the same: the suite has the first ones, the whole suite has all."""
    return [
        value if number < count else _in_the_whole(value) for number, value in enumerate(values)
    ]


def _in_the_whole(value: Any) -> Any:
    if isinstance(value, type(pytest.param())):
        return pytest.param(*value.values, id=value.id, marks=[*value.marks, pytest.mark.whole])
    values = value if isinstance(value, tuple) else [value]
    return pytest.param(*values, marks=pytest.mark.whole)
