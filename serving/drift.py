"""Whether requests are still like the training rows: a server's log next to prepared data.

What is compared is what `ctr-keras prepare` has counted: of each feature the most frequent values,
or buckets of numbers, by the measures of `ctr-keras stats`.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ctr_keras.features import Categorical, Crossed, FeatureSet, MultiValued, Numeric
from ctr_keras.features import Sequence as SequenceFeature
from ctr_keras.features.weights import without_weight
from ctr_keras.files import files_below, open_output
from ctr_keras.pages import render
from pipeline.statistics.distance import distance
from pipeline.statistics.files import read_summary
from pipeline.times import time_part
from serving.tensors import to_array
from serving.types import Array

_SIGNATURES = ("", "serving_default", "explain")  # whose inputs are rows
_MISSING: dict[str, bytes | float] = {"string": b"", "float": float("nan")}
_SCORE = "score"

Described: TypeAlias = Categorical | Numeric | MultiValued | SequenceFeature  # in the statistics


@dataclasses.dataclass(frozen=True)
class FeatureDrift:
    """One feature in training rows and in requests.

    Attributes:
        name: str.
        measure: str. `"Jensen-Shannon"` or `"L-infinity"`.
        distance: float or None. None where one of them has no values.
        missing: pair of floats. The shares of rows without a value.
        values: list. Of each value or bucket its name and both shares.
    """

    name: str
    measure: str
    distance: float | None
    missing: tuple[float, float]
    values: list[tuple[str, float, float]]

    def broken(self, limit: float) -> Iterator[str]:
        """What is above the limit, a line each."""
        if self.distance is not None and self.distance > limit:
            yield f"{self.name} drifts by {self.distance:.3g} ({self.measure})"
        train, served = self.missing
        if abs(served - train) > limit:
            yield f"{self.name} is missing in {served:.1%} of the requests' rows, not {train:.1%}"


@dataclasses.dataclass(frozen=True)
class Drift:
    """What `measure_drift` finds.

    Attributes:
        model: str. Whose requests they are.
        rows: int. How many rows they have.
        left_out: int. Requests that have no rows, such as those of `rank`.
        click_rate: float or None. That of training.
        score: float or None. The mean of the scores that were answered.
        features: list of FeatureDrift, the farthest first.
    """

    model: str
    rows: int
    left_out: int
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
        ValueError: if no request can be compared, or they are of several models.

    Example:

    A log and prepared data are needed:

    >>> measure_drift("logs", "data/ml").broken(0.1)  # doctest: +SKIP
    ['zip drifts by 0.31 (L-infinity)']
    """
    summary = read_summary(data)
    features = FeatureSet.load(os.path.join(data, "features.json"))
    if not summary["splits"]["train"]["rows"]:
        raise ValueError(f"{data} has no training rows to compare requests with")
    tallies = [
        _Tally(feature, summary["features"][feature.name])
        for feature in features.features
        if not isinstance(feature, Crossed) and feature.name in summary["features"]
    ]
    rows, left_out, scores, names = 0, 0, [0.0, 0], set()
    for record in _records(log):
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
        columns = _columns(features, record.predict_log.request)
        rows += len(next(iter(columns.values())))
        for tally in tallies:
            tally.add(columns[tally.feature.raw_column])
        if _SCORE in record.predict_log.response.outputs:
            answered = to_array(record.predict_log.response.outputs[_SCORE])
            scores = [scores[0] + float(answered.sum()), scores[1] + answered.size]
    if not rows:
        raise ValueError(f"{log} has no requests with rows{f' to model {model}' if model else ''}")
    found = [_compare(tally, summary, features.label.negatives_kept) for tally in tallies]
    return Drift(
        names.pop(),
        rows,
        left_out,
        summary["splits"]["train"]["click_rate"],
        scores[0] / scores[1] if scores[1] else None,
        sorted(found, key=lambda feature: -(feature.distance or 0.0)),
    )


def _records(log: str) -> Iterator[prediction_log_pb2.PredictionLog]:
    files = [file.path for file in files_below(log) if file.path.endswith(".tfrecord")]
    if not files:
        raise FileNotFoundError(f"there is no .tfrecord file in {log}")
    for path in files:
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                yield prediction_log_pb2.PredictionLog.FromString(record)
        except tf.errors.DataLossError:
            pass  # a server is writing the rest


