"""How far a job on this machine is: the rows of each pass over the source, and the time.

Threads of the local runner count what they have parsed; on other runners nobody asks for it.
"""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Literal, TextIO

# Rows are analyzed in a first pass and transformed in a second, or both in one.
Pass = Literal["analyzing", "transforming"]

_PAUSE, _PAUSE_BETWEEN_LINES = 0.5, 10.0  # seconds
_ERASE = "\r\x1b[K"  # what stands in a terminal's line
_rows: collections.Counter[Pass] = collections.Counter()
_counting = threading.Lock()


def count(which: Pass, rows: int) -> None:
    """Counts rows that a pass has parsed."""
    with _counting:
        _rows[which] += rows


def line(seconds: float) -> str:
    """What has been done so far.

    Example:

    >>> import io
    >>> with shown(io.StringIO()):
    ...     count("analyzing", 2000)
    ...     count("transforming", 500)
    ...     line(12)
    'transforming: 500 of 2,000 rows, 12 s'
    """
    analyzed, transformed = _rows["analyzing"], _rows["transforming"]
    if not analyzed and not transformed:
        return f"starting, {seconds:.0f} s"
    if not transformed:
        return f"analyzing: {analyzed:,} rows, {seconds:.0f} s"
    of_all = f" of {analyzed:,}" if analyzed else ""
    return f"transforming: {transformed:,}{of_all} rows, {seconds:.0f} s"


@contextlib.contextmanager
def shown(stream: TextIO) -> Iterator[None]:
    """Shows how far the job of this block is: in a terminal a line that changes, else one after the
    other, the first after ten seconds."""
    _rows.clear()
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(stream, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show(stream: TextIO, over: threading.Event) -> None:
    started = time.monotonic()
    changes = stream.isatty()
    while not over.wait(_PAUSE if changes else _PAUSE_BETWEEN_LINES):
        now = line(time.monotonic() - started)
        print(f"{_ERASE}{now}" if changes else now, end="" if changes else "\n", file=stream)
        stream.flush()
    if changes:
        print(_ERASE, end="", file=stream, flush=True)
