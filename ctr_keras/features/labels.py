"""What the value of a label means: a click or none."""

import re

from ctr_keras.features.declarations import Label

_POSITIVE = frozenset(("true", "yes", "t", "y"))
_NEGATIVE = frozenset(("false", "no", "f", "n"))
_NUMBERS = {1.0: True, 0.0: False, -1.0: False}
_NUMBER = re.compile(r"[+-]?\d+\.?\d*", re.ASCII)


def is_positive(label: Label, value: str) -> bool | None:
    """Whether a value is positive; `None` for one that is neither that nor negative.

    Where the label declares no values, `1`, `true`, `yes`, `t` and `y` are positive and `0`, `-1`,
    `false`, `no`, `f` and `n` negative, in upper or lower case, numbers in any spelling (`1.0`).
    Each value is decided for itself, whatever others the column has. A missing value, `""`, is
    neither unless it is declared.

    Example:

    >>> [is_positive(Label("click"), value) for value in ("1.0", "TRUE", "-1", "2", "")]
    [True, True, False, None, None]
    >>> [is_positive(Label("stars", positive=["4", "5"]), value) for value in ("5", "3", "")]
    [True, False, None]
    """
    if label.positive:
        is_other = value != "" if not label.negative else value in label.negative
        return value in label.positive or (False if is_other else None)
    spelled = value.strip().lower()
    if _NUMBER.fullmatch(spelled):
        return _NUMBERS.get(float(spelled))
    return spelled in _POSITIVE or (False if spelled in _NEGATIVE else None)


def remedy(label: Label) -> str:
    """What to do about a value that is neither positive nor negative."""
    if label.positive:
        return "which is neither in positive nor in negative: add it to one of them"
    return (
        "not 0 or 1 (or true and false, yes and no, 1 and -1): declare what it means, as in "
        f'label: {{column: {label.name}, positive: ["yes"]}}'
    )
