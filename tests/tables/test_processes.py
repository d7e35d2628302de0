"""Two processes of JAX, each with half of every batch, against one with all of it."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from ctr_keras.optimizers import SparseAdam
from tests.conftest import ROOT
from tests.optimizers.training import trained

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="processes of JAX"),
]

HALF = """
import json, sys
import jax

rank = int(sys.argv[2])
jax.distributed.initialize(sys.argv[1], 2, rank)
import keras
from ctr_keras.optimizers import SparseAdam
from tests.optimizers import training

keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
whole = training.batches

def half(steps):
    for inputs, labels in whole(steps):
        yield {name: ids[rank::2] for name, ids in inputs.items()}, labels[rank::2]

training.batches = half
model = training.trained(SparseAdam(0.01, exact=True), steps=6)
print(json.dumps([weight.tolist() for weight in model.get_weights()]))
"""


@pytest.mark.slow
@pytest.mark.own_draws
def test_two_processes_train_exactly_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HALF, address, str(rank)],
            env=os.environ | {"KERAS_BACKEND": "jax"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    found = [
        json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in processes
    ]
    expected = trained(SparseAdam(0.01, exact=True), steps=6).get_weights()
    for weights in found:
        for ours, theirs in zip(weights, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)
