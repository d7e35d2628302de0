"""Two replicas of a MirroredStrategy against one device, in a process that has two devices."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.models import FM
from ctr_keras.optimizers import (
    RoutedOptimizer,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
)
from tests.optimizers.training import FEATURES, batches

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's"
    ),
    pytest.mark.xdist_group("replicas"),  # which start once
]

OPTIMIZERS = {
    "adam": lambda: SparseAdam(weight_decay=0.1),
    # An epsilon that keeps rounding errors of tiny gradients from being divided by their size.
    "exact adam": lambda: SparseAdam(0.01, epsilon=1e-3, exact=True),
    "averaged adam": lambda: SparseAdam(0.01, use_ema=True),
    "decaying adam": lambda: SparseAdam(0.01, use_ema=True, table_decay=0.01),
    "adagrad": SparseAdagrad,
    "momentum": lambda: SparseSGD(0.1, momentum=0.9),
    "ftrl": SparseFtrl,
    "routed": lambda: RoutedOptimizer(keras.optimizers.Adam(), {"table$": SparseAdam()}),
    "penalized sgd": lambda: SparseSGD(0.1),
}
PENALTIES = {"penalized sgd": {"embedding_l2": 0.5, "linear_l2": 0.5}}
REFUSED = {
    "clipnorm": lambda: SparseAdam(clipnorm=1.0),
    "loss_scale_factor": lambda: SparseSGD(loss_scale_factor=8.0),
}
STEPS = list(batches(6))
DEVICES = ("CPU:0", "CPU:1")


@pytest.fixture(scope="module")
def results():
    """What `_compare` says, by optimizer."""
    command = [sys.executable, "-m", "tests.optimizers.test_replicas"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [*OPTIMIZERS, "one replica"])
def test_replicas_train_as_one_device_does(results, name):
    assert results[name] < 1e-7


def test_a_penalty_of_rows_is_refused_where_no_replica_knows_all_rows(results):
    assert "needs a sparse optimizer" in results["penalized by Keras"]


@pytest.mark.parametrize("option", REFUSED)
def test_options_of_one_device_are_refused(results, option):
    assert f"takes no {option} with several replicas: leave it out" in results[option]


def _compare():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    results = {
        name: _difference(make, **PENALTIES.get(name, {})) for name, make in OPTIMIZERS.items()
    }
    results["one replica"] = _difference(SparseAdam, devices=["CPU:0"])
    for option, make in REFUSED.items():
        with pytest.raises(ValueError, match=option) as raised:
            _mirrored(make)
        results[option] = str(raised.value)
    with pytest.raises(ValueError, match="replicas") as raised:
        _mirrored(keras.optimizers.SGD, embedding_l2=0.5)
    results["penalized by Keras"] = str(raised.value)
    print(json.dumps(results))


def _difference(make, devices=DEVICES, **penalties):
    """The largest of any weight of either replica."""
    expected = [weight.numpy() for weight in _trained(make, penalties, run_eagerly=True).weights]
    return max(
        float(np.abs(copy.numpy() - weight).max())
        for variable, weight in zip(
            _mirrored(make, devices, **penalties).weights, expected, strict=True
        )
        for copy in variable.value.values
    )


def _mirrored(make, devices=DEVICES, **penalties):
    with tf.distribute.MirroredStrategy(devices).scope():
        return _trained(make, penalties, jit_compile=False)


def _trained(make, penalties, **options):
    keras.utils.set_random_seed(0)
    model = FM(FEATURES, dim=2, embeddings_initializer="random_normal", **penalties)
    model.compile(make(), "binary_crossentropy", **options)
    packed = {name: np.concatenate([ids[name] for ids, _ in STEPS]) for name in STEPS[0][0]}
    clicks = np.concatenate([clicks for _, clicks in STEPS])
    model.fit(packed, clicks, batch_size=8, shuffle=False, verbose=0)
    return model


if __name__ == "__main__":
    _compare()
