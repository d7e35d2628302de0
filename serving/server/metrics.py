"""Counters and histograms under TensorFlow Serving's names, as a page for Prometheus.

The names start with a colon, and the page has no help texts and always writes braces: TensorFlow
Serving's form, which dashboards and alerts made for it expect.
"""

import bisect
import collections
import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator

from serving.server.errors import as_status_error

_FIRST_BUCKET, _BUCKET_GROWTH, _BUCKETS = 10.0, 1.8, 33
_LIMITS = [_FIRST_BUCKET * _BUCKET_GROWTH**power for power in range(_BUCKETS)]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

# Clients choose what model names they ask for, so the number of them is bounded.
_MAX_STRANGERS = 2000

Labels = tuple[str, ...]


class _Metric:
    kind: str

    def __init__(self, name: str, labels: Iterable[str]):
        self.name = name
        self._label_names = tuple(labels)
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} {self.kind}"
        with self._lock:
            yield from list(self._samples())

    def total(self) -> int:
        """How much was counted, over all labels."""
        raise NotImplementedError

    def _samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _labelled(self, values: Labels, *more: tuple[str, str]) -> str:
        pairs = itertools.chain(zip(self._label_names, values, strict=True), more)
        inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)
        return f"{{{inside}}}"


class Counter(_Metric):
    """A number that only grows, one for each combination of labels.

    Example:

    >>> requests = Counter(":requests", ["model"])
    >>> requests.add("ctr")
    >>> print(*requests.lines(), sep="\\n")
    # TYPE :requests counter
    :requests{model="ctr"} 1
    """

    kind = "counter"

    def __init__(self, name: str, labels: Iterable[str]):
        super().__init__(name, labels)
        self._values: dict[Labels, float] = collections.defaultdict(int)

    def add(self, *labels: str, by: float = 1) -> None:
        with self._lock:
            self._values[labels] += by

    def total(self) -> int:
        with self._lock:
            return int(sum(self._values.values()))

    def _samples(self) -> Iterator[str]:
        for labels, value in self._values.items():
            yield f"{self.name}{self._labelled(labels)} {value}"


class Largest(_Metric):
    """The largest value since the start.

    Example:

    >>> largest = Largest(":largest", ["model"])
    >>> largest.add("ctr", value=0.5)
    >>> largest.add("ctr", value=0.25)
    >>> list(largest.lines())
    ['# TYPE :largest gauge', ':largest{model="ctr"} 0.5']
    """

    kind = "gauge"

    def __init__(self, name: str, labels: Iterable[str]):
        super().__init__(name, labels)
        self._values: dict[Labels, float] = {}

    def add(self, *labels: str, value: float) -> None:
        with self._lock:
            self._values[labels] = max(value, self._values.get(labels, value))

    def total(self) -> int:
        return 0  # it counts nothing

    def _samples(self) -> Iterator[str]:
        for labels, value in self._values.items():
            yield f"{self.name}{self._labelled(labels)} {value:.10g}"


class Histogram(_Metric):
    """How often values fell below each of a row of limits.

    Example:

    >>> latency = Histogram(":latency", ["model"])
    >>> latency.add("ctr", value=250.0)
    >>> list(latency.lines())[-2:]
    [':latency_sum{model="ctr"} 250', ':latency_count{model="ctr"} 1']
    """

    kind = "histogram"

    def __init__(self, name: str, labels: Iterable[str]):
        super().__init__(name, labels)
        self._counts: dict[Labels, list[int]] = collections.defaultdict(
            lambda: [0] * (_BUCKETS + 1)
        )
        self._sums: dict[Labels, float] = collections.defaultdict(float)

    def add(self, *labels: str, value: float) -> None:
        bucket = bisect.bisect_right(_LIMITS, value)
        with self._lock:
            self._counts[labels][bucket] += 1
            self._sums[labels] += value

    def total(self) -> int:
        with self._lock:
            return sum(map(sum, self._counts.values()))

    def _samples(self) -> Iterator[str]:
        limits = [*(f"{limit:g}" for limit in _LIMITS), "+Inf"]
        for labels, counts in self._counts.items():
            for limit, count in zip(limits, itertools.accumulate(counts), strict=True):
                yield f"{self.name}_bucket{self._labelled(labels, ('le', limit))} {count}"
            yield f"{self.name}_sum{self._labelled(labels)} {self._sums[labels]:.10g}"
            yield f"{self.name}_count{self._labelled(labels)} {sum(counts)}"


