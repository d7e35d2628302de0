"""ComplexFields and EulerInteraction against complex arithmetic."""

import numpy as np
import pytest

from ctr_keras.layers import ComplexFields, EulerInteraction
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def complex_fields(weights, inputs):
    output = []
    for row in inputs:
        numbers = weights["modulus"][:, None] * np.exp(1j * row)
        output.append(np.concatenate([numbers.real, numbers.imag], axis=1))
    return np.array(output)


def test_layer_contract_of_complex_fields():
    run_layer_test(
        ComplexFields,
        {},
        INPUTS,
        weight_shapes={"modulus": (FIELDS,)},
        reference=complex_fields,
        compare_xla=False,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def interactions(weights, inputs):
    dim, units = DIM, 2
    output = np.zeros((len(inputs), units, 2 * dim))
    for n, row in enumerate(inputs):
        numbers = row[:, :dim] + 1j * row[:, dim:]
        logarithms = np.log(np.abs(numbers) ** 2 + 1e-8) / 2 + 1j * np.angle(numbers)
        dense = [
            np.maximum(part.reshape(-1) @ weights["dense/kernel"] + weights["dense/bias"], 0)
            for part in (numbers.real, numbers.imag)
        ]
        for k in range(units):
            shift = weights["log_scale"][k] + 1j * weights["angle"][k]
            product = np.exp(weights["powers"][:, k] @ logarithms + shift)
            product += (dense[0] + 1j * dense[1]).reshape(units, dim)[k]
            output[n, k] = np.concatenate([product.real, product.imag])
    return output


def test_layer_contract():
    inputs = np.random.default_rng(0).normal(size=(5, FIELDS, 2 * DIM)).astype("float32")
    run_layer_test(
        EulerInteraction,
        {"units": 2},
        inputs,
        weight_shapes={
            "powers": (FIELDS, 2),
            "log_scale": (2, DIM),
            "angle": (2, DIM),
            "dense/kernel": (FIELDS * DIM, 2 * DIM),
            "dense/bias": (2 * DIM,),
        },
        reference=interactions,
        bad_shapes=[(None, DIM), (None, None, DIM), (None, FIELDS, 3)],
    )


def test_powers_of_one_multiply_the_fields():
    layer = EulerInteraction(1, kernel_initializer="zeros")
    fields = ComplexFields()(INPUTS)
    layer.build(fields.shape)
    layer.powers.assign(np.ones((FIELDS, 1)))
    angle = INPUTS.sum(axis=1)
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(np.array(layer(fields))[:, 0], expected, 1e-4, 1e-5)


def test_less_than_one_vector_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        EulerInteraction(0)
