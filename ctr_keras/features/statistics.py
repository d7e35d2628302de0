"""What the training split decides: the values of each vocabulary, and statistics of numbers.

In a prepared folder the values are in the transform graph's vocabulary file, in the format of
`pipeline.vocabulary` (a header with the sizes, then the name and the values of each vocabulary),
and the statistics are in `numbers.json`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ctr_keras.features.layout import Vocabulary
from ctr_keras.types import Array

if TYPE_CHECKING:
    from ctr_keras.features.feature_set import FeatureSet

NUMBERS_FILE = "numbers.json"
_VOCABULARY_FILES = ("transform_fn/assets/vocabulary", "vocabulary")  # prepared, saved

Numbers = Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What a feature set needs in addition to its declaration to pack a frame.

    Attributes:
        values: by counted vocabulary, its values in the order of their ids.
        numbers: by feature, the `min_max` low and high, the `z_score` mean and standard deviation,
            or the boundaries between `quantiles`.
    """

    values: Mapping[str, Sequence[str]]
    numbers: Numbers

    def places(self, vocabulary: str) -> Mapping[str, int]:
        """The place of each value of a vocabulary, from 0; none of one that is not counted."""
        return self._places.get(vocabulary, {})

    @functools.cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {name: {v: i for i, v in enumerate(of)} for name, of in self.values.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of values in each counted vocabulary."""
        return {name: len(values) for name, values in self.values.items()}

    def save(self, folder: str | os.PathLike[str], vocabularies: Sequence[Vocabulary]) -> None:
        """Writes both files, of these vocabularies alone."""
        sizes = {v.name: len(self.values[v.name]) for v in vocabularies if v.is_counted}
        with open(os.path.join(folder, _VOCABULARY_FILES[1]), "wb") as file:
            file.write(json.dumps(sizes).encode() + b"\n")
            for vocabulary in vocabularies:
                keys = (f"{vocabulary.name}={v}" for v in self.values.get(vocabulary.name, ()))
                file.writelines(f"{line}\n".encode() for line in (vocabulary.name, *keys))
        with open(os.path.join(folder, NUMBERS_FILE), "w", encoding="utf-8") as text:
            json.dump(self.numbers, text)


def load_statistics(folder: str | os.PathLike[str], features: FeatureSet) -> Statistics:
    """The statistics in a folder that `prepare` or `Statistics.save` wrote."""
    sizes = features.vocabulary_sizes or {}
    values = _read_values(folder, features.vocabularies, sizes) if sizes else {}
    learned = [f.name for f in features.features if learns_numbers(f)]
    path = numbers_file(folder)
    if not learned:
        return Statistics(values, {})
    if path is None:
        missing = os.path.join(folder, NUMBERS_FILE)
        raise FileNotFoundError(
            f"there is no {missing} with the statistics of {', '.join(learned)}: an earlier "
            "version has prepared these data; prepare them again"
        )
    with open(path, encoding="utf-8") as file:
        try:
            return Statistics(values, {name: tuple(of) for name, of in json.load(file).items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no statistics of numbers: {error}") from error


def vocabulary_file(folder: str | os.PathLike[str]) -> str | None:
    """The file in a prepared or saved folder that has the values of the vocabularies, if any."""
    paths = (os.path.join(folder, name) for name in _VOCABULARY_FILES)
    return next((path for path in paths if os.path.exists(path)), None)


def numbers_file(folder: str | os.PathLike[str]) -> str | None:
    """The file in a prepared or saved folder that has the statistics of numbers, if any."""
    path = os.path.join(folder, NUMBERS_FILE)
    return path if os.path.exists(path) else None


def _read_values(
    folder: str | os.PathLike[str], vocabularies: Iterable[Vocabulary], sizes: Mapping[str, int]
) -> dict[str, list[str]]:
    path = vocabulary_file(folder)
    if path is None:
        missing = os.path.join(folder, _VOCABULARY_FILES[0])
        raise FileNotFoundError(f"{folder} holds no vocabularies: there is no {missing}")
    with open(path, "rb") as file:
        lines = file.read().decode().split("\n")
    values, line = {}, 1  # after the header
    for vocabulary in vocabularies:
        stop = line + 1 + sizes.get(vocabulary.name, 0)
        prefix = f"{vocabulary.name}="
        if lines[line] != vocabulary.name or json.loads(lines[0]) != sizes:
            raise ValueError(f"{path} is not the vocabulary file of these features")
        if vocabulary.is_counted:
            values[vocabulary.name] = [key.removeprefix(prefix) for key in lines[line + 1 : stop]]
        line = stop
    return values


# Statistics of numbers: by scale, of the present values or of their sums.


def learns_numbers(feature: object) -> bool:
    """Whether the training split decides how a feature is scaled."""
    return getattr(feature, "scale", None) in ("min_max", "z_score", "quantiles")


def extremes(values: Array) -> tuple[float, float]:
    """Low and high of float32 values; of none the infinities."""
    return float(np.min(values, initial=np.inf)), float(np.max(values, initial=-np.inf))


def mean_and_deviation(count: float, total: float, squares: float) -> tuple[float, float]:
    """Of the number of values, their sum and that of their squares; zeros of none."""
    if not count:
        return 0.0, 0.0
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean**2, 0.0)))


def quantiles(values: Array, buckets: int) -> tuple[float, ...]:
    """The boundaries between equally filled buckets, where the rows of one value count as one
    bucket at most: of counts most are zeros, and the others are told apart all the same.

    `ctr-keras prepare` takes them of a sample where there are more than 262,144 values.

    Example:

    >>> quantiles(np.arange(100), 4)
    (25.0, 50.0, 75.0)
    >>> quantiles(np.concatenate([np.zeros(1000), np.arange(1, 91)]), 4)
    (1.0, 31.0, 61.0)
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > buckets:
        size = _bucket_size(counts, buckets)
        filled = np.cumsum(np.minimum(counts, size))
        places = np.searchsorted(filled, size * np.arange(1, buckets), side="right")
        return tuple(distinct[places].astype(float).tolist())
    boundaries = distinct[1:].astype(float).tolist()  # a bucket for each value
    last = float(distinct[-1]) if len(distinct) else 0.0
    return (*boundaries, *[last] * (buckets - 1 - len(boundaries)))


def _bucket_size(counts: Array, buckets: int) -> float:
    """How many rows are in each bucket, if values of more rows have one of their own: those are the
    `n` most frequent ones, where the next is no larger than an equal part of what they leave."""
    frequent = np.sort(counts)[::-1][:buckets]
    left = counts.sum() - np.cumsum(frequent) + frequent
    sizes = left / np.arange(buckets, 0, -1)
    return float(sizes[np.argmax(frequent <= sizes)])
