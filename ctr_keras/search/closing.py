"""Which gates of a trained model stay open: as many as asked for, or as few as rows need.

Gates are closed in rising order of their size. What is left is judged by rows that the model was
not trained on, as if it were trained again without what was closed:

- Interactions also carry what their fields say one by one, which a linear logit learns as well. So
  a gate that closes takes away its interaction's own part alone: what is left of the term where the
  mean of each field's embedding is taken off.
- A model that knows its training rows by heart is too sure of others. So the open part and the rest
  have a factor each, those that fit the rows best.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import keras
import numpy as np

from ctr_keras.layers import EmbeddingGate, GatedInteraction
from ctr_keras.models.calibration import score_layer
from ctr_keras.models.parts import PART_SCALER
from ctr_keras.settings import Count
from ctr_keras.types import Array, Inputs, Tensor

Keep: TypeAlias = Count | Literal["auto"] | None

_ROWS = 20_000  # to judge by, at most
_CELLS = 50_000_000  # the same, times the gates
_BATCH_SIZE = 4096
_ERRORS = 2.0  # standard errors that count as noise
_EACH, _BEYOND = 100, 40  # counts that are tried one by one, and how many of the larger ones
_NEWTON_STEPS = 12
_TINY = 1e-12


class Gated(Protocol):
    """The gates of a trained model on some rows."""

    @property
    def values(self) -> Array:
        """The gates in one row."""

    def logits(self, is_open: Array) -> Array:
        """The model's logits of the rows, where these gates are open and the others closed."""


@dataclasses.dataclass(frozen=True)
class Tried:
    """Rows with so many of the largest gates open."""

    gates: int
    log_loss: float
    excess: float  # over the least log loss
    error: float  # standard error of the excess


class Judge:
    """Judges by the clicks of rows which gates may close.

    Args:
        gated: Gated.
        labels: array. The clicks of its rows.
    """

    def __init__(self, gated: Gated, labels: Array) -> None:
        self._gated = gated
        self._labels = np.ravel(labels).astype("float64")
        self._closed = gated.logits(np.zeros(len(gated.values), bool))

    def tried(self) -> list[Tried]:
        """By count, the rows with so many of the largest gates open."""
        order = ranked(self._gated.values)
        counts = _counts(len(order))
        losses = [self.losses(largest(self._gated.values, count)) for count in counts]
        best = min(losses, key=np.mean)
        return [
            Tried(count, float(each.mean()), *_mean_and_error(each - best))
            for count, each in zip(counts, losses, strict=True)
        ]

    def gains(self) -> Array:
        """By how much the log loss falls where one gate is open, and no other."""
        closed = np.zeros(len(self._gated.values), bool)
        none = self.losses(closed).mean()
        alone = np.eye(len(closed), dtype=bool)
        return np.array([none - self.losses(one).mean() for one in alone])

    def effects(self, is_open: Array) -> Array:
        """By how much the log loss grows where one open gate closes, NaN for a closed one."""
        effects, places = np.full(len(is_open), np.nan), np.arange(len(is_open))
        effects[is_open] = self.worth(is_open, (places == one for one in places[is_open]))
        return effects

    def worth(self, is_open: Array, parts: Iterable[Array]) -> list[float]:
        """By how much the log loss grows where the open gates of each part close together."""
        loss = self.losses(is_open).mean()
        return [float(self.losses(is_open & ~part).mean() - loss) for part in parts]

    def losses(self, is_open: Array) -> Array:
        """The log loss of each row."""
        columns = [np.ones_like(self._closed), self._closed]
        if is_open.any():
            columns.append(self._gated.logits(is_open) - self._closed)
        logits = _fitted(np.stack(columns, axis=1).astype("float64"), self._labels)
        losses: Array = np.logaddexp(0, logits) - self._labels * logits
        return losses


def choose(values: Array, keep: Keep, judge: Judge | None) -> tuple[Array, list[Tried]]:
    """Which gates stay open, and how rows fare by count of open gates.

    Args:
        values: array. The gates.
        keep: int, `"auto"` or None. So many of the largest, as few of them as the judge allows, or
            all that are not zero.
        judge: Judge or None, without rows to judge by.
    """
    tried = [] if judge is None else judge.tried()
    if keep is None:
        return values != 0, tried
    return largest(values, fewest(tried) if keep == "auto" else keep), tried


def fewest(tried: Sequence[Tried]) -> int:
    """The least count of open gates that is no worse than any other but by noise.

    Example:

    >>> fewest([Tried(0, 0.6, 0.1, 0.01), Tried(1, 0.51, 0.01, 0.01), Tried(2, 0.5, 0.0, 0.0)])
    1
    """
    return next(one.gates for one in tried if one.excess <= _ERRORS * one.error)


def ranked(values: Array) -> Array:
    """The places of open gates, the largest first."""
    order = np.argsort(-np.abs(values), kind="stable")
    places: Array = order[values[order] != 0]
    return places


def largest(values: Array, count: int) -> Array:
    """Whether each gate is one of so many of the largest.

    Example:

    >>> largest(np.array([0.1, -0.5, 0.0]), 1).tolist()
    [False, True, False]
    """
    is_open = np.zeros(len(values), bool)
    is_open[ranked(values)[:count]] = True
    return is_open


