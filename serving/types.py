"""The types that signatures of serving name."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

DType: TypeAlias = np.dtype[Any]
Array: TypeAlias = np.ndarray[Any, DType]
Arrays: TypeAlias = dict[str, Array]  # by the name of an input or output
DTypes: TypeAlias = dict[str, int]  # input or output name to `DataType` enum value
Run: TypeAlias = Callable[[Arrays], Arrays]  # a signature: inputs to outputs
Value: TypeAlias = Any  # what users pass for a column in a row: a string, a number, None, a list
Row: TypeAlias = Mapping[str, Value]  # by the name of a column
Table: TypeAlias = Any  # a dict of columns, rows, or a pandas.DataFrame
Json: TypeAlias = Any  # None, bool, int, float, str, a list, or a dict with names
