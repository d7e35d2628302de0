"""Warm-up: the requests that a model version brings along are run before it answers others."""

import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import Code, StatusError, invalid_argument
from serving.inference import predict
from serving.savedmodel import Servable

WARMUP_FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000

# The kind of a log record to what replays its request.
_REPLAY = {"predict_log": predict}


def load_warm(name: str, version: int, path: str | os.PathLike[str]) -> Servable:
    """Loads a version and replays its warm-up requests, so that no user pays for the first run.

    Args:
        name: str. The model's name.
        version: int. The version's number.
        path: path of the version's directory.

    Returns:
        A `Servable`.

    Raises:
        StatusError: if the SavedModel cannot be loaded or any of its warm-up requests fails.
    """
    servable = Servable(name, version, path)
    file = pathlib.Path(path) / WARMUP_FILE
    if file.exists():
        _replay(servable, file)
    return servable


def _replay(servable: Servable, file: pathlib.Path) -> None:
    count = 0
    for count, record in enumerate(_records(file), start=1):
        if count > MAX_RECORDS:
            raise invalid_argument(
                f"Number of warm-up records exceeds the maximum ({MAX_RECORDS}) in {file}"
            )
        kind = record.WhichOneof("log_type")
        if kind not in _REPLAY:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
        _REPLAY[kind](servable, getattr(record, kind).request)


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
