"""Explaining tensors, averaged over rows."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np

from ctr_keras.explain.explainer import Explainer
from ctr_keras.types import Array


class Summary(NamedTuple):
    """Mean and standard deviation of one explaining tensor over rows.

    Attributes:
        mean: array of the tensor's shape without the batch.
        deviation: array of the same shape.
        rows: number of rows.
    """

    mean: Array
    deviation: Array
    rows: int


def summarize(explainer: Explainer, batches: Iterable[Mapping[str, Array]]) -> dict[str, Summary]:
    """Mean and standard deviation of what explains rows, one batch in memory at a time.

    Args:
        explainer: Explainer.
        batches: iterable of dicts of the packed inputs.

    Returns:
        A `Summary` of the score and of each explaining tensor.

    Raises:
        ValueError: if there are no rows.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import AutoInt
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> explainer = Explainer(AutoInt(features, layers=1, heads=1), features)
    >>> summary = summarize(explainer, [{"categorical": np.array([[2], [3]])}])["attention"]
    >>> summary.mean.tolist(), summary.rows
    ([[[[1.0]]]], 2)
    """
    sums: dict[str, Array] = {}
    squares: dict[str, Array] = {}
    rows = 0
    for inputs in batches:
        explained = explainer(inputs)
        rows += len(explained["score"])
        for name, tensor in explained.items():
            values = keras.ops.convert_to_numpy(tensor).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + values.sum(axis=0)
            squares[name] = squares.get(name, 0.0) + np.square(values).sum(axis=0)
    if not rows:
        raise ValueError("there are no rows to average over")
    summaries = {}
    for name, total in sums.items():
        mean = total / rows
        variance = np.maximum(squares[name] / rows - mean**2, 0.0)
        summaries[name] = Summary(mean, np.sqrt(variance), rows)
    return summaries
