"""CrossLayer and CrossMixture against loops, and what reduces them to one another."""

import numpy as np
import pytest

from ctr_keras.layers import CrossLayer, CrossMixture
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

WIDTH = 4


def pair(rows=5):
    draw = np.random.default_rng(0)
    return tuple(draw.normal(size=(rows, WIDTH)).astype("float32") for _ in range(2))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(weights, inputs):
    rows = []
    for first, row in zip(*inputs, strict=True):
        if "down" in weights:
            mapped = weights["up"].T @ (weights["down"].T @ row)
        else:
            mapped = weights["kernel"].T @ row
        is_vector = mapped.shape == (1,)
        product = (
            first * mapped + weights["bias"] if is_vector else first * (mapped + weights["bias"])
        )
        gate = sigmoid(weights["gate"].T @ row) if "gate" in weights else 1
        rows.append(product * gate + row)
    return np.array(rows)


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({"kernel": "vector"}, {"kernel": (WIDTH, 1)}),
        ({"gated": True}, {"kernel": (WIDTH, WIDTH), "gate": (WIDTH, WIDTH)}),
        ({"rank": 2}, {"down": (WIDTH, 2), "up": (2, WIDTH)}),
    ],
)
def test_layer_contract(arguments, shapes):
    run_layer_test(
        CrossLayer,
        arguments,
        pair(),
        weight_shapes={**shapes, "bias": (WIDTH,)},
        reference=reference,
        compare_xla="rank" in arguments,
        bad_shapes=[((None, 3), (None, 4)), ((None, None), (None, None)), ((None, 2, 2),) * 2],
    )


def mixed(weights, inputs):
    rows = []
    for first, row in zip(*inputs, strict=True):
        powers = np.exp(weights["gate"].T @ row)
        total = 0
        for expert, share in enumerate(powers / powers.sum()):
            columns = slice(2 * expert, 2 * expert + 2)
            inner = np.tanh(weights["down"][:, columns].T @ row)
            inner = np.tanh(weights["middle"][expert].T @ inner)
            total = total + share * (weights["up"][columns].T @ inner)
        rows.append(first * (total + weights["bias"]) + row)
    return np.array(rows)


def test_layer_contract_of_a_mixture():
    run_layer_test(
        CrossMixture,
        {"rank": 2, "experts": 3},
        pair(),
        weight_shapes={
            "down": (WIDTH, 6),
            "middle": (3, 2, 2),
            "up": (6, WIDTH),
            "gate": (WIDTH, 3),
            "bias": (WIDTH,),
        },
        reference=mixed,
        bad_shapes=[((None, 3), (None, 4))],
    )


def test_a_matrix_of_equal_columns_is_a_vector():
    vector, matrix = CrossLayer("vector"), CrossLayer()
    expected = vector(*pair())
    matrix.build((None, WIDTH), (None, WIDTH))
    matrix.set_weights([np.tile(vector.get_weights()[0], WIDTH), np.zeros(WIDTH)])
    np.testing.assert_allclose(matrix(*pair()), expected, 1e-5, 1e-6)


def test_a_matrix_of_low_rank_is_the_product_of_two():
    low, full = CrossLayer(rank=2), CrossLayer()
    expected = low(*pair())
    full.build((None, WIDTH), (None, WIDTH))
    down, up, bias = low.get_weights()
    full.set_weights([down @ up, bias])
    np.testing.assert_allclose(full(*pair()), expected, 1e-5, 1e-6)


def test_a_gate_of_zero_lets_half_through():
    gated, plain = CrossLayer(gated=True), CrossLayer()
    plain.build((None, WIDTH), (None, WIDTH))
    gated.build((None, WIDTH), (None, WIDTH))
    gated.set_weights([2 * plain.get_weights()[0], np.zeros(WIDTH), np.zeros((WIDTH, WIDTH))])
    np.testing.assert_allclose(gated(*pair()), plain(*pair()), 1e-5, 1e-6)


def test_equal_experts_are_one():
    several, one = CrossMixture(2, 3), CrossMixture(2, 1)
    expected = one(*pair())
    down, middle, up, _, bias = one.get_weights()
    several.build((None, WIDTH), (None, WIDTH))
    gates = np.random.default_rng(0).normal(size=(WIDTH, 3))
    same = [np.tile(down, 3), np.tile(middle, (3, 1, 1)), np.tile(up, (3, 1)), gates, bias]
    several.set_weights(same)
    np.testing.assert_allclose(several(*pair()), expected, 1e-5, 1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"rank must be .* Received: 2 and kernel='vector'"):
        CrossLayer("vector", rank=2)
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0, 4"):
        CrossMixture(0)
