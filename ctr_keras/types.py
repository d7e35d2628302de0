"""The types that signatures name. Keras and its backends have none of their own, so some stand for
`Any`: their names say what is meant, to a reader and to whoever gives them a real type later."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

Tensor: TypeAlias = Any  # of the backend, or symbolic
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Shape: TypeAlias = tuple[Any, ...]  # sizes, None for one that is not known
Variable: TypeAlias = Any  # `keras.Variable`
Inputs: TypeAlias = Mapping[str, Tensor]  # the packed inputs, by name
Rows: TypeAlias = tuple[Mapping[str, Array], Array]  # packed inputs and labels, (rows, width) each
WeightedRows: TypeAlias = tuple[Mapping[str, Array], Array, Array]  # and weights, (rows,)
Initializer: TypeAlias = Any  # what `keras.initializers.get` takes; likewise below
Regularizer: TypeAlias = Any
Activation: TypeAlias = str | Callable[[Tensor], Tensor] | None
LearningRate: TypeAlias = Any  # float, schedule of `keras.optimizers.schedules` or function
Config: TypeAlias = dict[str, Any]  # what `get_config` returns, and JSON takes
Settings: TypeAlias = Mapping[str, Any]  # by name, as YAML gives them
