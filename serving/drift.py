"""Whether requests are still like the training rows: a server's log next to prepared data.

The logged rows are counted as `ctr-keras prepare` counts those of a log, and compared with those of
training as if they were its test split, by the measures of `ctr-keras stats`.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ctr_keras.features import FeatureSet
from ctr_keras.features.columns import numbers_of
from ctr_keras.files import files_below, open_output
from ctr_keras.pages import render
from pipeline.splits import SPLITS
from pipeline.statistics.columns import ROWS_HELD, count_columns
from pipeline.statistics.counted import Column, Counted
from pipeline.statistics.files import counted_of, read_summary
from pipeline.statistics.summary import Summary, summarize
from serving.tensors import to_array
from serving.types import Array, Arrays

_SIGNATURES = ("", "serving_default", "explain")  # whose inputs are rows
_MISSING: dict[str, bytes | float] = {"string": b"", "float": float("nan")}
_DTYPES = {"string": object, "float": np.float32}
_SCORE = "score"
_FRAME = 16  # bytes of lengths and checksums about a TFRecord
_SERVED = SPLITS.index("test")  # the split that the logged rows are taken for


@dataclasses.dataclass(frozen=True)
class FeatureDrift:
    """One feature in training rows and in requests.

    Attributes:
        name: str.
        measure: str. `"Jensen-Shannon"` or `"L-infinity"`.
        distance: float or None. None where one of them has no values.
        missing: pair of floats. The shares of rows without a value.
        new: pair of floats, or None. The shares of the values that training has not: in its
            validation or test split, whichever has more, and in requests. None of numbers.
        values: list. Of each value or bucket its name and both shares.
    """

    name: str
    measure: str
    distance: float | None
    missing: tuple[float, float]
    new: tuple[float, float] | None
    values: list[tuple[str, float, float]]

    @property
    def farthest(self) -> float:
        """By how much requests differ in the distance or in values that are new."""
        held_out, served = self.new or (0.0, 0.0)
        return max(self.distance or 0.0, served - held_out)

    def broken(self, limit: float) -> Iterator[str]:
        """What is above the limit, a line each."""
        if self.distance is not None and self.distance > limit:
            yield f"{self.name} drifts by {self.distance:.3g} ({self.measure})"
        train, served = self.missing
        if abs(served - train) > limit:
            yield f"{self.name} is missing in {served:.1%} of the requests' rows, not {train:.1%}"
        held_out, served = self.new or (0.0, 0.0)
        if served - held_out > limit:
            yield f"{self.name} has values new to training in {served:.1%}, not {held_out:.1%}"


@dataclasses.dataclass(frozen=True)
class Drift:
    """What `measure_drift` finds.

    Attributes:
        model: str. Whose requests they are.
        rows: int. How many rows they have.
        left_out: int. Requests that have no rows, such as those of `rank`.
        unread: list of str. What of the log is damaged, a line for each file.
        click_rate: float or None. That of training.
        score: float or None. The mean of the scores that were answered.
        features: list of FeatureDrift, the farthest first.
    """

    model: str
    rows: int
    left_out: int
    unread: list[str]
    click_rate: float | None
    score: float | None
    features: list[FeatureDrift]

    def broken(self, limit: float) -> list[str]:
        """What is above the limit, a line each."""
        return [line for feature in self.features for line in feature.broken(limit)]

    def write_page(self, path: str) -> None:
        """Writes one HTML page that needs no other file."""
        page = render(__package__, "drift.html", {}, drift=self)
        with open_output(path) as file:
            file.write(page.encode())


def measure_drift(log: str, data: str, model: str | None = None) -> Drift:
    """Compares the requests that a server has logged with the rows of training.

    Args:
        log: str. The folder of the log, in which files end in `.tfrecord`.
        data: str. The prepared data.
        model: str or None. Whose requests. Defaults to `None`: the only model in the log.

    Raises:
        FileNotFoundError: without statistics in `data`, or a log.
        ValueError: if no request can be compared, or they are of several models, or of other
            features than the data.

    Example:

    A log and prepared data are needed:

    >>> measure_drift("logs", "data/ml").broken(0.1)  # doctest: +SKIP
    ['zip drifts by 0.31 (L-infinity)']
    """
    summary = read_summary(data)
    features = FeatureSet.load(os.path.join(data, "features.json"))
    if not summary["splits"]["train"]["rows"]:
        raise ValueError(f"{data} has no training rows to compare requests with")
    rows, left_out, scores, names, unread = _Rows(features), 0, [0.0, 0], set(), list[str]()
    for record in _records(log, unread):
        name = record.log_metadata.model_spec.name
        if model not in (None, name):
            continue
        names.add(name)
        if len(names) > 1:
            several = ", ".join(sorted(names))
            raise ValueError(f"{log} has requests to several models; --model is one of {several}")
        if not _has_rows(record):
            left_out += 1
            continue
        try:
            rows.add(_columns(features, record.predict_log.request))
        except ValueError as error:
            raise ValueError(
                f"{log} and {data} are of other features: requests to {name} {error}; give the "
                "data that the model was trained on"
            ) from None
        if _SCORE in record.predict_log.response.outputs:
            answered = to_array(record.predict_log.response.outputs[_SCORE])
            scores = [scores[0] + float(answered.sum()), scores[1] + answered.size]
    if not rows.number:
        to_model = f" to model {model}" if model else ""
        raise ValueError(". ".join([f"{log} has no requests with rows{to_model}", *unread]))
    training = counted_of(data).moved((0, None, None))
    together = Counted.merge([training, rows.counted()])
    return Drift(
        names.pop(),
        rows.number,
        left_out,
        unread,
        summary["splits"]["train"]["click_rate"],
        scores[0] / scores[1] if scores[1] else None,
        sorted(_compare(together, summary, features), key=lambda found: -found.farthest),
    )


def _records(log: str, unread: list[str]) -> Iterator[prediction_log_pb2.PredictionLog]:
    """What is in the files; `unread` gets a line for each that is damaged."""
    files = [file for file in files_below(log) if file.path.endswith(".tfrecord")]
    if not files:
        raise FileNotFoundError(f"there is no .tfrecord file in {log}")
    for file in files:
        count = size = 0
        try:
            for record in tf.data.TFRecordDataset(file.path).as_numpy_iterator():
                yield prediction_log_pb2.PredictionLog.FromString(record)
                count, size = count + 1, size + len(record) + _FRAME
        except (tf.errors.DataLossError, DecodeError) as error:
            if "truncated" not in str(error):  # a server is writing the last one
                unread.append(
                    f"{file.path}: record {count + 1:,} is damaged; it and what follows, "
                    f"{1 - size / file.size:.0%} of the file, are not counted"
                )


def _has_rows(record: prediction_log_pb2.PredictionLog) -> bool:
    request = record.predict_log.request
    return request.model_spec.signature_name in _SIGNATURES and bool(request.inputs)


def _columns(features: FeatureSet, request: predict_pb2.PredictRequest) -> Arrays:
    """The raw columns of a request's rows; what it leaves out is missing."""
    given = {name: to_array(proto).ravel() for name, proto in request.inputs.items()}
    words: dict[str, list[Any]] = {
        "string": [word.encode() for word in features.missing],
        "float": numbers_of(features.missing),
    }
    for name, values in given.items():
        kind = features.raw_columns.get(name)
        if kind is None:
            raise ValueError(f"have a column {name!r}, which the data have not")
        if (values.dtype == object) != (kind == "string"):
            raise ValueError(f"have another type than {kind} in column {name!r}")
        if words[kind]:
            given[name] = np.where(np.isin(values, words[kind]), _MISSING[kind], values)
    rows = max(map(len, given.values()))
    return {
        name: np.broadcast_to(given.get(name, np.array([_MISSING[kind]], _DTYPES[kind])), [rows])
        for name, kind in features.raw_columns.items()
    }


