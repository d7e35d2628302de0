"""MLP against loops in NumPy."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import MLP
from ctr_keras.testing import run_layer_test


def reference(weights, inputs, normalization=None):
    """relu(normalize(x W + b)), layer by layer, row by row."""
    outputs = []
    for row in inputs:
        for index in range(2):
            kernel, bias = weights[f"dense_{index}/kernel"], weights[f"dense_{index}/bias"]
            hidden = np.array(
                [
                    sum(row[i] * kernel[i, j] for i in range(len(row))) + bias[j]
                    for j in range(len(bias))
                ]
            )
            if normalization == "layer":
                hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-3)
            if normalization == "batch":  # fresh statistics: mean 0, variance 1
                hidden = hidden / np.sqrt(1 + 1e-3)
            row = np.maximum(hidden, 0)
        outputs.append(row)
    return np.array(outputs)


@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_layer_contract(normalization):
    names = {"layer": ["gamma", "beta"]}
    names["batch"] = [*names["layer"], "moving_mean", "moving_variance"]
    shapes = {"dense_0/kernel": (5, 6), "dense_0/bias": (6,)}
    shapes |= {"dense_1/kernel": (6, 4), "dense_1/bias": (4,)}
    for index, units in enumerate((6, 4)):
        shapes |= {f"normalization_{index}/{name}": (units,) for name in names[normalization]}
    run_layer_test(
        MLP,
        {"units": (6, 4), "normalization": normalization, "bias_initializer": "random_normal"},
        np.random.default_rng(0).normal(size=(7, 5)).astype("float32"),
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(weights, inputs, normalization),
        bad_shapes=[(5,), (None, None)],
    )


def test_hidden_widths_and_activation_are_those_asked_for():
    layer = MLP([3], activation="linear", kernel_initializer="ones", bias_initializer="ones")
    np.testing.assert_allclose(layer(np.array([[1.0, 2.0]])), [[4.0, 4.0, 4.0]])


def test_dropout_is_on_in_training_only():
    layer = MLP([400], dropout=0.5, kernel_initializer="ones")
    inputs = np.ones((2, 3), "float32")
    np.testing.assert_allclose(layer(inputs), np.full((2, 400), 3.0))
    dropped = keras.ops.convert_to_numpy(layer(inputs, training=True))
    assert set(np.unique(dropped)) == {0.0, 6.0}
    assert 0.4 < (dropped == 0).mean() < 0.6


def test_layers_do_not_start_equal():
    layer = MLP([5, 5], kernel_initializer=keras.initializers.RandomNormal(seed=None))
    layer.build((None, 5))
    first, _, second, _ = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": ()}, r"units .* Received: \(\)"),
        ({"units": (3, 0)}, r"Received: \(3, 0\)"),
        ({"units": (3,), "normalization": "group"}, "normalization .* Received: 'group'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**arguments)
