"""The rows that a search learns from: a split of prepared data, or arrays."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.settings import BoolOrAuto
from ctr_keras.types import Array, Inputs, Rows

if TYPE_CHECKING:
    from ctr_keras.data import Examples


class SearchRows:
    """Rows to learn from or to score.

    Args:
        features: FeatureSet.
        source: str or tuple. The folder that `ctr-keras prepare` wrote, or packed inputs by name
            and their labels.
        split: str. Which rows of a folder. Defaults to `"train"`.
    """

    def __init__(self, features: FeatureSet, source: str | Rows, split: str = "train") -> None:
        self._features = features
        self._source = source
        self._split = split

    @property
    def data(self) -> str | None:
        """The folder of prepared data, None for arrays."""
        return self._source if isinstance(self._source, str) else None

    @property
    def count(self) -> int:
        """Number of rows."""
        if not isinstance(self._source, str):
            return len(self._source[1])
        return self._opened(self._source).count

    def held_out(self) -> tuple["SearchRows", "SearchRows"]:
        """Rows to learn from and others to judge by: of prepared data the validation split, of
        arrays every tenth row.

        Raises:
            ValueError: where there are none.
        """
        if isinstance(self._source, str):
            rows, others = self, SearchRows(self._features, self._source, "validation")
        else:
            inputs, labels = self._source
            is_held_out = np.arange(len(labels)) % 10 == 9
            rows, others = (
                SearchRows(
                    self._features,
                    ({name: values[chosen] for name, values in inputs.items()}, labels[chosen]),
                )
                for chosen in (~is_held_out, is_held_out)
            )
        if not others.count:
            raise ValueError(
                "there are no validation rows to choose by: give some, or set another keep"
            )
        return rows, others

    def stream(
        self, model: keras.Model, batch_size: int, seed: int, skip: int = 0
    ) -> Iterable[Rows]:
        """Endless epochs, each shuffled anew: batches of the inputs of a model, and labels.

        Args:
            model: keras.Model on packed inputs.
            batch_size: int. Rows in a batch; the last one of an epoch may have fewer.
            seed: int. Order of the rows.
            skip: int. Batches to leave out, to go on where a search stopped. Defaults to `0`.
        """
        names = [tensor.name for tensor in model.inputs]
        if not isinstance(self._source, str):
            return _stream_arrays(*self._source, names, batch_size, seed, skip)
        examples = self._opened(self._source, names, resident="auto")
        return examples.stream(batch_size, seed=seed, skip_batches=skip)

    def _opened(
        self, prepared: str, inputs: Sequence[str] | None = None, resident: BoolOrAuto = False
    ) -> "Examples":
        from ctr_keras.data import open_examples  # here, as searches of arrays need no TensorFlow

        return open_examples(
            prepared, self._split, self._features, inputs=inputs, resident=resident
        )

    def arrays(self, count: int) -> Rows:
        """Packed inputs by name and labels of the first `count` rows, a random sample."""
        if isinstance(self._source, str):
            from ctr_keras.data import read_rows

            return read_rows(self._source, self._split, self._features, count)
        inputs, labels = self._source
        return {name: values[:count] for name, values in inputs.items()}, labels[:count]

    def inputs_of(self, model: keras.Model, count: int) -> Inputs:
        """The inputs of a model for the rows of `arrays`."""
        inputs, _ = self.arrays(count)
        return {tensor.name: inputs[tensor.name] for tensor in model.inputs}

    def score(self, model: keras.Model) -> tuple[Array, Array]:
        """Labels and a model's scores, each (rows,)."""
        if isinstance(self._source, str):
            from ctr_keras.training import predict_split

            return predict_split(model, self._features, self._source, self._split)
        inputs, labels = self._source
        used = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
        return np.ravel(labels), np.ravel(model.predict(used, batch_size=4096, verbose=0))


def both_splits(
    features: FeatureSet, train: str | Rows, validation: str | Rows | None
) -> tuple[SearchRows, SearchRows | None]:
    """The rows to learn from, and those held out, if there are any."""
    held_out = None if validation is None else SearchRows(features, validation, "validation")
    return SearchRows(features, train), held_out


def _stream_arrays(
    inputs: Mapping[str, Array],
    labels: Array,
    names: Sequence[str],
    batch_size: int,
    seed: int,
    skip: int,
) -> Iterator[Rows]:
    labels = np.reshape(labels, (-1, 1)).astype("float32")
    epoch, skipped = divmod(skip, -(-len(labels) // batch_size))
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for start in range(skipped * batch_size, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield {name: inputs[name][chosen] for name in names}, labels[chosen]
        epoch, skipped = epoch + 1, 0
