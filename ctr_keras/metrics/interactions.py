"""How much a combination of fields says about the click, counted rather than learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ctr_keras.features import FeatureSet
from ctr_keras.metrics.binary import auc
from ctr_keras.types import Array

_MAX_CODE = 2**31  # the product of a code and a number of rows must fit into 64 bits


def field_codes(
    features: FeatureSet, *splits: Mapping[str, ArrayLike], fields: Sequence[str] | None = None
) -> list[dict[str, Array]]:
    """One small integer for each field and row, the same for the same value in all splits.

    A value is an id of a categorical or crossed field, a number, or the whole row of ids of a
    multi-valued field.

    Args:
        features: FeatureSet.
        *splits: dicts of the packed inputs, each array `(rows, columns)`.
        fields: list of str or None. Fields to code. Defaults to `None`: all.

    Returns:
        For each split a dict of int64 arrays `(rows,)` by field. The codes of a field over all
        splits are 0, 1, ... without gaps.

    Raises:
        ValueError: if a field is not one of the feature set.

    Example:

    >>> from ctr_keras.features import Categorical, Label, Numeric
    >>> features = FeatureSet(Categorical("site"), Numeric("price"), label=Label("click"))
    >>> train = {"categorical": [[7], [9]], "numeric": [[0.5], [0.5]]}
    >>> test = {"categorical": [[9], [8]], "numeric": [[0.5], [0.1]]}
    >>> for codes in field_codes(features, train, test):
    ...     print({name: code.tolist() for name, code in codes.items()})
    {'site': [0, 2], 'price': [1, 1]}
    {'site': [2, 1], 'price': [1, 0]}
    """
    names = features.field_names if fields is None else fields
    unknown = [name for name in names if name not in features.field_names]
    if unknown:
        raise ValueError(
            f"unknown fields {', '.join(unknown)}; available: {', '.join(features.field_names)}"
        )
    coded: list[dict[str, Array]] = [{} for _ in splits]
    for name in names:
        values = [_values(features, inputs, name) for inputs in splits]
        joined = np.concatenate(values)
        axis = 0 if joined.ndim == 2 else None  # rows of ids as a whole
        codes = np.unique(joined, axis=axis, return_inverse=True)[1].ravel()
        starts = np.cumsum([len(column) for column in values])[:-1]
        for codes_of_split, part in zip(coded, np.split(codes, starts), strict=True):
            codes_of_split[name] = part
    return coded


def statistics_auc(
    train: Sequence[ArrayLike],
    train_labels: ArrayLike,
    test: Sequence[ArrayLike],
    test_labels: ArrayLike,
) -> float:
    """AUC of an interaction's click-through rate (CTR): statistics_AUC of AutoFIS.

    A test row's score is the CTR of its combination of values in the training rows, or that of all
    training rows for a combination that they lack.

    Args:
        train: list of int arrays `(rows,)`, the codes of each field of the interaction.
        train_labels: array of 0 and 1 `(rows,)`.
        test: list of int arrays, the same fields in the same order, coded alike.
        test_labels: array of 0 and 1 `(rows,)`.

    Returns:
        A number in [0, 1]; 0.5 says nothing about the click.

    Raises:
        ValueError: if fields or sizes differ, a code is negative, a label is not 0 or 1, or the
            test rows have one class only.

    Example:

    >>> train = [[0, 0, 1, 1], [0, 1, 0, 1]]  # the click is an exclusive or
    >>> statistics_auc(train, [0, 1, 1, 0], train, [0, 1, 1, 0])
    1.0
    >>> statistics_auc(train[:1], [0, 1, 1, 0], train[:1], [0, 1, 1, 0])
    0.5

    References:
        [AutoFIS](https://arxiv.org/abs/2003.11235), Section 4.5.1.
    """
    train, train_labels = _checked(train, train_labels)
    test, test_labels = _checked(test, test_labels)
    if len(train) != len(test):
        raise ValueError(f"the splits must have the same fields, got {len(train)} and {len(test)}")
    joined = [np.concatenate(columns) for columns in zip(train, test, strict=True)]
    combined = _combined(joined)
    rows = train_labels.size
    views, clicks = _counts(combined[:rows], train_labels, combined.max() + 1)
    rates = np.full(views.size, train_labels.mean())
    seen = views > 0
    rates[seen] = clicks[seen] / views[seen]
    return auc(test_labels, rates[combined[rows:]])


def mutual_information(fields: Sequence[ArrayLike], labels: ArrayLike) -> float:
    """Mutual information of a combination of values and the click, in nats.

    `MI = H(y) - H(y | values) = -sum_y P(y) log P(y) + sum_(values, y) P(values, y) log P(y |
    values)` with the shares of rows as probabilities. Combinations with few rows make it too
    large: a combination seen once looks as if it told the click for certain.

    Args:
        fields: list of int arrays `(rows,)`, the codes of each field.
        labels: array of 0 and 1 `(rows,)`.

    Returns:
        A number in [0, log 2], at most the entropy of the label.

    Raises:
        ValueError: if sizes differ, a code is negative, or a label is not 0 or 1.

    Example:

    >>> round(mutual_information([[0, 0, 1, 1], [0, 1, 0, 1]], [0, 1, 1, 0]), 4)  # log 2
    0.6931
    >>> mutual_information([[0, 0, 1, 1]], [0, 1, 1, 0])
    0.0

    References:
        [OptInter](https://arxiv.org/abs/2108.01265), Section III-G, Equation 21.
    """
    fields, labels = _checked(fields, labels)
    combined = _combined(fields)
    views, clicks = _counts(combined, labels, combined.max() + 1)
    clicks, views = clicks[views > 0], views[views > 0]
    conditional = (views * _entropy(clicks / views)).sum() / labels.size
    return max(float(_entropy(labels.mean()) - conditional), 0.0)  # not -1e-17


def _values(features: FeatureSet, inputs: Mapping[str, ArrayLike], name: str) -> Array:
    """A field's column of the packed inputs, or its matrix if it is multi-valued."""
    for packed in ("categorical", "numeric", "crossed"):
        names = [field.name for field in getattr(features, packed)]
        if name in names:
            return np.asarray(inputs[packed])[:, names.index(name)]
    return np.asarray(inputs[name])


def _checked(fields: Sequence[ArrayLike], labels: ArrayLike) -> tuple[list[Array], Array]:
    columns, labels = [np.ravel(column) for column in fields], np.ravel(labels)
    sizes = [column.size for column in columns]
    if not columns or not labels.size or set(sizes) != {labels.size}:
        raise ValueError(
            "fields and labels must have the same length, at least 1, "
            f"got {sizes} codes and {labels.size} labels"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    for column in columns:
        is_code = np.issubdtype(column.dtype, np.integer) and column.min() >= 0
        if not is_code or column.max() >= _MAX_CODE:
            raise ValueError(f"codes must be integers from 0 to 2**31, got {column}")
    return [column.astype(np.int64) for column in columns], labels.astype(np.float64)


def _combined(columns: Sequence[Array]) -> Array:
    """One code for each distinct combination of codes."""
    combined = np.zeros_like(columns[0])
    for column in columns:
        combined = combined * (column.max() + 1) + column
        if combined.max() > 4 * combined.size:  # counting beats sorting while there is room
            combined = np.unique(combined, return_inverse=True)[1].ravel()
    return combined


def _counts(codes: Array, labels: Array, size: int) -> tuple[Array, Array]:
    """Rows and clicks of each code."""
    return np.bincount(codes, minlength=size), np.bincount(codes, labels, minlength=size)


def _entropy(rates: Array) -> Array:
    """Of clicks that come at these rates, in nats; 0 log 0 is 0."""
    inner = np.clip(rates, np.finfo(np.float64).tiny, 1.0)
    outer = np.clip(1 - rates, np.finfo(np.float64).tiny, 1.0)
    entropy: Array = -(rates * np.log(inner) + (1 - rates) * np.log(outer))
    return entropy
