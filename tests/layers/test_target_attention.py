"""TargetAttention against loops in NumPy and against sums that it contains."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import TargetAttention
from ctr_keras.testing import run_layer_test
from tests.layers import test_dice
from tests.layers.test_item_interaction import PADDED, part_of, step_on_table
from tests.layers.test_tanh_attention import to_numpy, vectors, weights_of

pytestmark = pytest.mark.backend

COUNT, DIM = 5, 4
HIDDEN = (6, 3)


def candidates(rows=6):
    return np.random.default_rng(2).normal(size=(rows, DIM)).astype("float32")


def reference(weights, inputs, activation="dice", weighting="linear", mask=None):
    """One row and behaviour at a time."""
    candidate, behaviors = inputs
    outputs = np.zeros_like(candidate)
    for row, (q, keys) in enumerate(zip(candidate, behaviors, strict=True)):
        scores = np.zeros(len(keys))
        for t, k in enumerate(keys):
            x = np.concatenate([q, k, q - k, q * k])
            for index in range(len(HIDDEN)):
                x = x @ weights[f"dense_{index}/kernel"] + weights[f"dense_{index}/bias"]
                if activation == "dice":
                    x = test_dice.reference(part_of(weights, f"activation_{index}"), x, 1e-6)
                else:
                    x = np.tanh(x)
            scores[t] = (x @ weights["score/kernel"] + weights.get("score/bias", 0))[0]
        kept = [t for t in range(len(keys)) if mask is None or mask[row, t]]
        for t in kept:
            weight = scores[t]
            if weighting == "sigmoid":
                weight = 1 / (1 + np.exp(-scores[t]))
            elif weighting == "softmax":
                weight = np.exp(scores[t]) / sum(np.exp(scores[s]) for s in kept)
            outputs[row] += weight * keys[t]
    return outputs


def layer_of(activation="dice", weighting="linear", **more):
    return TargetAttention(HIDDEN, activation, weighting, kernel_initializer="he_normal", **more)


def shapes(activation, weighting):
    found, width = {}, 4 * DIM
    for index, units in enumerate(HIDDEN):
        found[f"dense_{index}/kernel"] = (width, units)
        found[f"dense_{index}/bias"] = (units,)
        if activation == "dice":
            start = f"activation_{index}"
            found[f"{start}/alpha"] = (units,)
            found[f"{start}/normalization/batches"] = ()
            for name in ("mean", "variance"):
                found[f"{start}/normalization/moving_{name}"] = (units,)
        width = units
    bias = {} if weighting == "softmax" else {"score/bias": (1,)}
    return found | {"score/kernel": (width, 1), **bias}


@pytest.mark.parametrize(
    ("activation", "weighting"), [("dice", "linear"), ("tanh", "sigmoid"), ("tanh", "softmax")]
)
def test_layer_contract(activation, weighting):
    run_layer_test(
        TargetAttention,
        {
            "hidden": HIDDEN,
            "activation": activation,
            "weighting": weighting,
            "kernel_initializer": "he_normal",
        },
        (candidates(), vectors()),
        weight_shapes=shapes(activation, weighting),
        reference=lambda weights, inputs: reference(weights, inputs, activation, weighting),
        bad_shapes=[
            ((None, DIM, 1), (None, COUNT, DIM)),
            ((None, DIM), (None, DIM)),
            ((None, DIM + 1), (None, COUNT, DIM)),
            ((None, None), (None, COUNT, None)),
        ],
        compare_xla=activation == "dice",
    )


@pytest.mark.parametrize("weighting", ["linear", "sigmoid", "softmax"])
def test_padding_has_no_say(weighting):
    layer = layer_of(weighting=weighting)
    candidate, behaviors = candidates(4), vectors(4)
    output, weights = layer(candidate, behaviors, PADDED, return_attention_scores=True)
    expected = reference(weights_of(layer), (candidate, behaviors), "dice", weighting, PADDED)
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)
    assert not to_numpy(weights)[~PADDED].any()
    assert not to_numpy(output)[2].any()  # empty history
    changed = np.where(PADDED[..., None], behaviors, 100 * vectors(4, seed=1))
    for training in (False, True):
        outputs = [layer_of(weighting=weighting) for _ in range(2)]
        outputs[0].build(candidate.shape, behaviors.shape)
        outputs[1].build(candidate.shape, behaviors.shape)
        outputs[1].set_weights(outputs[0].get_weights())
        one, other = (
            to_numpy(of(candidate, keys, PADDED, training=training))
            for of, keys in zip(outputs, (behaviors, changed), strict=True)
        )
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_no_gradient_reaches_padding():
    layer = layer_of()

    def output_of(item, behaviors, mask):
        return layer(keras.layers.Dense(DIM)(item), behaviors, behaviors_mask=mask)

    before, after = step_on_table(output_of)
    np.testing.assert_array_equal(after[0], before[0])
    assert np.isfinite(after).all()
    assert (after[1:] != before[1:]).any(axis=1).all()


@pytest.mark.parametrize(
    ("weighting", "bias", "factor"),
    [("linear", 1.0, 1), ("linear", 0.0, 0), ("sigmoid", 0.0, 0.5), ("softmax", None, 1 / COUNT)],
)
def test_scores_that_are_all_the_same_give_a_multiple_of_the_sum(weighting, bias, factor):
    layer = layer_of(weighting=weighting)
    layer.build((None, DIM), (None, COUNT, DIM))
    biases = [] if bias is None else [np.array([bias])]
    layer.score.set_weights([np.zeros((HIDDEN[-1], 1)), *biases])
    expected = factor * vectors().sum(axis=1)
    np.testing.assert_allclose(layer(candidates(), vectors()), expected, 1e-5, 1e-6)


def test_a_match_can_be_told_by_the_product_alone():
    """A network of one linear unit on `q * k` weighs by the inner product."""
    layer = TargetAttention((1,), "linear")
    layer.build((None, DIM), (None, COUNT, DIM))
    kernel = np.zeros((4 * DIM, 1))
    kernel[3 * DIM :] = 1
    layer.set_weights([kernel, np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    _, weights = layer(candidates(), vectors(), return_attention_scores=True)
    expected = np.einsum("bd,btd->bt", candidates(), vectors())
    np.testing.assert_allclose(weights, expected, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weighting": "mean"}, "weighting must be one of linear, sigmoid, softmax"),
        ({"activation": "dise"}, "dise"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TargetAttention(**arguments)
