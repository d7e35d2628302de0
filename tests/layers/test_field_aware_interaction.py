"""FieldAwareInteraction against sums over pairs, written with loops."""

import numpy as np
import pytest

from ctr_keras.layers import FactorizationMachine, FieldAwareInteraction
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3


def embeddings(rows=6, fields=FIELDS, dim=DIM):
    shape = (rows, fields, (fields - 1) * dim)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def reference(inputs, summed=True):
    fields = inputs.shape[1]
    totals = []
    for row in inputs:
        vectors = {}  # by field, and by the field that they are for
        for i, own in enumerate(row):
            others = [j for j in range(fields) if j != i]
            vectors[i] = dict(zip(others, np.split(own, fields - 1), strict=True))
        pairs = ((i, j) for i in range(fields) for j in range(i + 1, fields))
        numbers = [vectors[i][j] @ vectors[j][i] for i, j in pairs]
        totals.append([sum(numbers)] if summed else numbers)
    return np.array(totals)


@pytest.mark.parametrize("summed", [True, False])
def test_layer_contract(summed):
    run_layer_test(
        FieldAwareInteraction,
        {"dim": DIM, "summed": summed},
        embeddings(),
        weight_shapes={},
        reference=lambda weights, inputs: reference(inputs, summed),
        compare_xla=summed,
        bad_shapes=[
            (None, FIELDS, DIM),
            (None, FIELDS),
            (None, None, 9),
            (None, 1, 0),
            (None, FIELDS, FIELDS * DIM),
        ],
    )


def test_with_one_vector_for_all_fields_it_is_a_factorization_machine():
    vectors = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")
    repeated = np.tile(vectors, (1, 1, FIELDS - 1))
    expected = FactorizationMachine()(vectors)
    np.testing.assert_allclose(FieldAwareInteraction(DIM)(repeated), expected, 1e-5, 1e-6)


def test_a_masked_field_is_left_out():
    inputs = embeddings()
    mask = np.array([[True, False, True, True]] * len(inputs))
    without = inputs * mask[:, :, None]
    expected = FieldAwareInteraction(DIM)(without)
    np.testing.assert_allclose(FieldAwareInteraction(DIM)(inputs, mask=mask), expected, 1e-6)


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match=r"dim must be at least 1\. Received: 0"):
        FieldAwareInteraction(0)
