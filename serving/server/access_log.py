"""An id for each request, a line in the log for each if asked for, and log lines as JSON."""

import dataclasses
import datetime
import json
import logging
import re
import time
import uuid
from typing import Any

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"  # a header over REST, metadata over gRPC
_GIVEN_ID = re.compile("[!-~]{1,128}")
_SHOWN = 200  # characters of a call, which clients choose
_TEXT = "%(asctime)s %(levelname)s %(message)s"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request, from when it comes until it is answered.

    Attributes:
        call: str. What is asked for: a method and path, or a gRPC call.
        api: str. `REST` or `gRPC`.
        id: str. The one that its client has given it, if it is one, or a new one.
        began: float. When it came, in seconds.

    Example:

    >>> Request.of("Predict", "gRPC", "abc-1").id
    'abc-1'
    """

    call: str
    api: str
    id: str
    began: float

    @classmethod
    def of(cls, call: str, api: str, given_id: Any) -> "Request":
        """A request that has just come, with the id that its client has given it, if any."""
        is_id = isinstance(given_id, str) and _GIVEN_ID.fullmatch(given_id)
        return cls(call, api, given_id if is_id else uuid.uuid4().hex, time.perf_counter())

    def log_answer(self, status: str | int) -> None:
        """Writes the line of the request, which is answered with a status."""
        fields = {
            "request_id": self.id,
            "api": self.api,
            "call": self.call.encode("ascii", "backslashreplace").decode()[:_SHOWN],
            "status": status,
            "milliseconds": round(1000 * (time.perf_counter() - self.began), 3),
        }
        log.info("%(api)s %(call)s %(status)s %(milliseconds)s ms %(request_id)s", fields)


class JsonFormatter(logging.Formatter):
    """Log lines as JSON objects: time, level, logger, message, and the fields of a request.

    Example:

    >>> record = logging.makeLogRecord({"msg": "Serving %s", "args": ("ctr",), "levelname": "INFO"})
    >>> json.loads(JsonFormatter().format(record))["message"]
    'Serving ctr'
    """

    def format(self, record: logging.LogRecord) -> str:
        time_of = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields = {
            "time": time_of.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, dict):
            fields |= record.args
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def set_up_logging(form: str) -> None:
    """Has what the process logs written to standard error, as `"text"` or `"json"`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
