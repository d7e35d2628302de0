"""The types that signatures of serving name."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Arrays: TypeAlias = dict[str, Array]  # by the name of an input or output
DTypes: TypeAlias = dict[str, int]  # input or output name to `DataType` enum value
Run: TypeAlias = Callable[[Arrays], Arrays]  # a signature: inputs to outputs
Json: TypeAlias = Any  # None, bool, int, float, str, a list, or a dict with names
