"""The demo, as `make demo` runs it, on fewer rows."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

DEMO = pathlib.Path(__file__).parents[2] / "examples" / "demo.py"


def demo(folder, rows):
    """The demo in a process, and a group, of its own."""
    return subprocess.Popen(
        [sys.executable, DEMO, "--folder", folder, "--rows", str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Which a suite that a shell runs in the background was started without.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.whole
def test_all_of_its_steps_end_on_a_page(tmp_path):
    process = demo(tmp_path / "demo", 30_000)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    lines = printed.splitlines()
    for model in ("logistic regression", "AutoInt+", "factorization machine, the pairs found"):
        assert sum(line.startswith(model) for line in lines) == 1, printed
    page = pathlib.Path(lines[-1].removeprefix("all of it on one page: "))
    truth = json.loads((tmp_path / "demo" / "log" / "truth.json").read_text())
    for text in ("What the search found", *(" x ".join(pair) for pair in truth["planted_pairs"])):
        assert text in page.read_text()


@pytest.mark.whole
def test_too_few_rows_are_one_line(tmp_path):
    process = demo(tmp_path / "demo", 3000)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert errors.endswith(
        "Error: the search keeps no pair: so few rows do not tell it from noise. Take another "
        "folder and more rows, such as 100000\n"
    )


def test_stopped_it_says_so_in_one_line(tmp_path):
    process = demo(tmp_path / "demo", 1_000_000)
    process.stdout.readline()  # the first command has begun
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert errors.endswith("\nStopped. The same command goes on with what is not done.\n")
    assert "Traceback" not in errors
