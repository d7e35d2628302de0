"""Examples, which classify and regress take: features by name, each a list of one kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.client.model import ModelSpec
from serving.client.values import is_pandas
from serving.types import Row, Table, Value

Features = dict[str, list[Any]]  # all floats, all ints or all bytes
Classes = list[list[tuple[str, float]]]  # pairs of a label and its score, for each example


@dataclass(frozen=True)
class OfExamples:
    """What classify and regress ask: a signature's answer for examples, with what all share."""

    spec: ModelSpec
    signature_name: str
    examples: list[Features]
    context: Features

    @classmethod
    def of(
        cls, spec: ModelSpec, signature_name: str, examples: Table, context: Row | None
    ) -> "OfExamples":
        """Takes what users pass."""
        features = to_features(examples)
        return cls(spec, signature_name, features, to_features([context])[0] if context else {})


def to_features(examples: Table) -> list[Features]:
    """The features of each example; a value that is None is left out.

    Args:
        examples: sequence of dict: feature name to a value or a list of values, which are str,
            bytes, floats, or integers (True and False are 1 and 0). Or a pandas.DataFrame, whose
            missing values are left out.

    Raises:
        ValueError: if the values of a feature are of several kinds or of none of these.

    Example:

    >>> to_features([{"age": 31, "genres": ["drama", "war"], "price": None}])
    [{'age': [31], 'genres': [b'drama', b'war']}]
    """
    if is_pandas(examples, "DataFrame"):
        examples = examples.astype(object).where(examples.notna(), None).to_dict("records")
    return [
        {name: _feature(number, name, value) for name, value in row.items() if value is not None}
        for number, row in enumerate(examples, start=1)
    ]


def _feature(number: int, name: str, value: Value) -> list[Any]:
    values = np.array(value, object).reshape(-1).tolist()
    try:
        feature = [_plain(item) for item in values]
    except ValueError as error:
        raise ValueError(f"example {number}, feature {name}: {error}") from error
    if len({type(item) for item in feature}) > 1:
        raise ValueError(
            f"example {number}, feature {name}: values must be all strings, all floats or all "
            f"integers, got {value!r}"
        )
    return feature


def _plain(value: Value) -> bytes | float | int:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (bytes, float, int)):
        return value
    raise ValueError(f"expected a string, a float or an integer, got {value!r}")
