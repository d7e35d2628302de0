"""BilinearInteraction against sums over pairs, written with loops."""

import itertools

import numpy as np
import pytest

from ctr_keras.layers import BilinearInteraction, FactorizationMachine
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
PAIRS = [*itertools.combinations(range(FIELDS), 2)]


def embeddings(rows=5):
    return np.random.default_rng(0).normal(size=(rows, FIELDS, DIM)).astype("float32")


def reference(weights, inputs, kernel, of, gives):
    rows = []
    for row in inputs:
        products = []
        for place, (i, j) in enumerate(PAIRS):
            own = weights["kernels"][{"pair": place, "field": i, "all": 0}[of]]
            through = row[i] @ own if kernel == "matrix" else row[i] * own
            products.append(through * row[j])
        numbers = [product.sum() for product in products]
        rows.append({"sum": [sum(numbers)], "numbers": numbers, "vectors": products}[gives])
    return np.array(rows)


@pytest.mark.parametrize(
    ("kernel", "of", "gives", "shape"),
    [
        ("matrix", "pair", "sum", (6, DIM, DIM)),
        ("matrix", "field", "vectors", (FIELDS, DIM, DIM)),
        ("matrix", "all", "numbers", (1, DIM, DIM)),
        ("vector", "pair", "numbers", (6, DIM)),
        ("scalar", "field", "sum", (FIELDS, 1)),
    ],
)
def test_layer_contract(kernel, of, gives, shape):
    run_layer_test(
        BilinearInteraction,
        {"kernel": kernel, "of": of, "gives": gives, "kernel_initializer": "random_normal"},
        embeddings(),
        weight_shapes={"kernels": shape},
        reference=lambda weights, inputs: reference(weights, inputs, kernel, of, gives),
        compare_xla=of == "pair" and gives == "sum",
        bad_shapes=[(None, DIM), (None, None, DIM), (None, FIELDS, None), (None, 1, DIM)],
    )


@pytest.mark.parametrize("kernel", ["matrix", "vector", "scalar"])
@pytest.mark.parametrize("of", ["pair", "field", "all"])
def test_it_starts_as_a_factorization_machine(kernel, of):
    expected = FactorizationMachine()(embeddings())
    np.testing.assert_allclose(BilinearInteraction(kernel, of)(embeddings()), expected, 1e-5, 1e-5)


def test_a_masked_field_is_left_out():
    inputs = embeddings()
    mask = np.array([[True, False, True, True]] * len(inputs))
    layer = BilinearInteraction(kernel_initializer="random_normal")
    expected = layer(inputs * mask[:, :, None])
    output = layer(inputs, mask=mask)
    np.testing.assert_allclose(output, expected, 1e-6)
    assert getattr(output, "_keras_mask", None) is None


@pytest.mark.parametrize("argument", ["kernel", "of", "gives"])
def test_bad_choices_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be one of .* Received: 'none'"):
        BilinearInteraction(**{argument: "none"})
