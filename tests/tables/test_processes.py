"""Two processes of JAX, each with half of every batch, against one with all of it."""

import concurrent.futures
import socket

import keras
import numpy as np
import pytest

from ctr_keras.optimizers import SparseAdam
from tests.optimizers import training
from tests.processes import FORKED

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="processes of JAX"),
]


def weights_from_half_of_each_batch(address, rank):
    import jax

    jax.distributed.initialize(address, 2, rank)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    whole = training.batches

    def half(steps):
        for inputs, labels in whole(steps):
            yield {name: ids[rank::2] for name, ids in inputs.items()}, labels[rank::2]

    training.batches = half
    return weights_after_six_steps()


def weights_after_six_steps():
    return training.trained(SparseAdam(0.01, exact=True), steps=6).get_weights()


@pytest.mark.slow
@pytest.mark.own_draws
def test_two_processes_train_exactly_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=FORKED) as processes:
        found = processes.map(weights_from_half_of_each_batch, [address] * 2, range(2))
        expected = weights_after_six_steps()
        for weights in found:
            for ours, theirs in zip(weights, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)
