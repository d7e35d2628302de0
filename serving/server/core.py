"""What both front ends share: the models, kept up to date, and what is counted."""

import contextlib
import logging
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.codes import StatusError, invalid_argument
from serving.server import config
from serving.server.batching import BatchingOptions, BatchScheduler
from serving.server.loading import Batching, Loader
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.options import Options, ShadowOption
from serving.server.request_log import Record, RequestLog
from serving.server.savedmodel import Servable
from serving.server.shadow import Shadow
from serving.server.tracing import NoTracing, Tracing
from serving.versions import find_models

log = logging.getLogger(__name__)


class Core:
    """Finds, loads and updates the models that the options ask for.

    Attributes:
        manager: ModelManager. Lends the models.
        metrics: Metrics.
        tracing: NoTracing. What makes spans, if they are wanted.

    Raises:
        OSError: if a file or folder that the options name cannot be read.
        StatusError: if such a file makes no sense.
        RuntimeError: if spans are wanted of a library that is not installed.
    """

    def __init__(self, options: Options):
        self.metrics = Metrics()
        self.tracing = Tracing() if options.tracing else NoTracing()
        self._log = RequestLog(self.metrics, options.request_log_max_bytes)
        self._options = options
        self._batching = _batching(options)
        iterations = max(1, options.num_request_iterations_for_warmup)
        loader = Loader(
            self.metrics,
            frozenset(options.saved_model_tags.split(",")),
            self._batching,
            iterations if options.enable_model_warmup else 0,
            options.enable_signature_method_name_check,
        )
        self.manager = ModelManager(
            loader,
            max_load_retries=options.load_retries,
            load_retry_seconds=options.load_retry_interval_micros / 1e6,
            load_threads=options.num_load_threads,
            labels_may_wait=options.allow_version_labels_for_unavailable_models,
        )
        chosen = options.shadow and ShadowOption.of(options.shadow)
        self._shadow = Shadow(self.manager, self.metrics, chosen) if chosen else None
        self._folder = options.models  # in which models are looked for, if any
        self._config_file_text: bytes | None = None
        self._reloading = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def configure(self) -> None:
        """Reads which models there are.

        Raises:
            OSError: if a file or folder that says so cannot be read.
            StatusError: if it makes no sense.
        """
        options = self._options
        if self._folder:
            self._configure_folder(self._folder)
        elif options.model_config_file:
            self._configure(self._read_config_file() or [])
        else:
            path = config.absolute_path(options.model_name, options.model_base_path)
            self._configure([config.ModelConfig(options.model_name, path)])

    def _configure(self, models: Iterable[config.ModelConfig]) -> set[str]:
        """Serves these models from now on; the names of the new ones."""
        models = list(models)
        new = self.manager.configure(models)
        self._log.configure(models)
        return new

    def start(self) -> None:
        """Loads the models; returns when they are ready, and goes on keeping them up to date.

        Raises:
            StatusError: if a model that TensorFlow Serving's flags name cannot be loaded.
        """
        options = self._options
        _set_threads(options)
        if options.file_system_poll_wait_seconds >= 0:
            self._poll()
        self._every(options.file_system_poll_wait_seconds, self._poll, "look for versions")
        if options.model_config_file:
            seconds = options.model_config_file_poll_wait_seconds
            self._every(seconds, self._reload_file, "take the configuration file")
        try:
            self.manager.wait_until_settled(self.manager.names(), forever=not options.models)
        except StatusError as error:
            if not options.models:
                raise
            log.error("%s", error)

    @contextlib.contextmanager
    def run(self, name: str, api: str) -> Iterator[None]:
        """Times a run of a model: `api` is "Predict", "Classify" or "Regress"."""
        with self.metrics.run(name, api), self.tracing.part("run"):
            yield

    def answered(self, servable: Servable, record: Record) -> None:
        """Takes a request that was answered, to log it and to compare; never waits or fails."""
        self._log.offer(servable, record)
        if self._shadow:
            self._shadow.offer(servable, record)

    def stop(self, seconds: float | None = None) -> None:
        """Lets the models go; waits so long at most for what they still do."""
        self._stopping.set()
        if self._shadow:
            self._shadow.stop(seconds)
        self.manager.stop(seconds)
        for thread in self._threads:
            thread.join(seconds)
        self._log.stop(seconds)
        if self._batching:
            self._batching.scheduler.stop(seconds)
        self.tracing.stop()

    def reload(self, asked: model_server_config_pb2.ModelServerConfig) -> None:
        """Serves other models, or the same in another way, from now on.

        Raises:
            StatusError: INVALID_ARGUMENT or FAILED_PRECONDITION if it cannot be, and then nothing
                is changed; UNKNOWN if a new model cannot be loaded.
        """
        if asked.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        self._folder = None
        self._apply(config.listed_models(asked))

    def _apply(self, models: list[config.ModelConfig]) -> None:
        with self._reloading:
            new = self._configure(models)
            self.manager.poll()
        self.manager.wait_until_settled(new, forever=True)

    def _poll(self) -> None:
        if self._folder:
            try:
                self._configure_folder(self._folder)
            except OSError as error:
                log.error("Cannot look for models: %s", error)
                return
        self.manager.poll(skip_unreadable=self._folder is not None)

    def _configure_folder(self, folder: str) -> None:
        models = find_models(folder)
        self._configure(config.ModelConfig(name, path) for name, path in models.items())

    def _reload_file(self) -> None:
        models = self._read_config_file()
        if models is None:
            return
        try:
            self._apply(models)
        except StatusError:
            self._config_file_text = None  # try it again at the next turn
            raise

    def _read_config_file(self) -> list[config.ModelConfig] | None:
        """The models of the configuration file, or None if it has not changed."""
        text = pathlib.Path(self._options.model_config_file).read_bytes()
        if text == self._config_file_text:
            return None
        models = config.read_models(self._options.model_config_file)
        self._config_file_text = text
        return models

    def _every(self, seconds: float, action: Callable[[], None], to: str) -> None:
        """Repeats an action in a thread of its own, however often it fails; 0 and less: never.

        What goes wrong in the same way again and again is said once.
        """
        if seconds <= 0:
            return

        def repeat() -> None:
            said = ""
            while not self._stopping.wait(seconds):
                reason = ""
                try:
                    action()
                except Exception as error:  # one that goes wrong must not be the last one
                    reason = str(error)
                    if reason != said:
                        log.error("Cannot %s: %s", to, reason)
                said = reason

        thread = threading.Thread(target=repeat, name=action.__name__, daemon=True)
        thread.start()
        self._threads.append(thread)  # a signal may come before, and what has not begun has no end


