"""Weights of a list's values: `sport:0.8` is the value `sport` of weight 0.8.

The last separator counts, so that a value may hold it, too. Where it or the weight is not there, as
in `sport` and `sport:`, the weight is 1.
"""

import re

import numpy as np

# Of a weight, to Python and to RE2, which TensorFlow and Arrow have.
WEIGHT = r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
NOT_A_WEIGHT = "is not a finite number of at least 0"
LARGEST = float(np.finfo(np.float32).max)

_WEIGHT = re.compile(WEIGHT, re.ASCII)
_IN_NUMBERS = re.compile(r"[\d.eE+-]")


def split_weight(item: str, separator: str) -> tuple[str, float]:
    """A value and its weight.

    Raises:
        ValueError: for another weight than a finite number of at least 0.

    Example:

    >>> split_weight("sport:0.8", ":"), split_weight("sport", ":"), split_weight("12:30:1e-3", ":")
    (('sport', 0.8), ('sport', 1.0), ('12:30', 0.001))
    """
    value = without_weight(item, separator)
    weight = item[len(value) + len(separator) :]
    if not weight:
        return value, 1.0
    if not _WEIGHT.fullmatch(weight) or float(weight) > LARGEST:
        raise ValueError(f"has the weight {weight!r}, which {NOT_A_WEIGHT}")
    return value, float(weight)


def without_weight(item: str, separator: str) -> str:
    """A value without its weight, whatever that is."""
    value, is_there, _ = item.rpartition(separator)
    return value if is_there else item


def check_separators(name: str, of_values: str, of_weight: str | None) -> None:
    """Checks that a feature's lists and weights can be told apart.

    Raises:
        ValueError: for separators of which one holds the other, or that numbers hold.
    """
    if of_weight is None:
        return
    if of_weight in of_values or of_values in of_weight:
        raise ValueError(
            f"feature {name!r}: separator and weight_separator must differ. "
            f"Received: {of_values!r} and {of_weight!r}"
        )
    if _IN_NUMBERS.search(of_weight):
        raise ValueError(
            f"feature {name!r}: weight_separator {of_weight!r} may stand in a number: take another"
        )
