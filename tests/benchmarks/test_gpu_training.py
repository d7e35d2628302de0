"""The accelerator's script, on the CPU: it trains without TensorFlow, and counts a step's cost."""

import json
import os
import subprocess
import sys

import pytest

from tests import JAX_SETTINGS
from tests.conftest import ROOT

# In a process of its own: the script chooses Keras' backend. TensorFlow cannot be imported there.
SCRIPT = """
import json, sys
sys.modules["tensorflow"] = None
from benchmarks import gpu_training
gpu_training.PEAKS["cpu"] = gpu_training.Peak({"float32": 1e12, "bfloat16": 1.0}, 1e9)
for setting in json.loads(sys.argv.pop()):
    print(json.dumps(gpu_training.measure(gpu_training.Setting(**setting))), flush=True)
sys.argv += ["--rows", "9999"]
gpu_training.main()
"""
SMALL = {"ids": 390, "rows": 400, "batch_size": 100, "steps": 20, "repetitions": 2}
SETTINGS = [
    {"model": "DeepFM", "precision": "float32", **SMALL},
    {"model": "AutoInt", "precision": "bfloat16", **SMALL, "rows": 80, "batch_size": 20},
]


@pytest.fixture(scope="module")
def result():
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(SETTINGS)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **JAX_SETTINGS, "JAX_PLATFORMS": "cpu"},
    )


@pytest.fixture(scope="module")
def lines(result):
    lines = result.stdout.splitlines()
    assert len(lines) == len(SETTINGS), result.stderr
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_deepfm_learns_and_stays_below_the_roofline(lines):
    line = lines[0]
    assert line["last_loss"] < 0.5 * line["first_loss"]
    tower = 2 * (39 * 16 * 400 + 2 * 400 * 400)  # forward; backward takes twice that
    assert line["mflop_per_example"] == pytest.approx(3 * tower / 1e6, rel=0.05)
    assert line["bound"] == "memory"
    traffic = line["kb_per_example"] * 1e3
    assert line["roofline_examples_per_second"] == pytest.approx(1e9 / traffic, rel=0.01)
    assert line["of_roofline"] > 0


@pytest.mark.slow
def test_autoint_trains_in_bfloat16(lines):
    line = lines[1]
    assert line["last_loss"] < line["first_loss"]
    projections = 2 * 39 * 4 * (16 * 64 + 4 * 64 * 64)
    attention = 2 * 2 * 39 * 39 * 64 * 5
    assert line["mflop_per_example"] == pytest.approx(3 * (projections + attention) / 1e6, rel=0.05)
    assert line["bound"] == "compute"


def test_rows_must_fill_a_batch(result):
    assert result.returncode == 2
    assert "--rows must be at least one batch" in result.stderr
