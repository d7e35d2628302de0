"""What a run shows: a line a round in a file, and one that changes in a terminal."""

import contextlib
import os
import re
import sys

import pytest

from ctr_keras.runs import Checkpoints, Rounds, make_progress, progress
from tests.runs.test_rounds import Scores, batches, build

pytestmark = pytest.mark.backend

LEFT = r"at most \d:\d\d:\d\d left"
SPEED = r"[\d,]+ examples/s"


def run(losses, total, checkpoints=None, patience=9):
    objective = Scores(losses)
    rounds = Rounds(objective, checkpoints, total=total, patience=patience)
    shown = make_progress(rounds, objective.describe, batch_size=2, title="stage 1, ")
    rounds.run(build, batches, steps=3, callbacks=[shown])


def assert_lines(lines, patterns):
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_file_has_a_line_a_round(capsys):
    run([3.0, 2.0, 2.5, 2.5], total=9, patience=2)
    common = rf"training loss \d\.\d{{5}}, loss %s, {SPEED}"
    assert_lines(
        capsys.readouterr().out.splitlines(),
        [
            rf"stage 1, round 1 of 9: {common % '3.0'}, {LEFT}",
            rf"stage 1, round 2 of 9: {common % '2.0'}, {LEFT}",
            rf"stage 1, round 3 of 9: {common % '2.5'}, {LEFT}",
            rf"stage 1, round 4 of 9: {common % '2.5'}, took \d:\d\d:\d\d, "
            "stopped, as round 2 was the best",
        ],
    )


def test_a_run_that_goes_on_says_after_what(tmp_path, capsys):
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"))
    with pytest.raises(IndexError):  # dies in the second round
        run([3.0], total=2, checkpoints=checkpoints)
    capsys.readouterr()
    run([3.0, 2.0], total=2, checkpoints=checkpoints)
    assert_lines(
        capsys.readouterr().out.splitlines(),
        [
            "going on after stage 1, round 1 of 2",
            rf"stage 1, round 2 of 2: .*, loss 2.0, {SPEED}, took \d:\d\d:\d\d",
        ],
    )


def read_all(reader):
    """All that was written to a terminal whose other end is closed, a part at a time."""
    parts = []
    with contextlib.suppress(OSError):  # its end
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    os.close(reader)
    return b"".join(parts).decode()


@pytest.mark.parametrize("columns", [200, 40])
def test_a_terminal_has_one_line_that_changes_below_those_of_the_rounds(columns, monkeypatch):
    """A line as wide as the terminal would wrap, and then not be replaced."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    reader, writer = os.openpty()
    with os.fdopen(writer, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        run([3.0, 2.0], total=2)
    shown = read_all(reader)
    lines = [part for part in shown.split("\r\x1b[K") if part]
    step = rf"stage 1, round %d of 2: step %d of 3, training loss \d\.\d{{5}}, {SPEED}, {LEFT}"
    patterns = [
        *(step % (1, number) for number in (1, 2, 3)),
        rf"stage 1, round 1 of 2: training loss \d\.\d{{5}}, loss 3\.0, {SPEED}, {LEFT}\r\n",
        *(step % (2, number) for number in (1, 2, 3)),
        r"stage 1, round 2 of 2: .*, took \d:\d\d:\d\d\r\n",
    ]
    if columns == 200:
        assert_lines(lines, patterns)
    else:
        changing = [line for line in lines if "step" in line]
        assert [len(line) for line in changing] == [columns - 1] * 6
