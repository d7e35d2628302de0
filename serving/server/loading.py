"""How a version becomes ready: its SavedModel is loaded, put behind a queue, and warmed up."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

from serving.server.batching import BatchingOptions, BatchQueue, BatchScheduler
from serving.server.config import read_batching
from serving.server.errors import as_status_error
from serving.server.metrics import Metrics
from serving.server.savedmodel import SERVE_TAGS, Servable
from serving.server.warmup import replay
from serving.types import Run

PER_MODEL_BATCHING = "batching_params.pbtxt"


@dataclasses.dataclass(frozen=True)
class Batching:
    """Batching of all models.

    Attributes:
        scheduler: BatchScheduler. Its threads.
        options: BatchingOptions.
        per_model: bool. Whether only versions with a `batching_params.pbtxt` are batched, by it.
    """

    scheduler: BatchScheduler
    options: BatchingOptions
    per_model: bool = False

    def queue_for(self, path: pathlib.Path, metrics: Metrics) -> Callable[[Run], Run] | None:
        """What puts a signature of the version at `path` behind a queue; None: it runs alone."""
        options = self._options_of(path)
        if options is None:
            return None
        return lambda run: BatchQueue(run, options, self.scheduler, metrics).run

    def _options_of(self, path: pathlib.Path) -> BatchingOptions | None:
        if not self.per_model:
            return self.options
        file = path / PER_MODEL_BATCHING
        return BatchingOptions.of(read_batching(file)) if file.exists() else None


@dataclasses.dataclass(frozen=True)
class Loader:
    """Loads versions, ready for requests.

    Attributes:
        metrics: Metrics. Where loads and warm-ups are counted.
        tags: frozenset of str. Which graph of a SavedModel to load.
        batching: Batching or None. None: each request runs alone.
        warm_up_iterations: int. How often warm-up requests are replayed; 0: not at all.
        checks_method_names: bool. Whether classify and regress insist on a signature's
            method_name.

    Example:

    >>> servable = Loader(Metrics())("ctr", 1, "models/ctr/1")
    >>> servable.version
    1
    """

    metrics: Metrics
    tags: frozenset[str] = SERVE_TAGS
    batching: Batching | None = None
    warm_up_iterations: int = 1
    checks_method_names: bool = False

    def __call__(self, name: str, version: int, path: str | os.PathLike[str]) -> Servable:
        """Loads a version; a StatusError if it cannot be, or a warm-up request fails."""
        started = time.monotonic()
        path = pathlib.Path(path)
        self.metrics.serves(name)
        try:
            queue = self.batching.queue_for(path, self.metrics) if self.batching else None
            servable = Servable(name, version, path, self.tags, queue, self.checks_method_names)
            for _ in range(self.warm_up_iterations):
                replay(servable, path, self.metrics)
        except Exception as error:
            self.metrics.load_attempts.add(str(path), as_status_error(error).code.name)
            raise
        self.metrics.load_attempts.add(str(path), "OK")
        self.metrics.load_latency.add(str(path), by=round(1e6 * (time.monotonic() - started)))
        return servable
