"""Attention weights out of a model: as a model of their own, and their averages over rows."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from ctr_keras.layers import InteractingLayer, MultiInteractive

Array = np.ndarray[Any, Any]


class Summary(NamedTuple):
    """Mean and standard deviation of one kind of weights over rows.

    Attributes:
        mean: array of the weights' shape without the batch.
        deviation: array of the same shape.
        rows: number of rows.
    """

    mean: Array
    deviation: Array
    rows: int


def attention_model(model: keras.Model) -> keras.Model:
    """A model from the same inputs to the attention weights of AutoInt's and MIAN's layers.

    The weights are copies of the model's, which stays as it is.

    Args:
        model: functional keras.Model with `InteractingLayer` or `MultiInteractive` layers.

    Returns:
        A model whose output is a dict: by the name of an `InteractingLayer` its weights `(batch,
        heads, fields, fields)`, and `behaviors`, `user`, `context` and `global` of a
        `MultiInteractive` layer, as far as it has these modules.

    Raises:
        ValueError: if the model has no such weights.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import AutoInt
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), label=Label("y"), vocabulary_sizes={"a": 3, "b": 3}
    ... )
    >>> weights = attention_model(AutoInt(features, layers=1, heads=2))
    >>> tuple(weights({"categorical": np.array([[2, 6]])})["interacting_0"].shape)
    (1, 2, 2, 2)

    References:
        [AutoInt](https://arxiv.org/abs/1810.11921), Section 5.4;
        [MIAN](https://arxiv.org/abs/2012.06968), Section 4.7.3.
    """
    weights: dict[str, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, InteractingLayer):
            output, weights[layer.name] = layer(*args, **kwargs, return_attention_scores=True)
        elif isinstance(layer, MultiInteractive):
            output, modules = layer(*args, **kwargs, return_attention_scores=True)
            weights.update(modules)
        else:
            output = layer(*args, **kwargs)
        return output

    # A clone, as a second call of the model's own layers would leave traces in them.
    clone = keras.models.clone_model(model, call_function=call)
    if not weights:
        raise ValueError(f"{model.name} has no attention weights: no AutoInt, no MIAN")
    clone.set_weights(model.get_weights())
    return keras.Model(clone.input, weights, name=f"{model.name}_attention")


def summarize_attention(
    attention: keras.Model, batches: Iterable[Mapping[str, Any]]
) -> dict[str, Summary]:
    """Mean and standard deviation of attention weights over rows, one batch in memory at a time.

    Args:
        attention: keras.Model from `attention_model`.
        batches: iterable of dicts of the packed inputs.

    Returns:
        A `Summary` for each of the model's outputs.

    Raises:
        ValueError: if there are no rows.

    Example:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import AutoInt
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    >>> weights = attention_model(AutoInt(features, layers=1, heads=1))
    >>> summary = summarize_attention(weights, [{"categorical": np.array([[2], [3]])}])
    >>> summary["interacting_0"].mean.tolist(), summary["interacting_0"].rows
    ([[[1.0]]], 2)
    """
    sums: dict[str, Array] = {}
    squares: dict[str, Array] = {}
    rows = 0
    for inputs in batches:
        weights = attention.predict_on_batch(dict(inputs))
        rows += len(next(iter(weights.values())))
        for name, batch in weights.items():
            values = np.asarray(batch).astype(np.float64)
            sums[name] = sums.get(name, 0.0) + values.sum(axis=0)
            squares[name] = squares.get(name, 0.0) + np.square(values).sum(axis=0)
    if not rows:
        raise ValueError("there are no rows to average attention weights over")
    summaries = {}
    for name, total in sums.items():
        mean = total / rows
        variance = np.maximum(squares[name] / rows - mean**2, 0.0)
        summaries[name] = Summary(mean, np.sqrt(variance), rows)
    return summaries


def global_parts(layer: MultiInteractive) -> list[str]:
    """Names of the parts that MIAN's global module weighs, in the order of its weights.

    Args:
        layer: MultiInteractive.

    Example:

    >>> global_parts(MultiInteractive(context=False))
    ['e_i', 'e_c', 'e_b', 'e_u', 'R_ibim', 'R_iuim']

    References:
        [MIAN](https://arxiv.org/abs/2012.06968), Section 3, Equation 14.
    """
    modules = {"R_ibim": layer.behaviors, "R_iuim": layer.user, "R_icim": layer.context}
    return ["e_i", "e_c", "e_b", "e_u", *(name for name, module in modules.items() if module)]
