"""GlobalInteraction against loops in NumPy and against what its equations imply."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import GlobalInteraction
from ctr_keras.testing import run_layer_test
from tests.layers import test_tanh_attention
from tests.layers.test_tanh_attention import to_numpy, weights_of

pytestmark = pytest.mark.backend

WIDTH = 6
WIDTHS = (4, 6, 5, 4, 6, 6, 2)


def parts(widths=WIDTHS, rows=6):
    draw = np.random.default_rng(0)
    return [draw.normal(size=(rows, width)).astype("float32") for width in widths]


def reference(weights, inputs, *, width=WIDTH, temperature=1.0):
    """Equation 15, one row and part at a time; a part without a map is filled up with zeros."""
    rows = []
    for i in range(len(inputs[0])):
        row = []
        for index, part in enumerate(inputs):
            if f"map_{index}/kernel" in weights:
                row.append(part[i] @ weights[f"map_{index}/kernel"])
            else:
                row.append(np.append(part[i], np.zeros(width - part.shape[1])))
        rows.append(row)
    rows = np.array(rows)
    scorers = {name: weights[f"attention/{name}"] for name in ("kernel", "bias")}
    attention = test_tanh_attention.reference(scorers, rows, temperature=temperature)
    return np.array(
        [
            sum(a[n] * row[n] for n in range(len(row)))
            for a, row in zip(attention, rows, strict=True)
        ]
    )


def make(align="linear", **more):
    return GlobalInteraction(WIDTH, align=align, kernel_initializer="he_normal", **more)


@pytest.mark.parametrize("align", ["linear", "zero_pad"])
def test_layer_contract(align):
    scorers = {"attention/kernel": (7, WIDTH), "attention/bias": (7,)}
    bad_shapes = [[(None, 4), (None, 6, 1)], [(None, 4), (None, None)], [], (None, 4)]
    maps = {f"map_{n}/kernel": (w, WIDTH) for n, w in enumerate(WIDTHS) if w != WIDTH}
    too_wide = [[(None, 4), (None, WIDTH + 1)]] if align == "zero_pad" else []
    run_layer_test(
        GlobalInteraction,
        {
            "width": WIDTH,
            "align": align,
            "temperature": 0.5,
            "kernel_initializer": "he_normal",
        },
        parts(),
        weight_shapes=scorers | maps if align == "linear" else scorers,
        reference=lambda weights, inputs: reference(weights, inputs, temperature=0.5),
        compare_xla=align == "linear",
        bad_shapes=[*bad_shapes, *too_wide],
    )


def test_maps_narrow_as_well_as_widen():
    layer = make()
    inputs = parts((9, 2))
    np.testing.assert_allclose(layer(inputs), reference(weights_of(layer), inputs), 1e-4, 1e-5)
    assert layer.count_params() == 9 * WIDTH + 2 * WIDTH + 2 * (WIDTH + 1)


def test_parameter_count_of_the_paper():
    layer = GlobalInteraction(64)
    layer.build([(None, width) for width in (32, 64, 32, 64, 64, 64, 64)])
    assert layer.count_params() == 4096 + 455
    first, second = (to_numpy(one.kernel) for one in layer.maps)
    assert (first != second).any()
    assert 0.015 < first.std() < 0.02  # a normal of 0.02, cut at two deviations
    padded = GlobalInteraction(64, align="zero_pad")
    padded.build([(None, width) for width in (32, 64, 32, 64, 64, 64, 64)])
    assert padded.count_params() == 455


@pytest.mark.parametrize("align", ["linear", "zero_pad"])
def test_weights_are_a_distribution_within_the_bounds_of_tanh(align):
    layer = make(align)
    _, weights = layer([20 * part for part in parts()], return_attention_scores=True)
    weights = to_numpy(weights)
    assert weights.shape == (6, 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert weights.max() <= np.e**2 / (np.e**2 + 6) + 1e-6 < 0.5521
    assert weights.min() >= (1 - 1e-6) / (1 + 6 * np.e**2)


def test_zero_score_weights_give_the_mean_of_padded_parts():
    layer = GlobalInteraction(WIDTH, align="zero_pad", kernel_initializer="zeros")
    padded = [np.pad(part, [(0, 0), (0, WIDTH - part.shape[1])]) for part in parts()]
    np.testing.assert_allclose(layer(parts()), np.mean(padded, axis=0), 1e-5, 1e-6)


def test_one_part_is_the_output():
    output, weights = make()(parts((WIDTH,)), return_attention_scores=True)
    assert (to_numpy(weights) == 1).all()
    np.testing.assert_array_equal(output, parts((WIDTH,))[0])


def test_each_part_has_its_own_score_weights():
    layer = make()
    inputs = parts((WIDTH, WIDTH, WIDTH))
    expected = to_numpy(layer(inputs))
    moved = [inputs[n] for n in (2, 0, 1)]
    assert np.abs(to_numpy(layer(moved)) - expected).max() > 0.01
    layer.attention.kernel.assign(to_numpy(layer.attention.kernel)[[2, 0, 1]])
    np.testing.assert_allclose(layer(moved), expected, 1e-5, 1e-6)


def test_symbolic_call_with_scores_survives_saving(tmp_path):
    inputs = [keras.Input((width,)) for width in WIDTHS]
    layer = make()
    output, weights = layer(inputs, return_attention_scores=True)
    assert (output.shape, weights.shape) == ((None, WIDTH), (None, 7))
    expected = layer(parts(), return_attention_scores=True)
    keras.Model(inputs, [output, weights]).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for actual, tensor in zip(loaded.predict(parts(), verbose=0), expected, strict=True):
        np.testing.assert_allclose(actual, tensor, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be at least 1. Received: 0"),
        ({"width": 4, "align": "pad"}, "align must be one of linear, zero_pad. Received: 'pad'"),
        ({"width": 4, "temperature": 0}, "temperature must be over 0. Received: 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalInteraction(**arguments)(parts((4,)))
