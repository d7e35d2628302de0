"""How far a job is, as it is shown."""

import io
import time

import pytest

from pipeline import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_rows_are_those_of_the_pass_and_the_time():
    with progress.shown(io.StringIO()):
        assert progress.line(0.4) == "starting, 0 s"
        progress.count("analyzing", 1500)
        progress.count("analyzing", 500)
        assert progress.line(3) == "analyzing: 2,000 rows, 3 s"
        progress.count("transforming", 1200)
        assert progress.line(9) == "transforming: 1,200 of 2,000 rows, 9 s"
    with progress.shown(io.StringIO()):  # of a job that reads its rows once
        progress.count("transforming", 10)
        assert progress.line(1) == "transforming: 10 rows, 1 s"


@pytest.mark.parametrize(
    ("stream", "begins", "ends"),
    [(io.StringIO(), "starting, 0 s\n", " s\n"), (Terminal(), "\r\x1b[Kstarting, 0 s", "\r\x1b[K")],
)
def test_a_terminal_has_a_line_that_changes_and_is_gone_at_the_end(
    stream, begins, ends, monkeypatch
):
    monkeypatch.setattr(progress, "_PAUSE", 0.01)
    monkeypatch.setattr(progress, "_PAUSE_BETWEEN_LINES", 0.01)
    with progress.shown(stream):
        until = time.monotonic() + 10
        while stream.getvalue().count("starting") < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert stream.getvalue().startswith(begins)
    assert stream.getvalue().endswith(ends)
    assert stream.getvalue().count("starting") >= 2
