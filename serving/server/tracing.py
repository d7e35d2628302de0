"""Spans of requests and of what models run for them, by OpenTelemetry if it is asked for."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from serving.server.access_log import Request

log = logging.getLogger(__name__)

_SECONDS_TO_SEND = 1.0  # what is left when the server stops

Answered = Callable[[str | int, bool], None]  # told the status, and whether it is our fault


class NoTracing:
    """What takes the place of `Tracing` where no spans are wanted."""

    @contextlib.contextmanager
    def request(self, asked: Request, given: Mapping[str, str]) -> Iterator[Answered]:
        """A request, from when it comes until it is answered.

        Args:
            asked: Request.
            given: mapping. Its headers or metadata, of which `traceparent` names the span of the
                client.
        """
        yield lambda status, is_fault: None

    def part(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """A part of the request that is under way in this thread."""
        return contextlib.nullcontext()

    def stop(self) -> None:
        """Sends what is left."""


class Tracing(NoTracing):
    """Sends spans to a collector, in a thread of its own; requests do not wait for it.

    Which collector, how many of the traces and under which name is for OpenTelemetry's environment
    variables to say: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`.

    Raises:
        RuntimeError: if OpenTelemetry is not installed.

    Example:

    >>> tracing = Tracing()
    >>> tracing.stop()
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
        except ModuleNotFoundError as error:
            raise RuntimeError(
                f"--tracing: {error.msg}: pip install 'ctr-keras[tracing]'"
            ) from error
        self._trace: Any = trace
        self._parent_of = propagate.extract
        named = Resource({"service.name": "ctr-keras"}).merge(OTELResourceDetector().detect())
        failures = _Failures()

        class Exporter(OTLPSpanExporter):
            """Says that the collector is not there when it begins, not for each try."""

            def export(self, spans: Any) -> Any:
                result = super().export(spans)
                failures.note(result is not SpanExportResult.SUCCESS)
                return result

        logging.getLogger(OTLPSpanExporter.__module__).filters = [failures.keep]
        self._exporter: Any = Exporter()
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("ctr_keras.serving")

    @contextlib.contextmanager
    def request(self, asked: Request, given: Mapping[str, str]) -> Iterator[Answered]:
        name, _, path = asked.call.partition(" ")
        attributes = {"request_id": asked.id, "api": asked.api}
        if path:  # not in the name, as there may be any number of them
            attributes["url.path"] = path
        with self._tracer.start_as_current_span(
            name, self._parent_of(given), self._trace.SpanKind.SERVER, attributes
        ) as span:

            def answered(status: str | int, is_fault: bool) -> None:
                span.set_attribute("status", status)
                if is_fault:
                    span.set_status(self._trace.StatusCode.ERROR)

            yield answered

    def part(self, name: str) -> contextlib.AbstractContextManager[Any]:
        part: contextlib.AbstractContextManager[Any] = self._tracer.start_as_current_span(name)
        return part

    def stop(self) -> None:
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_SECONDS_TO_SEND)
        if ending.is_alive():  # it tries a collector that does not answer
            self._exporter.shutdown()


class _Failures:
    """Whether spans are lost, and the last reason that OpenTelemetry had, in its many lines."""

    def __init__(self) -> None:
        self._reason = ""
        self._failing = False

    def keep(self, record: logging.LogRecord) -> bool:
        """Takes a line of OpenTelemetry's out of the log."""
        self._reason = record.getMessage()
        return False

    def note(self, has_failed: bool) -> None:
        if has_failed and not self._failing:
            log.error("Spans cannot be sent, and are lost: %s", self._reason)
        self._failing = has_failed