def _batching(options: Options) -> Batching | None:
    if not options.enable_batching:
        return None
    chosen = BatchingOptions()
    if options.batching_parameters_file:
        chosen = BatchingOptions.of(config.read_batching(options.batching_parameters_file))
    scheduler = BatchScheduler(chosen.threads)
    return Batching(scheduler, chosen, options.enable_per_model_batching_parameters)


def _set_threads(options: Options) -> None:
    """Applies thread settings, which TensorFlow takes only before it first runs something."""
    both = options.tensorflow_session_parallelism
    intra = both or options.tensorflow_intra_op_parallelism
    inter = both or options.tensorflow_inter_op_parallelism
    if options.tensorflow_session_config_file:
        text = pathlib.Path(options.tensorflow_session_config_file).read_text("utf-8")
        try:
            settings: Any = text_format.Parse(text, config_pb2.ConfigProto())
        except text_format.ParseError as error:
            raise invalid_argument(
                f"Error parsing text-format tensorflow.ConfigProto: {error}"
            ) from error
        intra = settings.intra_op_parallelism_threads
        inter = settings.inter_op_parallelism_threads
    if intra:
        tf.config.threading.set_intra_op_parallelism_threads(intra)
    if inter:
        tf.config.threading.set_inter_op_parallelism_threads(inter)
