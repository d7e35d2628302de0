"""Searches of a few steps, quickly."""

import keras
import pytest

from tests.packed import FEW_STEPS


@pytest.fixture
def eager(monkeypatch):
    """For a search of a few steps: how its model takes them, whatever it is compiled with."""
    if FEW_STEPS["run_eagerly"]:
        always = property(lambda model: True, lambda model, value: None)
        monkeypatch.setattr(keras.Model, "run_eagerly", always)
