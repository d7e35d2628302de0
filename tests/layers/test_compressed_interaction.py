"""CompressedInteraction against loops over maps and fields."""

import itertools

import numpy as np
import pytest

from ctr_keras.layers import CompressedInteraction, FactorizationMachine
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 3, 2


def embeddings(rows=4):
    return np.random.default_rng(0).normal(size=(rows, FIELDS, DIM)).astype("float32")


def reference(weights, inputs, units, split_half):
    rows = []
    for row in inputs:
        maps, pooled = row, []
        for index, count in enumerate(units):
            kernel = weights[f"kernel_{index}"].reshape(len(maps), FIELDS, count)
            after = np.zeros((count, DIM))
            for h, i, j in itertools.product(range(count), range(len(maps)), range(FIELDS)):
                after[h] += kernel[i, j, h] * maps[i] * row[j]
            after = np.tanh(after)
            half = count // 2 if split_half and index < len(units) - 1 else 0
            pooled += [a.sum() for a in (after[:half] if half else after)]
            maps = after[half:]
        rows.append(pooled)
    return np.array(rows)


@pytest.mark.parametrize("split_half", [True, False])
def test_layer_contract(split_half):
    last = 2 if split_half else 4
    run_layer_test(
        CompressedInteraction,
        {"units": (4, 3), "split_half": split_half, "activation": "tanh"},
        embeddings(),
        weight_shapes={"kernel_0": (9, 4), "kernel_1": (last * FIELDS, 3)},
        reference=lambda weights, inputs: reference(weights, inputs, (4, 3), split_half),
        compare_xla=split_half,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_with_ones_above_the_diagonal_it_is_a_factorization_machine():
    layer = CompressedInteraction([1])
    layer.build((None, FIELDS, DIM))
    layer.set_weights([np.triu(np.ones((FIELDS, FIELDS)), 1).reshape(-1, 1)])
    expected = FactorizationMachine()(embeddings())
    np.testing.assert_allclose(layer(embeddings()), expected, 1e-5, 1e-6)


def test_bad_units_are_refused():
    with pytest.raises(ValueError, match=r"one number or more, all positive\. Received: \[\]"):
        CompressedInteraction([])
    with pytest.raises(ValueError, match=r"even units but for the last\. Received: \[3, 3\]"):
        CompressedInteraction([3, 3], split_half=True)
