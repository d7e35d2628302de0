"""A split of prepared data, however it is read."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ctr_keras.data.records import (
    as_arrays,
    read_examples,
    row_bytes,
    row_count,
    stream_examples,
)
from ctr_keras.features import FeatureSet
from ctr_keras.settings import BoolOrAuto
from ctr_keras.types import Rows

_AUTO_RESIDENT = 512 << 20  # bytes


class Examples(Protocol):
    """What training reads: batches of packed inputs, `(batch, width)`, and `(batch, labels)`.

    `Model.fit` takes them on TensorFlow and on JAX.

    Attributes:
        count: int. Rows.
    """

    @property
    def count(self) -> int:
        """Number of rows."""

    def read(self, batch_size: int, *, drop_remainder: bool = False) -> Iterable[Rows]:
        """One pass, in an order that is always the same.

        Args:
            batch_size: int. Rows in a batch; the last one may have fewer.
            drop_remainder: bool. Whether to leave such a last batch out, as
                `keras.distribution.DataParallel` needs batches that its devices can divide.
                Defaults to `False`.

        Raises:
            ValueError: if that leaves no batch.
        """

    def stream(
        self, batch_size: int, *, seed: int, skip_batches: int = 0, drop_remainder: bool = False
    ) -> Iterable[Rows]:
        """Endless epochs, each shuffled anew, the same for the same seed.

        Args:
            batch_size: int. Rows in a batch; the last one of an epoch may have fewer.
            seed: int. Order of the rows.
            skip_batches: int. Batches to leave out, to go on where a run stopped: the rest is
                what would have come. Defaults to `0`.
            drop_remainder: bool. Whether to leave such last batches out, of other rows in each
                epoch. Defaults to `False`.

        Raises:
            ValueError: if that leaves no batch.
        """


def open_examples(
    prepared: str,
    split: str,
    features: FeatureSet,
    *,
    inputs: Sequence[str] | None = None,
    cache: str = "",
    resident: BoolOrAuto = False,
) -> Examples:
    """Opens a split to be read as often as needed.

    Args:
        prepared: str. The folder that `ctr-keras prepare` wrote.
        split: str. `"train"`, `"validation"` or `"test"`.
        features: FeatureSet.
        inputs: list of str or None. Packed inputs to read, and the label's weight, if it has one.
            Defaults to `None`: all packed inputs.
        cache: str. A folder on a local disk for decoded copies, made at the first use and then
            memory-mapped. Defaults to `""`: parse the TFRecords in every pass.
        resident: bool or str. Whether to keep the split in memory: on JAX that of the accelerator.
            With `"auto"`, if it takes at most 512 MiB there. Defaults to `False`: memory does not
            grow with the data.

    Returns:
        `Examples`. Cached and resident ones have one order, TFRecords another: these are shuffled
        in blocks of 32 MiB of decoded rows, from a few shards side by side.

    Raises:
        FileNotFoundError: if there are no files of that split, naming folder and split.
        ValueError: if the split has no rows, or its files have another number of them than the
            report says.

    Example, of data that `ctr-keras prepare` wrote:

        train = open_examples("data/ml", "train", features, cache="cache")
        model.fit(train.stream(1024, seed=0), steps_per_epoch=100)
    """
    if row_count(prepared, split) == 0:
        raise ValueError(f"the {split} split of {prepared} has no rows")
    if resident == "auto":
        size = row_count(prepared, split) * row_bytes(features, inputs)
        resident = size <= _AUTO_RESIDENT
    if not cache and not resident:
        return _Records(prepared, split, features, inputs)
    from ctr_keras.data import arrays

    if cache:
        from ctr_keras.data.cache import open_cache

        decoded = open_cache(cache, prepared, split, features)
    else:
        decoded = arrays.decode(prepared, split, features, inputs)
    names = features.packed_shapes if inputs is None else inputs
    rows = ({name: decoded[name] for name in names}, decoded[features.label.name])
    if resident:
        from ctr_keras.data.resident import resident as in_memory

        return in_memory(rows)
    return arrays.ArrayExamples(rows)


@dataclasses.dataclass(frozen=True)
class _Records:
    """TFRecords, parsed in every pass; what one pass has been built for serves the next ones."""

    prepared: str
    split: str
    features: FeatureSet
    inputs: Sequence[str] | None
    _passes: dict[tuple[int, bool], Any] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def count(self) -> int:
        return row_count(self.prepared, self.split)

    def read(self, batch_size: int, *, drop_remainder: bool = False) -> Iterable[Rows]:
        kind = (batch_size, drop_remainder)
        if kind not in self._passes:
            self._passes[kind] = read_examples(
                self.prepared,
                self.split,
                self.features,
                batch_size,
                self.inputs,
                drop_remainder=drop_remainder,
            )
        return as_arrays(self._passes[kind], self.prepared, self.split)

    def stream(
        self, batch_size: int, *, seed: int, skip_batches: int = 0, drop_remainder: bool = False
    ) -> Iterable[Rows]:
        batches: Iterable[Rows] = stream_examples(
            self.prepared,
            self.features,
            batch_size,
            seed=seed,
            split=self.split,
            skip_batches=skip_batches,
            inputs=self.inputs,
            drop_remainder=drop_remainder,
        )
        return batches
