"""Warm-up: the requests that a model version brings along are run before it answers others."""

import os
import pathlib
import time
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.codes import Code, StatusError, invalid_argument
from serving.server.inference import REPLAYED
from serving.server.metrics import Metrics
from serving.server.savedmodel import Servable
from serving.versions import WARMUP_FILE

MAX_RECORDS = 1000


def replay(servable: Servable, path: str | os.PathLike[str], metrics: Metrics) -> None:
    """Runs the warm-up requests of the version at `path`, if it has any; all must succeed."""
    file = pathlib.Path(path) / WARMUP_FILE
    if not file.exists():
        return
    started = time.monotonic()
    for count, record in enumerate(_records(file), start=1):
        if count > MAX_RECORDS:
            raise invalid_argument(
                f"Number of warm-up records exceeds the maximum ({MAX_RECORDS}) in {file}"
            )
        kind = record.WhichOneof("log_type")
        if kind not in REPLAYED:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
        REPLAYED[kind](servable, getattr(record, kind).request)
        metrics.warmup_records.add(str(path), "OK")
    metrics.warmup_latency.add(str(path), "OK", value=1e6 * (time.monotonic() - started))


def _records(file: pathlib.Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record: {error}") from error
    except tf.errors.DataLossError as error:
        raise StatusError(
            Code.DATA_LOSS,
            f"{error.message} Please verify your warmup data is in TFRecord format.",
        ) from error