class _Rows:
    """Rows of requests, counted block by block.

    Attributes:
        number: int. How many there are.
    """

    def __init__(self, features: FeatureSet):
        self.number = 0
        self._features = features
        self._held: list[Arrays] = []
        self._counted: list[Counted] = []

    def add(self, columns: Arrays) -> None:
        """Takes rows of the raw columns."""
        before, self.number = self.number, self.number + len(next(iter(columns.values())))
        self._held.append(columns)
        if before // ROWS_HELD < self.number // ROWS_HELD:
            self._count()

    def counted(self) -> Counted:
        """What was counted of all of them."""
        if self._held:
            self._count()
        return self._counted[0]

    def _count(self) -> None:
        raw = {
            name: _values(np.concatenate([columns[name] for columns in self._held]))
            for name in self._features.raw_columns
        }
        rows = np.zeros((len(next(iter(raw.values()))), 1 + len(self._features.label_names)))
        rows[:, 0] = _SERVED
        counted = count_columns(raw, rows.astype(np.int64), self._features)
        self._counted = [Counted.merge([*self._counted, counted])]
        self._held = []


def _values(column: Array) -> pa.Array:
    """A column as `pipeline` has it."""
    if column.dtype == object:
        return pa.array([value.decode("utf-8", "replace") for value in column], pa.string())
    return pa.array(column)


def _compare(together: Counted, summary: Summary, features: FeatureSet) -> Iterator[FeatureDrift]:
    """Each feature's drift, of training rows and those of requests in the place of the test split.

    `summary` is that of the prepared data.
    """
    kept = features.label.negatives_kept
    of_label = together.of_label(0)
    for name, found in summarize(together, features)["features"].items():
        is_number = found["kind"] == "numeric"
        train, served = (found["splits"][split]["missing_share"] for split in ("train", "test"))
        yield FeatureDrift(
            name,
            found["drift"]["measure"],
            found["drift"]["test"],
            (train, served),
            None if is_number else (_new(summary["features"][name]), _new(found)),
            list(_shares(found["values"], of_label.columns[name], kept)),
        )


def _new(found: Mapping[str, Any]) -> float:
    """The share of the values of the validation or the test split that training has not.

    Of a feature with many values it is estimated, by those whose hashes are smallest.
    """
    shares = [of["rows_share"] for of in found["unseen"].values()]
    return min(max((share for share in shares if share is not None), default=0.0), 1.0)


def _shares(
    values: list[Mapping[str, Any]], column: Column, negatives_kept: float
) -> Iterator[tuple[str, float, float]]:
    """Of each value or bucket its name, and its shares of training and of requests."""
    train = column.counts.total[0] @ [1 / negatives_kept, 1.0]
    served = column.counts.total[_SERVED].sum()
    for value in values:
        rows, rates = value["rows"], value["click_rate"]
        of_train = _weighed(rows["train"], rates["train"], negatives_kept)
        yield _named(value), of_train / max(train, 1.0), rows["test"] / max(served, 1)


def _weighed(rows: int, click_rate: float | None, negatives_kept: float) -> float:
    """Rows with those of label 0 that a sample has left out, of whose click rate that is true."""
    if not rows or click_rate is None:
        return 0.0
    clicks = rows * click_rate / (click_rate + negatives_kept * (1 - click_rate))
    return clicks + (rows - clicks) / negatives_kept


def _named(bucket: Mapping[str, Any]) -> str:
    if "value" in bucket:
        return str(bucket["value"])
    low, high = f"{bucket['low']:g}", f"{bucket['high']:g}"
    return low if low == high else f"{low} to {high}"
