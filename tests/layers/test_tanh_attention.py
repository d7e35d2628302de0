"""TanhAttention against loops in NumPy and against what its equation implies."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import TanhAttention
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

VECTORS, DIM = 5, 4


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def vectors(rows=6, count=VECTORS, dim=DIM, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, count, dim)).astype("float32")


def reference(weights, inputs, *, temperature=1.0, mask=None):
    """Equations 7 and 8, one row and vector at a time."""
    kernel, bias = weights["kernel"], weights["bias"]
    outputs = np.zeros(inputs.shape[:2])
    for i, row in enumerate(inputs):
        kept = [n for n in range(len(row)) if mask is None or mask[i, n]]
        powers = {}
        for n in kept:
            place = 0 if len(kernel) == 1 else n
            score = np.tanh(row[n] @ kernel[place] + bias[place])
            powers[n] = np.exp(score / temperature)
        for n in kept:
            outputs[i, n] = powers[n] / sum(powers.values())
    return outputs


def weights_of(layer):
    return {weight.path.partition("/")[2]: to_numpy(weight) for weight in layer.weights}


@pytest.mark.parametrize("shared", [False, True])
def test_layer_contract(shared):
    scorers = 1 if shared else VECTORS
    unknown_number = [] if shared else [(None, None, DIM)]
    run_layer_test(
        TanhAttention,
        {"shared": shared, "temperature": 0.5, "kernel_initializer": "he_normal"},
        vectors(),
        weight_shapes={"kernel": (scorers, DIM), "bias": (scorers,)},
        reference=lambda weights, inputs: reference(weights, inputs, temperature=0.5),
        compare_xla=not shared,
        bad_shapes=[(None, DIM), (None, VECTORS, None), (None, VECTORS, DIM, 1), *unknown_number],
        field_axis=1 if shared else None,
        equivariant=shared,
    )


@pytest.mark.parametrize(("count", "bound"), [(30, 0.203), (7, 0.552)])
def test_tanh_bounds_the_weights(count, bound):
    layer = TanhAttention(shared=True, kernel_initializer=keras.initializers.Constant(9))
    output = to_numpy(layer(9 * vectors(count=count)))
    highest = np.e**2 / (np.e**2 + count - 1)
    lowest = 1 / (1 + (count - 1) * np.e**2)
    np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-6)
    assert output.max() <= highest * (1 + 1e-6)
    assert round(highest, 3) == bound
    assert output.min() >= lowest * (1 - 1e-6)
    one_above, one_below = -np.ones((count, DIM), "float32"), np.ones((count, DIM), "float32")
    one_above[0], one_below[0] = 1, -1
    extremes = to_numpy(layer(np.stack([one_above, one_below])))
    np.testing.assert_allclose(extremes[:, 0], [highest, lowest], 1e-5)


def test_two_vectors_by_hand():
    layer = TanhAttention(shared=True, temperature=0.25, kernel_initializer="ones")
    layer.build((None, 2, 1))
    layer.bias.assign([0.1])
    output = to_numpy(layer(np.array([[[0.4], [-0.6]]], "float32")))
    difference = (np.tanh(0.5) - np.tanh(-0.5)) / 0.25
    first = 1 / (1 + np.exp(-difference))
    np.testing.assert_allclose(output, [[first, 1 - first]], 1e-5)


def test_a_low_temperature_picks_the_highest_score_that_is_there():
    layer = TanhAttention(shared=True, temperature=0.001, kernel_initializer="ones")
    inputs = np.array([[[0.9], [-0.8], [-0.7]]] * 2, "float32")
    output = layer(inputs, mask=np.array([[True, True, True], [False, True, True]]))
    np.testing.assert_allclose(output, [[1, 0, 0], [0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_masks_may_differ_from_row_to_row(shared):
    layer = TanhAttention(shared, kernel_initializer="he_normal")
    inputs = vectors(rows=4)
    mask = np.ones((4, VECTORS), bool)
    mask[0, 1] = mask[1, :3] = mask[2] = False
    output = to_numpy(layer(inputs, mask=mask))
    np.testing.assert_allclose(output, reference(weights_of(layer), inputs, mask=mask), 1e-5)
    assert not output[~mask].any()
    np.testing.assert_allclose(output.sum(axis=1), [1, 1, 0, 1], rtol=1e-6)  # row 2 has nothing
    changed = np.where(mask[..., None], inputs, 100 * vectors(rows=4, seed=1))
    np.testing.assert_allclose(layer(changed, mask=mask), output, 1e-6)


def test_a_mask_that_keras_carries_counts():
    layer = TanhAttention(shared=True, kernel_initializer="he_normal")
    inputs = vectors(rows=2)
    inputs[0, 3:] = inputs[1, 0] = 0
    model = keras.Sequential([keras.layers.Masking(), layer])
    expected = layer(inputs, mask=(inputs != 0).any(axis=-1))
    np.testing.assert_allclose(model(inputs), expected, 1e-6)
    assert not to_numpy(expected)[0, 3:].any()


@pytest.mark.parametrize("shared", [False, True])
def test_zero_weights_weigh_equally(shared):
    layer = TanhAttention(shared, kernel_initializer="zeros")
    np.testing.assert_allclose(layer(vectors()), np.full((6, VECTORS), 1 / VECTORS), 1e-6)
    mask = np.array([[True, False, True, True, True]] * 6)
    np.testing.assert_allclose(layer(vectors(), mask=mask), mask / 4, 1e-6)


def test_one_vector_has_all_the_weight():
    layer = TanhAttention(kernel_initializer="he_normal")
    assert (to_numpy(layer(vectors(count=1))) == 1).all()


def test_each_place_has_its_own_weights_unless_shared():
    layer = TanhAttention(kernel_initializer="he_normal")
    inputs = vectors()
    before = to_numpy(layer(inputs))
    order = [3, 0, 4, 1, 2]
    moved = to_numpy(layer(inputs[:, order]))
    assert np.abs(moved - before[:, order]).max() > 0.01
    layer.kernel.assign(to_numpy(layer.kernel)[order])
    np.testing.assert_allclose(layer(inputs[:, order]), before[:, order], 1e-5)


def test_shared_weights_take_any_number_of_vectors():
    inputs = keras.Input((None, DIM))
    layer = TanhAttention(shared=True, kernel_initializer="he_normal")
    model = keras.Model(inputs, layer(inputs))
    for count in (2, 7):
        expected = reference(weights_of(layer), vectors(count=count))
        np.testing.assert_allclose(model(vectors(count=count)), expected, 1e-5)


def test_starts_as_the_paper_says():
    layer = TanhAttention()
    layer.build((None, 50, 200))
    kernel = to_numpy(layer.kernel)
    # Cut at two deviations, a normal of 0.02 has a deviation of 0.88 * 0.02 left.
    assert 0.017 < kernel.std() < 0.0205
    assert np.abs(kernel).max() <= 0.04 + 1e-6
    assert not to_numpy(layer.bias).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_is_in_float32_under_mixed_precision(dtype, monkeypatch):
    seen = []
    exp_of_keras = keras.ops.exp

    def spy(scores):
        seen.append(keras.backend.standardize_dtype(scores.dtype))
        return exp_of_keras(scores)

    monkeypatch.setattr(keras.ops, "exp", spy)
    layer = TanhAttention(temperature=0.05, dtype=f"mixed_{dtype}", kernel_initializer="ones")
    output = layer(vectors())
    assert seen == ["float32"]
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    sums = to_numpy(keras.ops.sum(keras.ops.cast(output, "float32"), axis=1))
    np.testing.assert_allclose(sums, 1, atol=0.02)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_bad_arguments_are_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature must be over 0. Received: {temperature}"):
        TanhAttention(temperature=temperature)
