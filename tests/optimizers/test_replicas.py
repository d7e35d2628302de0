"""Two replicas of a MirroredStrategy against one device, in a process that has two devices."""

import concurrent.futures
import functools

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
from tests.parameters import first_of
from tests.processes import FORKED

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's"
    ),
    pytest.mark.xdist_group("replicas"),  # which share a process
]

OPTIMIZERS = {
    "adam": lambda: SparseAdam(weight_decay=0.1),
    # An epsilon that keeps rounding errors of tiny gradients from being divided by their size.
    "exact adam": lambda: SparseAdam(0.01, epsilon=1e-3, exact=True),
    "decaying adam": lambda: SparseAdam(0.01, use_ema=True, table_decay=0.01),
    "momentum": lambda: SparseSGD(0.1, momentum=0.9),
    "routed": lambda: RoutedOptimizer(keras.optimizers.Adam(), {"table$": SparseAdam()}),
    "penalized sgd": lambda: SparseSGD(0.1),
    # Averages without decay, and other rules for rows and slots as those above have them.
    "averaged adam": lambda: SparseAdam(0.01, use_ema=True),
    "adagrad": SparseAdagrad,
    "ftrl": SparseFtrl,
}
PENALTIES = {"penalized sgd": {"embedding_l2": 0.5, "linear_l2": 0.5}}
REFUSED = [("clipnorm", SparseAdam, 1.0), ("loss_scale_factor", SparseSGD, 8.0)]
STEPS = list(batches(6))
DEVICES = ("CPU:0", "CPU:1")


@pytest.fixture(scope="module")
def process():
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=FORKED, initializer=_make_two_devices
    ) as process:
        yield process


def _make_two_devices():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.mark.parametrize("name", first_of(OPTIMIZERS, len(OPTIMIZERS) - 3))
def test_replicas_train_as_one_device_does(process, name):
    assert process.submit(_difference, name).result() < 1e-7


def test_so_does_a_single_one(process):
    assert process.submit(_difference, "adam", ["CPU:0"]).result() < 1e-7


def test_a_penalty_of_rows_is_refused_where_no_replica_knows_all_rows(process):
    penalized = process.submit(_train_mirrored, keras.optimizers.SGD, embedding_l2=0.5)
    with pytest.raises(ValueError, match="needs a sparse optimizer"):
        penalized.result()


@pytest.mark.parametrize(("option", "optimizer", "value"), REFUSED)
def test_options_of_one_device_are_refused(process, option, optimizer, value):
    trained = process.submit(_train_mirrored, functools.partial(optimizer, **{option: value}))
    message = f"takes no {option} with several replicas: leave it out"
    with pytest.raises(ValueError, match=message):
        trained.result()


def _train_mirrored(make, **penalties):
    _mirrored(make, **penalties)  # which no other process takes


def _difference(name, devices=DEVICES):
    """The largest of any weight of either replica."""
    make, penalties = OPTIMIZERS[name], PENALTIES.get(name, {})
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
