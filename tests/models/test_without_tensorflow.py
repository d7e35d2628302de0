"""Layers, models, metrics, the layer test and training where TensorFlow is not installed."""

import os
import subprocess
import sys

from ctr_keras.data.cache import open_cache
from tests import JAX_SETTINGS
from tests.conftest import ROOT
from tests.data.shards import FEATURES, write_prepared

CODE = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tf_keras"):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
try:
    import tensorflow
    raise SystemExit("tensorflow is not blocked")
except ModuleNotFoundError:
    pass

import keras, numpy as np
import ctr_keras.layers, ctr_keras.metrics, ctr_keras.models, ctr_keras.testing
from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric

assert keras.backend.backend() == "jax"
features = FeatureSet(
    Categorical("a"), Numeric("n"), MultiValued("m", max_length=2), label=Label("y"),
    vocabulary_sizes={"a": 4, "m": 4},
)
draw = np.random.default_rng(0)
inputs = {
    "categorical": draw.integers(0, 6, (64, 1)).astype("int32"),
    "numeric": draw.normal(size=(64, 1)).astype("float32"),
    "m": draw.integers(6, 11, (64, 2)).astype("int32"),
}
labels = draw.integers(0, 2, (64, 1)).astype("float32")
keras.utils.set_random_seed(0)
model = ctr_keras.models.AutoInt(features, dim=4, layers=2, variant="official")
model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy")
losses = [float(np.ravel(model.train_on_batch(inputs, labels))[0]) for _ in range(40)]
assert losses[-1] < losses[0], losses
scores = model.predict(inputs, verbose=0)
assert scores.shape == (64, 1)
report = ctr_keras.metrics.evaluate(labels, scores)
assert report["auc"] > 0.5

from ctr_keras.training import TrainConfig, train

prepared, cache, run = sys.argv[1:]
settings = {"cache": cache, "resident": True, "epochs": 1, "batch_size": 8}
assert train(TrainConfig(prepared, "DeepFM", run, **settings))["rounds"] == 1
assert "tensorflow" not in sys.modules
print("works")
"""


def test_layers_models_and_training_on_decoded_rows_need_no_tensorflow(tmp_path):
    prepared = write_prepared(tmp_path / "prepared", {"train": 16, "validation": 8})
    cache = str(tmp_path / "cache")
    for split in ("train", "validation"):
        open_cache(cache, prepared, split, FEATURES)
    result = subprocess.run(
        [sys.executable, "-c", CODE, prepared, cache, str(tmp_path / "run")],
        env=os.environ | JAX_SETTINGS | {"KERAS_BACKEND": "jax"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "works"
