"""Served requests on disk, as TensorFlow Serving logs them: a sample of each model's, as TFRecords.

A file holds `PredictionLog` messages, as warm-up requests are: one can be copied to a version's
`assets.extra/tf_serving_warmup_requests`. Requests wait for neither the disk nor the writing of
messages; what comes faster than it can be written is counted and left out.
"""

import contextlib
import functools
import itertools
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.codes import Code
from serving.server.background import Background
from serving.server.config import LogConfig, ModelConfig
from serving.server.errors import as_status_error
from serving.server.metrics import Metrics
from serving.server.savedmodel import Servable
from serving.server.signature import SignatureRunner
from serving.tensors import to_proto
from serving.types import Arrays

log = logging.getLogger(__name__)

Record: TypeAlias = Callable[[], prediction_log_pb2.PredictionLog]  # called where nobody waits


def of_messages(kind: str, request: Any, response: Any) -> Record:
    """What is logged of a call that has messages; `kind` is a field of `PredictionLog`."""

    def record() -> prediction_log_pb2.PredictionLog:
        made = prediction_log_pb2.PredictionLog()
        getattr(made, kind).request.CopyFrom(request)
        getattr(made, kind).response.CopyFrom(response)
        return made

    return record


def of_arrays(name: str, signature: SignatureRunner, inputs: Arrays, outputs: Arrays) -> Record:
    """What is logged of a prediction that has arrays, by a signature of that name."""

    def record() -> prediction_log_pb2.PredictionLog:
        made = prediction_log_pb2.PredictionLog()
        request, response = made.predict_log.request, made.predict_log.response
        request.model_spec.signature_name = response.model_spec.signature_name = name
        for alias, array in inputs.items():
            request.inputs[alias].CopyFrom(to_proto(array, signature.inputs[alias]))
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(to_proto(array, signature.outputs[alias]))
        return made

    return record


class RequestLog:
    """Writes a sample of the requests to models that have a `logging_config`.

    Args:
        metrics: Metrics. Where it is counted what became of sampled requests.
        max_bytes: int. The size at which a file is followed by the next.

    Example:

    >>> request_log = RequestLog(Metrics(), 64 << 20)
    >>> request_log.configure([])
    >>> request_log.stop()
    """

    def __init__(self, metrics: Metrics, max_bytes: int):
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._configs: dict[str, LogConfig] = {}  # by model
        self._files: dict[str, _Files] = {}  # by prefix; the thread's own
        self._background = Background("request_log")

    def configure(self, models: Iterable[ModelConfig]) -> None:
        """Says which models' requests to log from now on."""
        self._configs = {model.name: model.log for model in models if model.log}
        if self._configs:
            self._background.start()

    def offer(self, servable: Servable, record: Record) -> None:
        """Logs a request that was answered, if it is sampled; never waits and never fails."""
        config = self._configs.get(servable.name)
        if config is None or random.random() >= config.sampling_rate:
            return
        if not self._background.offer(functools.partial(self._write, servable, record, config)):
            self._metrics.logged_requests.add(servable.name, Code.RESOURCE_EXHAUSTED.name)

    def stop(self, seconds: float | None = None) -> None:
        """Writes what waits, for so long at most."""
        if self._background.stop(seconds):
            for files in self._files.values():
                files.close()

    def _write(self, servable: Servable, record: Record, config: LogConfig) -> None:
        files = self._files.setdefault(config.prefix, _Files(config.prefix, self._max_bytes))
        try:
            made = record()
            metadata = made.log_metadata
            metadata.model_spec.name = servable.name
            metadata.model_spec.version.value = servable.version
            metadata.sampling_config.sampling_rate = config.sampling_rate
            metadata.timestamp_secs = int(time.time())
            files.write(made.SerializeToString(), flush=self._background.is_idle)
        except Exception as error:  # of the disk, which must not end the log
            files.close()
            status = as_status_error(error)
            self._metrics.logged_requests.add(servable.name, status.code.name)
            files.complain(f"Cannot log requests of model {servable.name}: {status}")
        else:
            self._metrics.logged_requests.add(servable.name, "OK")
            files.complain("")


class _Files:
    """The files of one prefix, of which the last is open."""

    def __init__(self, prefix: str, max_bytes: int):
        self._prefix = prefix
        self._max_bytes = max_bytes
        self._numbers = itertools.count()
        self._writer: tf.io.TFRecordWriter | None = None
        self._bytes = 0
        self._complaint = ""

    def write(self, record: bytes, flush: bool) -> None:
        writer = self._writer
        if writer is None or self._bytes + len(record) > self._max_bytes:
            self.close()
            writer = self._open()
        writer.write(record)
        self._bytes += len(record)
        if flush:
            writer.flush()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer:
            with contextlib.suppress(tf.errors.OpError):
                writer.close()

    def complain(self, complaint: str) -> None:
        """Says what goes wrong, once until it is something else."""
        if complaint and complaint != self._complaint:
            log.error("%s", complaint)
        self._complaint = complaint

    def _open(self) -> tf.io.TFRecordWriter:
        if folder := os.path.dirname(self._prefix):
            tf.io.gfile.makedirs(folder)
        place = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(self._numbers):04d}"
        self._writer, self._bytes = tf.io.TFRecordWriter(f"{self._prefix}-{place}.tfrecord"), 0
        return self._writer