class _ModelNames:
    """Models' names as labels: those that are served, and so many others, have their own."""

    def __init__(self) -> None:
        self._served: set[str] = set()
        self._strangers: set[str] = set()

    def serve(self, name: str) -> None:
        self._served.add(name)

    def label(self, name: str) -> str:
        if name not in self._served and name not in self._strangers:
            if len(self._strangers) >= _MAX_STRANGERS:
                return "too many"
            self._strangers.add(name)
        return name.encode("utf-8", "replace").decode()  # a URL may hold any bytes


class Metrics:
    """All that one server counts; latencies are in microseconds.

    Example:

    >>> metrics = Metrics()
    >>> metrics.requests.add("ctr", "OK")
    >>> ':tensorflow:serving:request_count{model_name="ctr",status="OK"} 1' in metrics.page()
    True
    """

    def __init__(self) -> None:
        self._names = _ModelNames()
        serving, batching = ":tensorflow:serving:", ":tensorflow:serving:batching_session:"
        self.requests = Counter(f"{serving}request_count", ["model_name", "status"])
        self.request_latency = Histogram(
            f"{serving}request_latency", ["model_name", "API", "entrypoint"]
        )
        self.runtime_latency = Histogram(
            f"{serving}runtime_latency", ["model_name", "API", "runtime"]
        )
        self.example_counts = Histogram(f"{serving}request_example_counts", ["model"])
        self.examples = Counter(f"{serving}request_example_count_total", ["model"])
        self.warmup_latency = Histogram(f"{serving}model_warmup_latency", ["model_path", "status"])
        self.warmup_records = Counter(
            f"{serving}model_warmup_records_read", ["model_path", "status"]
        )
        self.logged_requests = Counter(f"{serving}request_log_count", ["model_name", "status"])
        shadow = ":ctr_keras:serving:shadow_"
        self.shadowed_requests = Counter(f"{shadow}request_count", ["model_name", "status"])
        self.shadow_scores = Counter(f"{shadow}score_count", ["model_name"])
        self.shadow_differing = Counter(f"{shadow}differing_count", ["model_name"])
        self.shadow_difference = Counter(f"{shadow}difference_sum", ["model_name"])
        self.shadow_largest = Largest(f"{shadow}largest_difference", ["model_name"])
        self.queuing_latency = Histogram(f"{batching}queuing_latency", ["thread_pool_name"])
        self.batches = Counter(f"{batching}wrapped_run_count", ["thread_pool_name"])
        self.input_batch_size = Histogram(f"{batching}input_batch_size", ["thread_pool_name"])
        self.processed_batch_size = Histogram(
            f"{batching}processed_batch_size", ["thread_pool_name"]
        )
        self.padding_size = Histogram(f"{batching}padding_size", ["thread_pool_name"])
        self.load_attempts = Counter(
            ":tensorflow:cc:saved_model:load_attempt_count", ["model_path", "status"]
        )
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", ["model_path"])

    def serves(self, name: str) -> None:
        """Says that there is such a model, however many others requests are made for."""
        self._names.serve(name)

    @contextlib.contextmanager
    def request(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request for a model, and how long it took if it succeeds.

        What fails inside is raised as a StatusError. `name` is "" where no model was asked for; an
        `api` of "" is not timed; `entrypoint` is "REST" or "GRPC".
        """
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            status = as_status_error(error)
            self.requests.add(self._names.label(name), status.code.name)
            raise status from error
        label = self._names.label(name)
        self.requests.add(label, "OK")
        if api:
            self.request_latency.add(label, api, entrypoint, value=_microseconds(started))

    @contextlib.contextmanager
    def run(self, name: str, api: str) -> Iterator[None]:
        """Times a run of a model: `api` is "Predict", "Classify" or "Regress"."""
        started = time.perf_counter()
        yield
        self.runtime_latency.add(self._names.label(name), api, "TF1", value=_microseconds(started))

    def count_examples(self, name: str, count: int) -> None:
        """Counts the examples of one request."""
        label = self._names.label(name)
        self.example_counts.add(label, value=count)
        self.examples.add(label, by=count)

    def totals(self, names: Iterable[str]) -> dict[str, int]:
        """The sums of those metrics that there are, to tell later what they grew by.

        Names have colons, or slashes as TensorFlow itself writes them.
        """
        known = {metric.name: metric for metric in self._all()}
        asked = {name: known.get(":" + name.strip("/:").replace("/", ":")) for name in names}
        return {name: metric.total() for name, metric in asked.items() if metric}

    def page(self) -> str:
        """The page that Prometheus reads."""
        lines = itertools.chain.from_iterable(metric.lines() for metric in self._all())
        return "\n".join(lines) + "\n"

    def _all(self) -> Iterator[_Metric]:
        return (metric for metric in vars(self).values() if isinstance(metric, _Metric))


def _microseconds(started: float) -> float:
    return 1e6 * (time.perf_counter() - started)
