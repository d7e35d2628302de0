"""MLP against loops in NumPy."""

import itertools

import keras
import numpy as np
import pytest

from ctr_keras.layers import MLP
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

DIM, UNITS = 5, (6, 4)
ORDERS = ("before", "after", "unscaled")


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def inputs(rows=7):
    return np.random.default_rng(0).normal(size=(rows, DIM)).astype("float32")


def reference(weights, inputs, normalization=None, order="before"):
    """Layer by layer, row by row."""

    def normalize(values, name):
        mean, variance = values.mean(), values.var()
        if normalization == "batch":
            mean, variance = weights[f"{name}/moving_mean"], weights[f"{name}/moving_variance"]
        normal = (values - mean) / np.sqrt(variance + 1e-3)
        return weights.get(f"{name}/gamma", 1.0) * normal + weights[f"{name}/beta"]

    outputs = []
    for row in inputs:
        for index in range(len(UNITS)):
            kernel = weights[f"dense_{index}/kernel"]
            bias = weights.get(f"dense_{index}/bias", np.zeros(kernel.shape[1]))
            hidden = np.zeros(kernel.shape[1])
            for unit in range(len(hidden)):
                hidden[unit] = sum(row[i] * kernel[i, unit] for i in range(len(row))) + bias[unit]
            if normalization and order != "after":
                hidden = normalize(hidden, f"normalization_{index}")
            hidden = np.maximum(hidden, 0)
            if normalization and order == "after":
                hidden = normalize(hidden, f"normalization_{index}")
            row = hidden
        outputs.append(row)
    return np.array(outputs)


def weight_shapes(normalization, order):
    has_bias = normalization is None or order != "unscaled"
    shapes = {}
    for index, (width, units) in enumerate(((DIM, 6), (6, 4))):
        shapes[f"dense_{index}/kernel"] = (width, units)
        if has_bias:
            shapes[f"dense_{index}/bias"] = (units,)
        names = ["beta"] if normalization else []
        names += ["gamma"] if normalization and has_bias else []
        names += ["moving_mean", "moving_variance"] if normalization == "batch" else []
        shapes |= {f"normalization_{index}/{name}": (units,) for name in names}
        shapes |= {f"normalization_{index}/batches": ()} if normalization == "batch" else {}
    return shapes


@pytest.mark.parametrize(
    ("normalization", "order"),
    [(None, "unscaled"), ("layer", "before"), ("layer", "after"), ("batch", "unscaled")],
)
def test_layer_contract(normalization, order):
    run_layer_test(
        MLP,
        {
            "units": UNITS,
            "normalization": normalization,
            "order": order,
            "bias_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=1),
        },
        inputs(),
        weight_shapes=weight_shapes(normalization, order),
        reference=lambda weights, inputs: reference(weights, inputs, normalization, order),
        compare_xla=normalization == "batch",
        bad_shapes=[(DIM,), (None, None)],
    )


@pytest.mark.parametrize(
    ("normalization", "order"), itertools.product((None, "layer", "batch"), ORDERS)
)
def test_any_weights(normalization, order):
    layer = MLP(UNITS, normalization=normalization, order=order)
    layer.build((None, DIM))
    draw = np.random.default_rng(1)
    for weight in layer.weights:
        is_variance = weight.path.endswith("moving_variance")
        weight.assign(
            draw.uniform(0.5, 2, weight.shape) if is_variance else draw.normal(size=weight.shape)
        )
    weights = {weight.path.partition("/")[2]: to_numpy(weight) for weight in layer.weights}
    shapes = {path: array.shape for path, array in weights.items()}
    assert shapes == weight_shapes(normalization, order)
    expected = reference(weights, inputs(), normalization, order)
    np.testing.assert_allclose(layer(inputs()), expected, 1e-4, 1e-4)


def test_batch_statistics_in_training_only():
    layer = MLP([3], activation="linear", normalization="batch", order="unscaled")
    layer.build((None, DIM))
    hidden = inputs(50) @ to_numpy(layer.weights[0])
    np.testing.assert_allclose(layer(inputs(50)), hidden / np.sqrt(1.001), 1e-4, 1e-5)
    output = to_numpy(layer(inputs(50), training=True))
    np.testing.assert_allclose(output.mean(axis=0), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(output.std(axis=0), np.ones(3), atol=2e-3)


def test_any_number_of_axes():
    layer = MLP(UNITS, normalization="layer")
    grid = np.random.default_rng(2).normal(size=(2, 3, DIM)).astype("float32")
    expected = to_numpy(layer(grid.reshape(6, DIM))).reshape(2, 3, 4)
    again = MLP(UNITS, normalization="layer")
    again.build(grid.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(grid), expected, 1e-5, 1e-6)


def test_hidden_widths_and_activation_are_those_asked_for():
    layer = MLP([3], activation="linear", kernel_initializer="ones", bias_initializer="ones")
    np.testing.assert_allclose(layer(np.array([[1.0, 2.0]])), [[4.0, 4.0, 4.0]])


@pytest.mark.parametrize("order", ["before", "after"])
def test_dropout_is_on_in_training_only_and_comes_last(order):
    keras.utils.set_random_seed(0)
    normalization = None if order == "before" else "layer"
    layer = MLP([400], dropout=0.5, normalization=normalization, order=order)
    whole = to_numpy(layer(inputs()))
    np.testing.assert_array_equal(layer(inputs()), whole)
    dropped = to_numpy(layer(inputs(), training=True))
    kept = dropped != 0
    np.testing.assert_allclose(dropped, 2 * whole * kept, 1e-5, 1e-5)
    assert 0.4 < kept[whole != 0].mean() < 0.6


def test_regularizer_reaches_every_kernel():
    layer = MLP(UNITS, kernel_regularizer=keras.regularizers.L2(0.5), bias_initializer="ones")
    layer.build((None, DIM))
    kernels = [to_numpy(weight) for weight in layer.weights if weight.name == "kernel"]
    assert len(kernels) == 2
    expected = 0.5 * sum((kernel**2).sum() for kernel in kernels)
    np.testing.assert_allclose(sum(to_numpy(loss) for loss in layer.losses), expected, 1e-5)


def test_layers_do_not_start_equal():
    layer = MLP([5, 5], kernel_initializer=keras.initializers.RandomNormal(seed=None))
    layer.build((None, 5))
    first, _, second, _ = (to_numpy(weight) for weight in layer.weights)
    assert (first != second).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": ()}, r"units .* Received: \(\)"),
        ({"units": (3, 0)}, r"Received: \(3, 0\)"),
        ({"units": (3,), "normalization": "group"}, "normalization .* Received: 'group'"),
        ({"units": (3,), "order": "pre"}, "order must be one of before, .* Received: 'pre'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**arguments)


def test_nan_passes_in_compiled_code_where_it_stands_for_a_wrong_id():
    inputs = np.array([[1.0, 2.0], [np.nan, 2.0]], "float32")
    layer = MLP([4, 3], check_ids=True)
    model = keras.Sequential([layer])
    model.compile(jit_compile=False)
    outputs = model.predict(inputs, verbose=0)
    np.testing.assert_array_equal(np.isnan(outputs), [[False] * 3, [True] * 3])
    np.testing.assert_allclose(outputs[0], to_numpy(layer(inputs))[0], 1e-6)
