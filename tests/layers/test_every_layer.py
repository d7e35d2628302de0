"""No layer without the shared test."""

import inspect
import pathlib
import re

import keras
import pytest

from ctr_keras import layers

CLASSES = [name for name in layers.__all__ if inspect.isclass(getattr(layers, name))]
CLASSES.remove("RowTrainer")  # a mixin of models
OF_VECTORS = [name for name in CLASSES if name != "KeptValues"]  # of ids, which have no gradient


@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_layer_passes_the_shared_test_somewhere_here(name):
    tests = "\n".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert re.search(rf"run_layer_test\(\s*{name}\b", tests)


@pytest.mark.parametrize("name", CLASSES)
def test_every_layer_is_registered_under_our_name(name):
    kind = getattr(layers, name)
    assert keras.saving.get_registered_name(kind) == f"ctr_keras>{name}"
    assert issubclass(kind, keras.layers.Layer)
