"""FactorizationMachine against sums over all combinations, and against closed forms."""

import itertools

import keras
import numpy as np
import pytest

from ctr_keras.layers import FactorizationMachine
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 5, 3


def embeddings(rows=6, fields=FIELDS, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, fields, DIM)).astype("float32")


def reference(inputs, order):
    rows = []
    for row in inputs:
        total = 0.0
        for term in itertools.combinations(range(len(row)), order):
            for d in range(DIM):
                product = 1.0
                for field in term:
                    product *= row[field, d]
                total += product
        rows.append([total])
    return np.array(rows)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_layer_contract(order):
    run_layer_test(
        FactorizationMachine,
        {"order": order},
        embeddings(),
        weight_shapes={},
        reference=lambda weights, inputs: reference(inputs, order),
        compare_xla=order == 4,
        bad_shapes=[(None, DIM), (None, FIELDS, DIM, 1)],
    )


def test_layer_contract_of_pooling():
    def pooled(weights, inputs):
        pairs = itertools.combinations(range(FIELDS), 2)
        return sum(inputs[:, i] * inputs[:, j] for i, j in pairs)

    run_layer_test(
        FactorizationMachine,
        {"summed": False},
        embeddings(),
        weight_shapes={},
        reference=pooled,
        compare_xla=False,
    )


def test_pairs_are_half_the_square_of_the_sum_without_the_squares():
    inputs = embeddings().astype("float64")
    squares = (inputs.sum(axis=1) ** 2 - (inputs**2).sum(axis=1)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FactorizationMachine()(inputs), squares / 2, 1e-5, 1e-5)


def test_triples_by_power_sums():
    inputs = embeddings().astype("float64")
    first, second, third = ((inputs**power).sum(axis=1) for power in (1, 2, 3))
    expected = ((first**3 - 3 * first * second + 2 * third) / 6).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FactorizationMachine(3)(inputs), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_as_many_fields_as_the_order_are_one_product(order):
    inputs = embeddings(fields=order)
    expected = np.prod(inputs, axis=1).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FactorizationMachine(order)(inputs), expected, 1e-4, 1e-5)
    fewer = FactorizationMachine(order + 1)(inputs)
    np.testing.assert_allclose(fewer, np.zeros((6, 1)), atol=1e-4)


@pytest.mark.parametrize("order", [2, 3])
def test_the_order_of_the_fields_does_not_matter(order):
    layer = FactorizationMachine(order)
    np.testing.assert_allclose(layer(embeddings()[:, ::-1]), layer(embeddings()), 1e-4, 1e-5)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_masked_fields_are_left_out_row_by_row(order):
    mask = np.array([[True, False, True, True, True], [True, True, True, False, True]])
    inputs = embeddings(rows=2)
    output = FactorizationMachine(order)(inputs, mask=mask)
    expected = [reference(inputs[row : row + 1, mask[row]], order)[0] for row in range(2)]
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)


def test_a_mask_comes_with_the_embeddings_and_ends_here():
    ids = np.array([[1, 2, 0, 3], [0, 4, 5, 0]])
    table = keras.layers.Embedding(6, DIM, mask_zero=True, embeddings_initializer="he_normal")
    output = FactorizationMachine()(table(ids))
    embedded = keras.ops.convert_to_numpy(table(ids)) * (ids != 0)[:, :, None]
    np.testing.assert_allclose(output, reference(embedded, 2), 1e-5, 1e-6)
    assert getattr(output, "_keras_mask", None) is None


def test_bad_order_is_refused():
    with pytest.raises(ValueError, match=r"at least 2\. Received: 1"):
        FactorizationMachine(1)
