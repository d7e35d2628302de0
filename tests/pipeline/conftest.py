"""Prepared data that several tests look at, made once."""

import pathlib

import pytest

from pipeline.datasets.synthetic import write_synthetic_log
from pipeline.prepare import prepare

ROWS = 20_000
BROKEN = 0.005


@pytest.fixture(scope="session")
def synthetic_log(tmp_path_factory) -> pathlib.Path:
    """A synthetic log with broken rows of every kind."""
    folder = tmp_path_factory.mktemp("log")
    write_synthetic_log(str(folder), ROWS, broken=BROKEN)
    return folder


@pytest.fixture(scope="session")
def prepared_synthetic(synthetic_log, tmp_path_factory) -> pathlib.Path:
    """The synthetic log, prepared."""
    out = tmp_path_factory.mktemp("prepared") / "synthetic"
    prepare("synthetic", str(synthetic_log), str(out))
    return out
