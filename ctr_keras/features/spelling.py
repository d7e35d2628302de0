"""How vocabularies spell whole numbers, and a warning where the values of a frame are others.

A number has no spelling of its own. `columns.py` has `7` for 7.0 and `1` for True, as the pipeline
has of Parquet, but the vocabulary of a CSV file holds what stood there, such as `7.0` and `True`.
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ctr_keras.features.columns import Coded
from ctr_keras.features.declarations import Crossed

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet

Spelling: TypeAlias = Callable[[int], str]

_LOOKED_AT = 1000  # values of a vocabulary, the most frequent ones
_LEAST, _NEARLY_ALL = 20, 0.95  # rows, and the share of unknown values, that are warned of
_SHOWN, _LONG = 3, 40  # values of a message, characters of one


def _as_float(value: int) -> str:
    return f"{value}.0"


def _as_word(words: tuple[str, str], value: int) -> str:
    return words[value] if value in (0, 1) else str(value)


_WORDS = (("False", "True"), ("false", "true"), ("FALSE", "TRUE"))
_SPELLINGS: tuple[tuple[re.Pattern[str], Spelling], ...] = (
    (re.compile(r"-?\d+"), str),
    (re.compile(r"-?\d+\.0"), _as_float),
    *((re.compile("|".join(words)), functools.partial(_as_word, words)) for words in _WORDS),
)


def spellings(features: FeatureSet) -> dict[str, Spelling]:
    """By raw column of a fitted set, how the vocabulary of its values spells whole numbers, where
    True is 1; a column whose values are hashed has none."""
    vocabularies: dict[str, str] = {}
    for feature in features.features:
        name = features.vocabulary_name(feature)
        if not isinstance(feature, Crossed) and features.statistics.places(name):
            vocabularies.setdefault(feature.raw_column, name)
    values = features.statistics.values
    return {column: spelling_of(values[name]) for column, name in vocabularies.items()}


def spelling_of(values: Iterable[str]) -> Spelling:
    """The spelling of most of the first values that are whole numbers, True or False.

    Example:

    >>> spelling_of(["7.0", "nobody"])(3), spelling_of(["false", "true"])(1), spelling_of([])(1)
    ('3.0', 'true', '1')
    """
    first = [*itertools.islice(values, _LOOKED_AT)]
    counts = [sum(map(bool, map(pattern.fullmatch, first))) for pattern, _ in _SPELLINGS]
    return _SPELLINGS[counts.index(max(counts))][1]


def warn_of_unknown(features: FeatureSet, values: Mapping[str, Coded]) -> None:
    """Warns of features nearly all of whose values are not in their vocabularies.

    A single value says nothing, in however many rows: it may be that of a new user.
    """
    for feature in features.features:
        known = features.statistics.places(features.vocabulary_name(feature))
        if isinstance(feature, Crossed) or not known or len(values[feature.name].codes) < _LEAST:
            continue
        counts = values[feature.name].counts()
        unknown = [value for value in counts if value not in known]
        share = sum(counts[value] for value in unknown) / max(counts.total(), 1)
        if len(unknown) > 1 and counts.total() >= _LEAST and share >= _NEARLY_ALL:
            warnings.warn(
                f"column {feature.raw_column!r}: {share:.0%} of the values are unknown, such as "
                f"{_examples(unknown)}; in training there were {_examples(known)}: spell them "
                "alike",
                stacklevel=4,  # whoever calls `FeatureSet.pack` or `score`
            )


def _examples(values: Iterable[str]) -> str:
    return ", ".join(repr(value[:_LONG]) for value in itertools.islice(values, _SHOWN))