def _has_rows(record: prediction_log_pb2.PredictionLog) -> bool:
    request = record.predict_log.request
    return request.model_spec.signature_name in _SIGNATURES and bool(request.inputs)


def _columns(features: FeatureSet, request: predict_pb2.PredictRequest) -> dict[str, Array]:
    """The raw columns of a request's rows; what it leaves out is missing."""
    given = {name: to_array(proto).ravel() for name, proto in request.inputs.items()}
    rows = max(map(len, given.values()))
    return {
        name: np.broadcast_to(given.get(name, np.array([_MISSING[kind]])), [rows])
        for name, kind in features.raw_columns.items()
    }


class _Tally:
    """What is counted of a feature in requests.

    Attributes:
        feature: a feature that is not crossed.
        buckets: list of dict. Its values in the statistics of training, or buckets of numbers.
        rows: int.
        missing: int. Rows without a value.
        values: int. Values; of lists those in them.
        counts: array. Values by bucket.
    """

    def __init__(self, feature: Described, described: Mapping[str, Any]):
        self.feature = feature
        self.buckets = described["values"]
        self.rows = self.missing = self.values = 0
        self.counts = np.zeros(len(self.buckets))
        self._ends = [bucket.get("high") for bucket in self.buckets[:-1]]
        self._places = {bucket.get("value"): place for place, bucket in enumerate(self.buckets)}

    def add(self, column: Array) -> None:
        """Counts rows of the feature's raw column."""
        self.rows += len(column)
        if isinstance(self.feature, Numeric):
            values = column[np.isfinite(column)]
            self.missing += len(column) - len(values)
            # Numbers beyond the last bucket belong to it, others to the next that ends above them.
            places = np.searchsorted(self._ends, values)
            if self.buckets:  # or training has no numbers
                self.counts += np.bincount(places, minlength=len(self.counts))
            self.values += len(values)
            return
        lists = _texts(self.feature, column)
        self.missing += sum(not values for values in lists)
        self.values += sum(map(len, lists))
        for text in itertools.chain.from_iterable(lists):
            if text in self._places:
                self.counts[self._places[text]] += 1


def _texts(feature: Described, column: Array) -> list[list[str]]:
    """The values of each row."""
    if isinstance(feature, Categorical) and feature.time_part:
        column = time_part(tf.constant(column, tf.string), feature.time_part, feature.zone).numpy()
    texts = [value.decode("utf-8", "replace") for value in column]
    if isinstance(feature, MultiValued | SequenceFeature):
        return [[item for item in _items(feature, text) if item] for text in texts]
    return [[text] if text else [] for text in texts]


def _items(feature: MultiValued | SequenceFeature, text: str) -> list[str]:
    items = text.split(feature.separator)
    if isinstance(feature, MultiValued) and feature.weight_separator:
        return [without_weight(item, feature.weight_separator) for item in items]
    return items


def _compare(tally: _Tally, summary: Mapping[str, Any], negatives_kept: float) -> FeatureDrift:
    """A feature's drift, as `pipeline.statistics` has that of a split."""
    described = summary["features"][tally.feature.name]
    train = described["splits"]["train"]
    if "length" in train:  # each item of a list counts, and there it is not said with which label
        total, kept = train["length"]["mean"] * (train["rows"] - train["missing"]), 1.0
    else:
        kept = negatives_kept
        total = _weighed(train["rows"], summary["splits"]["train"]["click_rate"], kept)
        total -= _weighed(train["missing"], train["missing_click_rate"], kept)
    rows = [_weighed(b["rows"]["train"], b["click_rate"]["train"], kept) for b in tally.buckets]
    shares = np.array(rows) / max(total, 1.0), tally.counts / max(tally.values, 1)
    both = bool(total and tally.values)
    return FeatureDrift(
        tally.feature.name,
        described["drift"]["measure"],
        distance(*shares, isinstance(tally.feature, Numeric)) if both else None,
        (train["missing_share"], tally.missing / tally.rows),
        [
            (_named(bucket), *pair)
            for bucket, *pair in zip(tally.buckets, *(s.tolist() for s in shares), strict=True)
        ],
    )


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
