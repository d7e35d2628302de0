"""Prepared data that several tests look at, made once."""

import pathlib

import pytest

from tests.prepared import prepare_once, synthetic_log_once


@pytest.fixture(scope="session")
def synthetic_log(tmp_path_factory) -> pathlib.Path:
    """A synthetic log with broken rows of every kind."""
    return synthetic_log_once(tmp_path_factory)


@pytest.fixture(scope="session")
def prepared_synthetic(synthetic_log, tmp_path_factory) -> pathlib.Path:
    """The synthetic log, prepared."""
    return prepare_once("synthetic", synthetic_log, tmp_path_factory)
