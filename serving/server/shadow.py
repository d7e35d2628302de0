"""A second version of models that gets a share of the requests, after they are answered.

How its scores differ is counted, in the metrics and in the log; nobody sees them. No request waits
for it or fails by it: what comes faster than it can be answered again is counted and left out.
"""

import dataclasses
import functools
import logging
import random
import time
from typing import Any

import numpy as np

from serving.codes import Code, StatusError
from serving.server.background import Background
from serving.server.errors import as_status_error
from serving.server.inference import predict
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.options import ShadowOption
from serving.server.request_log import Record
from serving.server.savedmodel import Servable
from serving.tensors import to_array

log = logging.getLogger(__name__)

_EQUAL = 1e-6  # scores that differ by less are the same
_SECONDS_TO_LINE = 60.0


@dataclasses.dataclass
class _Differences:
    """How scores of two versions differ; those that are no number count, and are in no sum."""

    versions: tuple[int, int]
    requests: int = 0
    scores: int = 0
    differing: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, found: "_Differences") -> None:
        self.requests += 1
        self.scores += found.scores
        self.differing += found.differing
        self.total += found.total
        self.largest = max(self.largest, found.largest)

    def __str__(self) -> str:
        mean = self.total / max(1, self.scores)
        return (
            f"version {self.versions[1]} next to {self.versions[0]}: {self.differing} of "
            f"{self.scores} scores of {self.requests} requests differ, by {mean:.3g} in the mean "
            f"and {self.largest:.3g} at most"
        )


class Shadow:
    """Answers a share of the predict requests again, by the version of a label.

    Models without that label, or where it is of the version that has answered, are left alone.

    Args:
        manager: ModelManager. Lends the versions.
        metrics: Metrics. Where differences are counted.
        chosen: ShadowOption. The label and the share.

    Example:

    >>> shadow = Shadow(manager, Metrics(), ShadowOption.of("canary:0.1"))
    >>> shadow.stop()
    """

    def __init__(self, manager: ModelManager, metrics: Metrics, chosen: ShadowOption):
        self._manager = manager
        self._metrics = metrics
        self._chosen = chosen
        self._differences: dict[str, _Differences] = {}  # by model; the thread's own
        self._complaints: dict[str, str] = {}
        self._next_line = time.monotonic() + _SECONDS_TO_LINE
        self._background = Background("shadow")
        self._background.start()

    def offer(self, servable: Servable, record: Record) -> None:
        """Answers a request again, if it is sampled; never waits and never fails."""
        if random.random() >= self._chosen.share:
            return
        task = functools.partial(self._compare, servable.name, servable.version, record)
        if not self._background.offer(task):
            self._metrics.shadowed_requests.add(servable.name, Code.RESOURCE_EXHAUSTED.name)

    def stop(self, seconds: float | None = None) -> None:
        """Answers what waits, for so long at most."""
        if self._background.stop(seconds):
            self._write_lines()

    def _compare(self, name: str, version: int, record: Record) -> None:
        try:
            self._answer_again(name, version, record)
        except Exception as error:  # of a version that is there to be tried
            status = as_status_error(error)
            self._metrics.shadowed_requests.add(name, status.code.name)
            complaint = f"The shadow of model {name} has no scores to compare: {status}"
            if complaint != self._complaints.get(name):
                log.error("%s", complaint)
            self._complaints[name] = complaint
        if time.monotonic() > self._next_line:
            self._write_lines()

    def _answer_again(self, name: str, version: int, record: Record) -> None:
        made, label = record(), self._chosen.label
        if not made.HasField("predict_log") or not self._manager.has_label(name, label):
            return
        request, response = made.predict_log.request, made.predict_log.response
        with self._manager.lease(name, label=label) as shadow:
            if shadow.version == version:
                return
            again, versions = predict(shadow, request), (version, shadow.version)
        found = _compared(versions, response.outputs, again.outputs)
        self._count(name, found)
        since = self._differences.get(name)
        if since is None or since.versions != versions:
            since = self._differences[name] = _Differences(versions)
        since.add(found)

    def _count(self, name: str, found: _Differences) -> None:
        metrics = self._metrics
        metrics.shadowed_requests.add(name, Code.OK.name)
        metrics.shadow_scores.add(name, by=found.scores)
        metrics.shadow_differing.add(name, by=found.differing)
        metrics.shadow_difference.add(name, by=found.total)
        metrics.shadow_largest.add(name, value=found.largest)

    def _write_lines(self) -> None:
        for name, counted in self._differences.items():
            log.info("Shadow of model %s, %s", name, counted)
        self._differences.clear()
        self._next_line = time.monotonic() + _SECONDS_TO_LINE


def _compared(versions: tuple[int, int], outputs: Any, others: Any) -> _Differences:
    """How far the numbers of two answers are apart; NaN is a number here."""
    found = _Differences(versions)
    for alias, proto in outputs.items():
        array = to_array(proto)
        if array.dtype.kind != "f":
            continue
        other = to_array(others[alias]) if alias in others else np.zeros(0)
        if other.shape != array.shape:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"output {alias} is of shape {array.shape}, and of {other.shape} there",
            )
        is_near = np.isclose(array, other, rtol=0, atol=_EQUAL, equal_nan=True)
        with np.errstate(invalid="ignore"):
            apart = np.abs(np.subtract(array, other, dtype=np.float64))
        apart = apart[np.isfinite(apart)]
        found.scores += array.size
        found.differing += int((~is_near).sum())
        found.total += float(apart.sum())
        found.largest = max(found.largest, float(apart.max(initial=0.0)))
    return found
