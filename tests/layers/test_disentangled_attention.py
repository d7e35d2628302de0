"""DisentangledAttention against loops over heads and fields."""

import numpy as np
import pytest

from ctr_keras.layers import DisentangledAttention
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def reference(weights, inputs, heads=2, units=4):
    def through(row, name):
        return row @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0)

    output = np.zeros((*inputs.shape[:2], units))
    for n, row in enumerate(inputs):
        projections = (through(row, name) for name in ("query", "key", "value"))
        parts = zip(*(np.split(p, heads, axis=1) for p in projections), strict=True)
        for head, (query, key, value) in enumerate(parts):
            unary = softmax(through(row, "unary")[:, head])
            columns = slice(head * units // heads, (head + 1) * units // heads)
            for m in range(len(row)):
                scores = (key - key.mean(axis=0)) @ (query[m] - query.mean(axis=0))
                weighed = softmax(scores / (units / heads) ** 0.5) + unary
                output[n, m, columns] = weighed @ value
        output[n] += through(row, "residual")
    return output


def test_layer_contract():
    names = ("query", "key", "value", "residual")
    shapes = {f"{name}/kernel": (DIM, 4) for name in names}
    shapes |= {"value/bias": (4,), "residual/bias": (4,)}
    run_layer_test(
        DisentangledAttention,
        {"units": 4, "heads": 2},
        INPUTS,
        weight_shapes={**shapes, "unary/kernel": (DIM, 2)},
        reference=reference,
        equivariant=True,
        field_axis=1,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_without_queries_each_field_gets_twice_the_mean_of_values():
    layer = DisentangledAttention(4)
    layer.build(INPUTS.shape)
    for part in (layer.query, layer.unary, layer.residual):
        part.set_weights([0 * weight for weight in part.get_weights()])
    expected = 2 * np.array(layer.value(INPUTS)).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(layer(INPUTS), np.tile(expected, (1, FIELDS, 1)), 1e-5, 1e-6)


def test_heads_must_divide_the_units():
    with pytest.raises(ValueError, match=r"divide units\. Received: 3 and 4"):
        DisentangledAttention(4, 3)
