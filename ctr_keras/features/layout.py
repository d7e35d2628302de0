"""The ids of a feature set.

Id layout. All ids of a feature set are global: they index one embedding table.

- Id 0 is padding and the missing value.
- Then come the vocabularies in the order of their declaration, those of `Crossed` features last.
  A vocabulary holds its out-of-vocabulary (OOV) ids first, then its values by falling frequency in
  the training split, ties broken by value. Where it has grown, the new values follow in the same
  order: a value keeps its place in its vocabulary for ever, and `growth.py` says what that means
  for global ids.
- A hashed feature has `hash_buckets` ids and no OOV ids; buckets of a number have one id each.
"""

import dataclasses
from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A named range of global ids, owned by one feature and possibly shared by others.

    Attributes:
        name: name of the owning feature.
        min_count: values seen less often in the training split are out of vocabulary.
        oov_buckets: number of ids for values outside the vocabulary.
        hash_buckets: number of ids if values are hashed and nothing is counted, else None.
        number_buckets: number of ids if the values are buckets of a number, else None.
    """

    name: str
    min_count: int = 1
    oov_buckets: int = 1
    hash_buckets: int | None = None
    number_buckets: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the values come from the training data rather than from the declaration."""
        return self.hash_buckets is None and self.number_buckets is None

    @property
    def fixed_ids(self) -> int:
        """Ids that exist whatever the data: hash or number buckets, or the OOV ids."""
        return self.hash_buckets or self.number_buckets or self.oov_buckets


def id_ranges(vocabularies: Iterable[Vocabulary], sizes: Mapping[str, int]) -> dict[str, range]:
    """Global ids of every vocabulary, its OOV ids first.

    Args:
        vocabularies: list of `Vocabulary`, in the order of their ids.
        sizes: dict. Number of values in each counted vocabulary.

    Example:

    >>> id_ranges([Vocabulary("user"), Vocabulary("city", hash_buckets=10)], {"user": 3})
    {'user': range(1, 5), 'city': range(5, 15)}
    """
    ranges: dict[str, range] = {}
    start = 1
    for vocabulary in vocabularies:
        stop = start + vocabulary.fixed_ids + sizes.get(vocabulary.name, 0)
        ranges[vocabulary.name] = range(start, stop)
        start = stop
    return ranges
