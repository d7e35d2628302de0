"""TransformerBlock against loops in NumPy and against what its equations imply."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import TransformerBlock
from ctr_keras.testing import run_layer_test
from tests.layers.test_tanh_attention import to_numpy, vectors, weights_of

pytestmark = pytest.mark.backend

HEADS, DIM, HIDDEN, LENGTH = 2, 4, 7, 5
HEAD_DIM = DIM // HEADS
SHAPES = {
    "attention/query/kernel": (DIM, HEADS, HEAD_DIM),
    "attention/key/kernel": (DIM, HEADS, HEAD_DIM),
    "attention/value/kernel": (DIM, HEADS, HEAD_DIM),
    "attention/attention_output/kernel": (HEADS, HEAD_DIM, DIM),
    "expansion/kernel": (DIM, HIDDEN),
    "expansion/bias": (HIDDEN,),
    "contraction/kernel": (HIDDEN, DIM),
    "contraction/bias": (DIM,),
    "attention_normalization/gamma": (DIM,),
    "attention_normalization/beta": (DIM,),
    "feed_forward_normalization/gamma": (DIM,),
    "feed_forward_normalization/beta": (DIM,),
}
FINAL_SHAPES = {"final_normalization/gamma": (DIM,), "final_normalization/beta": (DIM,)}


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def normalized(weights, name, row):
    outputs = []
    for vector in row:
        centered = vector - vector.mean()
        normal = centered / np.sqrt((centered**2).mean() + 1e-6)
        outputs.append(weights[f"{name}/gamma"] * normal + weights[f"{name}/beta"])
    return np.array(outputs)


def attended(weights, row, kept):
    """Equation 4, one head and position at a time, over the positions that are kept."""
    query, key, value = (weights[f"attention/{n}/kernel"] for n in ("query", "key", "value"))
    output = np.zeros(row.shape)
    for head in range(query.shape[1]):
        for t in range(len(row)):
            products = [(row[t] @ query[:, head]) @ (row[k] @ key[:, head]) for k in kept]
            attention = softmax(np.array(products) / np.sqrt(query.shape[2]))
            mixed = sum(a * (row[k] @ value[:, head]) for a, k in zip(attention, kept, strict=True))
            output[t] += mixed @ weights["attention/attention_output/kernel"][head]
    return output


def fed_forward(weights, row):
    outputs = []
    for vector in row:
        hidden = np.maximum(vector @ weights["expansion/kernel"] + weights["expansion/bias"], 0)
        outputs.append(hidden @ weights["contraction/kernel"] + weights["contraction/bias"])
    return np.array(outputs)


def reference(weights, inputs, *, normalization, mask=None):
    """Equations 3 to 5, with residuals, one row at a time; masked positions give zeros."""
    names = ("attention_normalization", "feed_forward_normalization")
    outputs = np.zeros(inputs.shape)
    for i, row in enumerate(inputs):
        kept = [t for t in range(len(row)) if mask is None or mask[i, t]]
        if not kept:
            continue
        x = row + weights.get("positions", 0.0)
        if normalization == "pre":
            m = x + attended(weights, normalized(weights, names[0], x), kept)
            h = m + fed_forward(weights, normalized(weights, names[1], m))
        else:
            m = normalized(weights, names[0], x + attended(weights, x, kept))
            h = normalized(weights, names[1], m + fed_forward(weights, m))
        if "final_normalization/gamma" in weights:
            h = normalized(weights, "final_normalization", h)
        outputs[i, kept] = h[kept]
    return outputs


def block(normalization="pre", **more):
    return TransformerBlock(
        HEADS, HIDDEN, normalization=normalization, kernel_initializer="he_normal", **more
    )


VARIANTS = {
    "pre": ({"normalization": "pre"}, SHAPES),
    "post": ({"normalization": "post"}, SHAPES),
    "pre-final": ({"normalization": "pre", "final_normalization": True}, SHAPES | FINAL_SHAPES),
    "post-with-all": (
        {"normalization": "post", "positions": True, "final_normalization": True},
        SHAPES | FINAL_SHAPES | {"positions": (LENGTH, DIM)},
    ),
}


@pytest.mark.parametrize("variant", ["pre", "post-with-all"])
def test_layer_contract(variant):
    arguments, shapes = VARIANTS[variant]
    positions = "positions" in arguments
    unknown_length = [(None, None, DIM)] if positions else []
    run_layer_test(
        TransformerBlock,
        {"heads": HEADS, "hidden": HIDDEN, "kernel_initializer": "he_normal", **arguments},
        vectors(rows=2),
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(
            weights, inputs, normalization=arguments["normalization"]
        ),
        compare_xla=variant == "post-with-all",
        bad_shapes=[(None, DIM), (None, LENGTH, None), (None, LENGTH, 3), *unknown_length],
        field_axis=None if positions else 1,
        equivariant=not positions,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_masks_may_differ_from_row_to_row(variant):
    layer = block(**VARIANTS[variant][0])
    inputs = vectors(rows=4)
    mask = np.ones((4, LENGTH), bool)
    mask[0, 1] = mask[1, :3] = mask[2] = False  # row 2 has no behaviour at all
    output = to_numpy(layer(inputs, mask=mask))
    normalization = VARIANTS[variant][0]["normalization"]
    expected = reference(weights_of(layer), inputs, normalization=normalization, mask=mask)
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)
    assert not output[~mask].any()
    changed = np.where(mask[..., None], inputs, 100 * vectors(rows=4, seed=1))
    np.testing.assert_allclose(layer(changed, mask=mask), output, atol=1e-6)


@pytest.mark.parametrize("normalization", ["pre", "post"])
def test_the_amount_of_padding_has_no_say(normalization):
    layer = block(normalization)
    short = vectors()
    expected = layer(short)
    for left in (0, 25, 11):
        padded = np.pad(short, [(0, 0), (left, 25 - left), (0, 0)], constant_values=9)
        mask = np.zeros((6, 30), bool)
        mask[:, left : left + LENGTH] = True
        output = to_numpy(layer(padded, mask=mask))
        np.testing.assert_allclose(output[:, left : left + LENGTH], expected, 1e-5, 1e-6)


def test_a_mask_that_keras_carries_counts_and_is_carried_on():
    layer = block()
    inputs = vectors(rows=2)
    inputs[0, 3:] = inputs[1, 0] = 0
    mask = (inputs != 0).any(axis=-1)
    masking = keras.layers.Masking()
    output = layer(masking(inputs))
    np.testing.assert_allclose(output, layer(inputs, mask=mask), 1e-6)
    assert (to_numpy(layer.compute_mask(inputs, mask)) == mask).all()


@pytest.mark.parametrize("positions", [False, True])
def test_pre_norm_without_branches_is_the_identity(positions):
    for normalization in ("pre", "post"):
        layer = block(normalization, positions=positions)
        layer.build((None, LENGTH, DIM))
        for part in (layer.attention.output_dense, layer.contraction):
            part.kernel.assign(np.zeros(part.kernel.shape))
        inputs = vectors()
        expected = inputs + to_numpy(layer.position_vectors) if positions else inputs
        difference = np.abs(to_numpy(layer(inputs)) - expected).max()
        assert difference < 1e-6 if normalization == "pre" else difference > 0.1


def test_only_positions_tell_the_order():
    order = [3, 0, 4, 1, 2]
    for positions in (False, True):
        layer = block(positions=positions)
        expected = to_numpy(layer(vectors()))[:, order]
        difference = np.abs(to_numpy(layer(vectors()[:, order])) - expected).max()
        assert difference > 0.1 if positions else difference < 1e-5


def test_parameter_count_and_start_of_the_paper():
    layer = TransformerBlock()
    layer.build((None, 30, 32))
    assert layer.count_params() == 128 + 4 * 32**2 + 8352  # hidden is 4 * 32
    for path, weight in weights_of(layer).items():
        if path.endswith("kernel"):
            assert 0.015 < weight.std() < 0.02  # a normal of 0.02, cut at two deviations
        else:
            assert (weight == (1 if path.endswith("gamma") else 0)).all()
    projections = [w for path, w in weights_of(layer).items() if w.shape == (32, 8, 4)]
    assert len(projections) == 3
    assert all((projections[0] != other).any() for other in projections[1:])


def test_any_length_when_unknown():
    inputs = keras.Input((None, DIM))
    layer = block()
    model = keras.Model(inputs, layer(inputs))
    for length in (1, 7):
        expected = reference(weights_of(layer), vectors(count=length), normalization="pre")
        np.testing.assert_allclose(model(vectors(count=length)), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("silenced", ["contraction", "attention"])
def test_dropout_is_on_in_training_only(silenced):
    keras.utils.set_random_seed(0)
    layer, without = block(dropout=0.4), block()
    inputs = vectors(rows=200)
    expected = to_numpy(without(inputs))
    layer.build(inputs.shape)
    layer.set_weights(without.get_weights())
    np.testing.assert_allclose(layer(inputs), expected, 1e-5, 1e-5)
    np.testing.assert_allclose(layer(inputs, training=False), expected, 1e-5, 1e-5)
    # With one branch silenced, about two of five numbers that the other adds are dropped.
    silent = layer.contraction if silenced == "contraction" else layer.attention.output_dense
    silent.kernel.assign(np.zeros(silent.kernel.shape))
    added, kept = (
        np.abs(to_numpy(layer(inputs, training=training)) - inputs) > 1e-6
        for training in (False, True)
    )
    assert abs((~kept[added]).mean() - 0.4) < 0.03


def test_dropout_of_attention_weights():
    keras.utils.set_random_seed(0)
    layer = block(dropout=0.4)
    inputs = np.tile(np.array([1, -1, 1, -1], "float32"), (200, LENGTH, 1))
    layer.build(inputs.shape)
    layer.contraction.kernel.assign(np.zeros((HIDDEN, DIM)))
    layer.attention.value_dense.kernel.assign(np.ones((DIM, HEADS, HEAD_DIM)))
    layer.attention.output_dense.kernel.assign(np.ones((HEADS, HEAD_DIM, DIM)))
    layer.normalizations[0].beta.assign(np.ones(DIM))  # so each value vector is (4, 4)
    # Attention is 1/5 each; branch dropout kept what is left of 16 = HEADS * HEAD_DIM * 4.
    change = (to_numpy(layer(inputs, training=True)) - inputs) * 0.6 / 16
    left = change[np.abs(change) > 1e-6] * 0.6 * LENGTH * HEADS
    np.testing.assert_allclose(left, np.round(left), atol=1e-3)
    assert len(np.unique(np.round(left))) > 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization": "none"}, "normalization must be one of pre, post. Received: 'none'"),
        ({"heads": 0}, "heads must be at least 1. Received: 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformerBlock(**arguments)
