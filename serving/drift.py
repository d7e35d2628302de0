"""Whether requests are still like the training rows: a server's log next to prepared data.

What is compared is what `ctr-keras prepare` has counted: of each feature the most frequent values,
or buckets of numbers, by the measures of `ctr-keras stats`.
"""

import collections
import dataclasses
import importlib.resources
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ctr_keras.features import Categorical, Crossed, Feature, FeatureSet, MultiValued, Numeric
from ctr_keras.features import Sequence as SequenceFeature
from ctr_keras.files import exists, files_below, open_output, read_json
from pipeline import statistics
from pipeline.statistics.distance import distance
from pipeline.times import time_part
from serving.tensors import to_array
from serving.types import Array

_SIGNATURES = ("", "serving_default", "explain")  # whose inputs are rows
_MISSING: dict[str, str | float] = {"string": b"", "float": float("nan")}
_SCORE = "score"


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
        template = importlib.resources.files(__package__).joinpath("drift.html")
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        page = environment.from_string(template.read_text(encoding="utf-8"))
        with open_output(path) as file:
            file.write(page.render(drift=self).encode())


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
    path = os.path.join(data, statistics.FILE)
    if not exists(path):
        raise FileNotFoundError(f"there is no {path}: {data} is no prepared data set")
    features, summary = FeatureSet.load(os.path.join(data, "features.json")), read_json(path)
    if not summary["splits"]["train"]["rows"]:
        raise ValueError(f"{path} has no training rows to compare requests with")
    records = [r for r in _records(log) if model in (None, r.log_metadata.model_spec.name)]
    names = sorted({record.log_metadata.model_spec.name for record in records})
    if len(names) > 1:
        raise ValueError(f"{log} has requests to several models; --model is {', '.join(names)}")
    requests = [r.predict_log for r in records if _has_rows(r)]
    if not requests:
        raise ValueError(f"{log} has no requests with rows{f' to model {model}' if model else ''}")
    columns = _columns(features, [request.request for request in requests])
    found = [
        _compare(feature, columns[feature.raw_column], summary, features.label.negatives_kept)
        for feature in features.features
        if not isinstance(feature, Crossed) and feature.name in summary["features"]
    ]
    scores = [to_array(r.response.outputs[_SCORE]).ravel() for r in requests if _scored(r)]
    return Drift(
        names[0],
        len(next(iter(columns.values()))),
        len(records) - len(requests),
        summary["splits"]["train"]["click_rate"],
        float(np.concatenate(scores).mean()) if scores else None,
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


def _scored(log: prediction_log_pb2.PredictLog) -> bool:
    return _SCORE in log.response.outputs


def _columns(features: FeatureSet, requests: list[predict_pb2.PredictRequest]) -> dict[str, Array]:
    """The raw columns of all rows; what a request leaves out is missing."""
    parts = collections.defaultdict(list)
    for request in requests:
        given = {name: to_array(proto).ravel() for name, proto in request.inputs.items()}
        rows = max(map(len, given.values()))
        for name, kind in features.raw_columns.items():
            column = given.get(name, np.array([_MISSING[kind]]))
            parts[name].append(np.broadcast_to(column, [rows]))
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def _compare(
    feature: Feature, column: Array, summary: Mapping[str, Any], negatives_kept: float
) -> FeatureDrift:
    """A feature's drift, as `pipeline.statistics` has that of a split."""
    described = summary["features"][feature.name]
    train, buckets = described["splits"]["train"], described["values"]
    served, missing = _served(feature, column)
    is_number = isinstance(feature, Numeric)
    if "length" in train:  # each item of a list counts, and there it is not said with which label
        total, kept = train["length"]["mean"] * (train["rows"] - train["missing"]), 1.0
    else:
        kept = negatives_kept
        total = _weighed(train["rows"], summary["splits"]["train"]["click_rate"], kept)
        total -= _weighed(train["missing"], train["missing_click_rate"], kept)
    rows = [_weighed(b["rows"]["train"], b["click_rate"]["train"], kept) for b in buckets]
    counts = _in_buckets(served, buckets) if is_number else _of_values(served, buckets)
    shares = np.array(rows) / max(total, 1.0), counts / max(len(served), 1)
    names = [_named(bucket) for bucket in buckets]
    return FeatureDrift(
        feature.name,
        described["drift"]["measure"],
        distance(*shares, is_number) if total and len(served) else None,
        (train["missing_share"], missing),
        list(zip(names, *(share.tolist() for share in shares), strict=True)),
    )


def _served(feature: Feature, column: Array) -> tuple[Array, float]:
    """The values in a raw column, those of lists one by one, and the share of rows without."""
    if isinstance(feature, Numeric):
        is_there = np.isfinite(column)
        return column[is_there], float(1 - is_there.mean())
    if isinstance(feature, Categorical) and feature.time_part:
        column = time_part(tf.constant(column, tf.string), feature.time_part, feature.zone).numpy()
    texts = [value.decode("utf-8", "replace") for value in column]
    if isinstance(feature, MultiValued | SequenceFeature):
        lists = [[item for item in text.split(feature.separator) if item] for text in texts]
    else:
        lists = [[text] if text else [] for text in texts]
    values = np.array([value for row in lists for value in row], object)
    return values, sum(not row for row in lists) / len(lists)


def _of_values(served: Array, values: list[dict[str, Any]]) -> Array:
    counts = collections.Counter(served.tolist())
    return np.array([counts[value["value"]] for value in values], float)


def _in_buckets(served: Array, buckets: list[dict[str, Any]]) -> Array:
    """Counts by bucket; numbers beyond the first and last, and between two, go to the next one."""
    ends = [bucket["high"] for bucket in buckets[:-1]]
    return np.bincount(np.searchsorted(ends, served), minlength=len(buckets)).astype(float)


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
