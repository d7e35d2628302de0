"""Raw columns as the signatures of an exported model take them.

A missing value is `""` in a string column and NaN in a float column, as TensorFlow Serving's JSON
has no null and wants every input in every row. Over gRPC an absent input, and in a tf.Example an
absent feature, mean the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ctr_keras.features import FeatureSet
from ctr_keras.types import Array
from serving.types import Arrays, Row

DTYPES = {"string": tf.string, "float": tf.float32}
KINDS = {dtype: kind for kind, dtype in DTYPES.items()}
MISSING: dict[str, str | float] = {"string": "", "float": float("nan")}


def raw_arrays(features: FeatureSet, rows: Sequence[Row]) -> Arrays:
    """Rows as the columns that the signatures take: arrays of bytes (dtype object) or float32.

    Example:

    >>> from ctr_keras.features import Label, Numeric
    >>> features = FeatureSet(Numeric("price"), label=Label("y"))
    >>> raw_arrays(features, [{"price": 1.5}, {"price": None}])
    {'price': array([1.5, nan], dtype=float32)}
    """
    return {name: column_values(rows, name, kind) for name, kind in features.raw_columns.items()}


def column_values(rows: Sequence[Row], name: str, kind: str) -> Array:
    """One raw column of rows, `"string"` or `"float"`, with what is missing filled in."""
    values: list[Any] = [MISSING[kind] if row[name] is None else row[name] for row in rows]
    if kind == "float":
        return np.array(values, np.float32)
    return np.array([value.encode() for value in values], object)
