"""Raw columns as the signatures of an exported model take them.

A missing value is `""` in a string column and NaN in a float column, as TensorFlow Serving's JSON
has no null and wants every input in every row. Over gRPC an absent input, and in a tf.Example an
absent feature, mean the same.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctr_keras.features import Crossed, FeatureSet
from ctr_keras.types import Array
from serving.types import Arrays, Row

SCORE = "score"  # the name of the only one
_ARGUMENT = re.compile(r"(?!self$)[A-Za-z][A-Za-z0-9_]*")
MISSING: dict[str, str | float] = {"string": "", "float": float("nan")}


def argument_names(features: FeatureSet) -> dict[str, str]:
    """What a function of TensorFlow calls each raw column, as its arguments are identifiers: the
    column itself, or if it is none the first feature that reads it.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> columns = (Categorical("user"), Categorical("site", column="site id"))
    >>> argument_names(FeatureSet(*columns, label=Label("y")))
    {'user': 'user', 'site id': 'site'}
    """
    names = {column: column for column in features.raw_columns if _ARGUMENT.fullmatch(column)}
    for feature in features.features:
        if not isinstance(feature, Crossed) and feature.raw_column not in names:
            name = f"{feature.name}_" if feature.name in names.values() else feature.name
            names[feature.raw_column] = name
    return names


def score_names(features: FeatureSet) -> tuple[str, ...]:
    """What signatures call the scores: `score`, or by the labels if there are several.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> features = FeatureSet(Categorical("a"), label=[Label("click"), Label("buy")])
    >>> score_names(features)
    ('click', 'buy')
    """
    return (SCORE,) if len(features.tasks) == 1 else features.label_names


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