def _counts(gates: int) -> list[int]:
    """From none to all: each of the first ones, and then some, ever further apart."""
    few = range(min(gates, _EACH) + 1)
    many = np.geomspace(_EACH, gates, _BEYOND).astype(int).tolist() if gates > _EACH else []
    return sorted({*few, *many, gates})


def _mean_and_error(values: Array) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def _fitted(columns: Array, labels: Array) -> Array:
    """The logits of a logistic regression on a few columns, by Newton's method from nothing on."""
    columns = columns / np.maximum(np.sqrt(np.square(columns).mean(axis=0)), _TINY)
    logits, weights = np.zeros(len(columns)), np.zeros(columns.shape[1])
    for _ in range(_NEWTON_STEPS):
        scores = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        weighted = columns * (scores * (1 - scores))[:, None]
        curvature = weighted.T @ columns + np.eye(len(weights))
        weights += np.linalg.solve(curvature, columns.T @ (labels - scores) - weights)
        logits = columns @ weights
    return logits


class GatedTerms:
    """The gates of interactions. One that is closed leaves what its fields say one by one."""

    def __init__(
        self, model: keras.Model, layers: Sequence[GatedInteraction], inputs: Inputs
    ) -> None:
        self.values = np.concatenate([_numpy(layer.gates) for layer in layers])
        logit = logit_of(model)
        scalers = [layer for layer in model.layers if layer.name.startswith(PART_SCALER)]
        is_sum = all(layer.summed for layer in layers) and not scalers
        outputs = {"logit": logit, "fields": [layer.input for layer in layers]}
        outputs["terms"] = [layer.output for layer in layers]
        probed = predicted(keras.Model(model.input, outputs), inputs)
        self._logit = probed["logit"][:, 0]
        own = [_own(layer, each) for layer, each in zip(layers, probed["fields"], strict=True)]
        self._own = np.concatenate(own, axis=1)
        self._ends = np.cumsum([each.shape[1] for each in own])[:-1]
        self._inputs, self._terms = inputs, probed["terms"]
        self._summed = [layer.summed for layer in layers]
        self._rest = None if is_sum else keras.Model([model.input, outputs["terms"]], logit)

    def logits(self, is_open: Array) -> Array:
        """What is closed is taken off the logit, or off what the rest of the model makes one of."""
        logits: Array
        if self._rest is None:
            logits = self._logit - self._own[:, ~is_open].sum(axis=1)
            return logits
        closed = np.split(np.where(is_open, 0.0, self._own), self._ends, axis=1)
        terms = [
            term - (own.sum(axis=1, keepdims=True) if summed else own)
            for term, own, summed in zip(self._terms, closed, self._summed, strict=True)
        ]
        logits = predicted(self._rest, [self._inputs, terms])[:, 0]
        return logits


class GatedDimensions:
    """The gates of embeddings' dimensions, which are normalized to a mean of zero."""

    def __init__(self, model: keras.Model, layers: Sequence[EmbeddingGate], inputs: Inputs) -> None:
        self._gates = [layer.gates for layer in layers]
        self._model = keras.Model(model.input, logit_of(model))
        self._inputs = inputs
        self.values = np.concatenate([_numpy(gates).ravel() for gates in self._gates])

    def logits(self, is_open: Array) -> Array:
        assign(self._gates, np.where(is_open, self.values, 0.0))
        logits: Array = predicted(self._model, self._inputs)[:, 0]
        assign(self._gates, self.values)
        return logits


def assign(variables: Sequence[keras.Variable], values: Array) -> None:
    """Gives variables the values that stand in one row."""
    ends = np.cumsum([int(np.prod(variable.shape)) for variable in variables])
    for variable, part in zip(variables, np.split(values, ends[:-1]), strict=True):
        variable.assign(part.reshape(variable.shape))


def rows_to_judge(gates: int) -> int:
    """How many rows to judge by: as many as fit into memory, each with a term for each gate."""
    return min(_ROWS, max(_CELLS // gates, 1))


def _own(layer: GatedInteraction, fields: Array) -> Array:
    """The terms of interactions without what their fields say one by one.

    All interaction functions are linear in each field's embedding, so that it is the term of the
    embeddings less their means, less what the normalization makes of nothing.
    """
    mean = fields.mean(axis=0, keepdims=True)

    def terms(fields: Array) -> Array:
        return _numpy(layer(fields, return_terms=True)[-1])

    parts = [terms(fields[rows] - mean) for rows in _batches(len(fields))]
    own: Array = np.concatenate(parts) - terms(np.zeros_like(mean))
    return own


def logit_of(model: keras.Model) -> Tensor:
    """What goes into a model's sigmoid."""
    score = score_layer(model)
    assert score is not None  # models that are searched end in a sigmoid
    return score.input


def _batches(rows: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH_SIZE) for start in range(0, rows, _BATCH_SIZE))


def predicted(model: keras.Model, inputs: Any) -> Any:
    """A model's outputs of rows, batch by batch: of few rows many times, so without what `predict`
    sets up each time."""

    def outputs(batch: slice) -> Any:
        return model.predict_on_batch(keras.tree.map_structure(lambda each: each[batch], inputs))

    parts = map(outputs, _batches(len(keras.tree.flatten(inputs)[0])))
    return keras.tree.map_structure(lambda *values: np.concatenate(values), *parts)


def _numpy(tensor: Tensor) -> Array:
    array: Array = keras.ops.convert_to_numpy(tensor)
    return array
