"""GRDA against its recurrence, written out for one weight."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.optimizers import GRDA
from tests.packed import JIT

pytestmark = pytest.mark.backend


def recurrence(start, gradients, rates, c, mu):
    """The weight after each step, in float64 (AutoFIS, Equation 13, step by step)."""
    weights, accumulator, threshold = [], float(start), 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        accumulator -= rate * gradient
        threshold += c * rate ** (0.5 + mu) * (step**mu - (step - 1) ** mu)
        weights.append(np.sign(accumulator) * max(abs(accumulator) - threshold, 0.0))
    return weights


def apply(optimizer, start, gradients):
    """The weights after each step, (steps, weights)."""
    variable = keras.Variable(np.array(start, "float32"))
    weights = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(np.array(gradient, "float32"))], [variable])
        weights.append(ops.convert_to_numpy(variable).copy())
    return np.array(weights)


def test_a_thousand_steps_with_a_falling_learning_rate():
    start = [0.6, -0.4, 0.05, 1.5]
    gradients = np.random.default_rng(0).normal(scale=0.02, size=(1000, 4)).astype("float32")
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 200, 0.6, staircase=True)
    rates = [0.6 ** (step // 200) for step in range(1000)]
    weights = apply(GRDA(schedule, c=0.005, mu=0.7), start, gradients)
    for column, begin in enumerate(start):
        expected = recurrence(begin, gradients[:, column], rates, 0.005, 0.7)
        np.testing.assert_allclose(weights[:, column], expected, rtol=0, atol=2e-5)
        # Zeros are zeros at the same steps, but for those where the two round differently.
        assert np.sum((weights[:, column] == 0) != (np.array(expected) == 0)) <= 2
    assert (weights[-1] == 0).any()
    assert (weights[-1] != 0).any()


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has an SGD for PyTorch that rounds otherwise"
)
def test_without_a_threshold_it_is_gradient_descent_bit_for_bit():
    gradients = np.random.default_rng(1).normal(size=(200, 3)).astype("float32")
    weights = apply(GRDA(0.1, c=0.0), [0.6, -0.4, 0.0], gradients)
    np.testing.assert_array_equal(
        weights, apply(keras.optimizers.SGD(0.1), [0.6, -0.4, 0.0], gradients)
    )


def test_first_step_shrinks_by_c():
    weights = apply(GRDA(0.5, c=0.1, mu=0.6), [1.0], [[0.4]])
    assert weights[0, 0] == pytest.approx(1.0 - 0.2 - 0.1 * 0.5**1.1)


def test_a_weight_without_gradient_closes_when_the_threshold_reaches_it():
    weights = apply(GRDA(1.0, c=0.02, mu=0.6), [0.6], [[0.0]] * 300)[:, 0]
    closed = int(np.argmax(weights == 0)) + 1
    assert abs(closed - 290) <= 1  # the first t with c t^mu >= 0.6
    assert (weights[closed - 1 :] == 0).all()


def test_a_closed_weight_can_come_back():
    weights = apply(GRDA(1.0, c=0.2, mu=0.5), [0.1], [[0.0]] * 3 + [[-0.3]] * 10)[:, 0]
    assert weights[2] == 0
    assert weights[-1] > 0


def test_late_steps_keep_growing_the_threshold():
    """In float32 `t^mu - (t-1)^mu` itself would be a step function of its rounding errors."""
    optimizer = GRDA(1.0, c=1.0, mu=0.8)
    variable = keras.Variable([1e6])
    optimizer.build([variable])
    optimizer.iterations.assign(99_999)
    optimizer.apply([ops.zeros((1,))], [variable])
    growth = float(ops.convert_to_numpy(optimizer.variables[-1]))
    assert growth == pytest.approx(100_000**0.8 - 99_999**0.8, rel=1e-4)


def linear_model(optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="linear")])
    model.layers[0].kernel.assign(np.full((3, 2), 0.5))
    model.compile(optimizer, loss="mse", jit_compile=JIT)
    return model


def test_saved_and_restored_it_goes_on_as_if_nothing_had_been(tmp_path):
    draw = np.random.default_rng(2)
    inputs, labels = draw.normal(size=(64, 3)), draw.normal(size=(64, 2))
    model = linear_model(GRDA(0.1, c=0.01))
    model.fit(inputs, labels, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, restored):
        one.fit(inputs, labels, batch_size=16, shuffle=False, verbose=0)
    for mine, its in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (mine, its)))


@pytest.mark.parametrize("jit_compile", [True, False])
def test_compiled_or_not_it_is_the_same(jit_compile):
    draw = np.random.default_rng(3)
    inputs, labels = draw.normal(size=(64, 3)), draw.normal(size=(64, 2))
    model = linear_model(GRDA(0.1, c=0.01))
    model.compile(model.optimizer, loss="mse", jit_compile=jit_compile)
    model.fit(inputs, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
    kernel, bias = np.full((3, 2), 0.5), np.zeros(2)
    paths = [kernel.copy(), bias.copy()]
    threshold = 0.0
    for step in range(1, 9):
        batch = slice(16 * ((step - 1) % 4), 16 * ((step - 1) % 4) + 16)
        error = 2 * (inputs[batch] @ kernel + bias - labels[batch]) / labels[batch].size
        paths = [paths[0] - 0.1 * inputs[batch].T @ error, paths[1] - 0.1 * error.sum(axis=0)]
        threshold += 0.01 * 0.1**1.3 * (step**0.8 - (step - 1) ** 0.8)
        kernel, bias = (np.sign(p) * np.maximum(np.abs(p) - threshold, 0) for p in paths)
    np.testing.assert_allclose(ops.convert_to_numpy(model.layers[0].kernel), kernel, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(model.layers[0].bias), bias, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"c": -0.1}, "c must be at least 0. Received: -0.1"),
        ({"mu": 0}, "mu must be over 0. Received: 0"),
        ({"mu": -0.5}, "mu must be over 0. Received: -0.5"),
        ({"weight_decay": 0.1, "clipnorm": 1.0}, "GRDA takes no weight_decay, clipnorm"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GRDA(**arguments)
