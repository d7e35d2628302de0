"""InteractingLayer against loops in NumPy and against what its equations imply."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import InteractingLayer
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

HEAD_DIM, HEADS, DIM, FIELDS = 3, 2, 4, 5
WIDTH = HEAD_DIM * HEADS
OFFICIAL = {"relu": True, "scale": True, "layer_norm": True}
PAPER = {"relu": False, "scale": False, "layer_norm": False}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def fields(rows=6, count=FIELDS, dim=DIM, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, count, dim)).astype("float32")


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def reference(weights, inputs, *, relu, scale, layer_norm, residual="projection"):
    """Equations 5 to 8, one row, head and field at a time."""

    def project(name, vector):
        result = vector @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)
        return np.maximum(result, 0) if relu else result

    outputs = []
    for row in inputs:
        output = np.zeros((len(row), WIDTH))
        for head in range(HEADS):
            part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
            queries, keys, values = (
                [project(name, field)[part] for field in row] for name in ("query", "key", "value")
            )
            for m in range(len(row)):
                products = np.array([queries[m] @ keys[k] for k in range(len(row))])
                attention = softmax(products / np.sqrt(HEAD_DIM) if scale else products)
                output[m, part] = sum(attention[k] * values[k] for k in range(len(row)))
        for m, field in enumerate(row):
            if residual == "projection":
                output[m] += project("residual", field)
            elif residual == "identity":
                output[m] += field
            output[m] = np.maximum(output[m], 0)
            if layer_norm:
                centered = output[m] - output[m].mean()
                normal = centered / np.sqrt((centered**2).mean() + 1e-8)
                output[m] = weights["normalization/gamma"] * normal + weights["normalization/beta"]
        outputs.append(output)
    return np.array(outputs)


def kernels(*names, dim=DIM):
    return {f"{name}/kernel": (dim, WIDTH) for name in names}


QKVR = ("query", "key", "value", "residual")
NORM_SHAPES = {"normalization/gamma": (WIDTH,), "normalization/beta": (WIDTH,)}
BIAS_SHAPES = {f"{name}/bias": (WIDTH,) for name in QKVR}
VARIANTS = {
    "paper": ({}, kernels(*QKVR), PAPER),
    "official": ({"variant": "official"}, kernels(*QKVR) | BIAS_SHAPES | NORM_SHAPES, OFFICIAL),
    "each-difference-alone": (
        {"variant": "official", "use_bias": False, "qkv_activation": "linear", "layer_norm": False},
        kernels(*QKVR),
        PAPER | {"scale": True},
    ),
    "paper-with-norm-and-relu": (
        {"qkv_activation": "relu", "layer_norm": True},
        kernels(*QKVR) | NORM_SHAPES,
        OFFICIAL | {"scale": False},
    ),
    "no-residual": ({"residual": "none"}, kernels(*QKVR[:3]), PAPER | {"residual": "none"}),
}


def make(arguments):
    chosen = {"head_dim": HEAD_DIM, "heads": HEADS, "kernel_initializer": "he_normal"}
    return chosen | arguments


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_layer_contract(variant):
    arguments, shapes, behaviour = VARIANTS[variant]
    run_layer_test(
        InteractingLayer,
        make(arguments),
        fields(),
        weight_shapes=shapes,
        reference=lambda weights, inputs: reference(weights, inputs, **behaviour),
        compare_xla=variant == "official",
        bad_shapes=[(None, DIM), (None, FIELDS, None), (None, FIELDS, DIM, 1)],
        field_axis=1,
        equivariant=True,
    )


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - {"paper", "official"}))
def test_each_difference_is_an_argument_of_its_own(variant):
    arguments, shapes, behaviour = VARIANTS[variant]
    layer = InteractingLayer(**make(arguments), name="layer")
    output = layer(fields())
    weights = {w.path.partition("/")[2]: to_numpy(w) for w in layer.weights}
    assert {path: array.shape for path, array in weights.items()} == shapes
    np.testing.assert_allclose(output, reference(weights, fields(), **behaviour), 1e-5, 1e-5)
    again = InteractingLayer.from_config(layer.get_config())
    again.build((None, FIELDS, DIM))
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(fields()), output, 1e-6)


def test_identity_residual_adds_the_input_itself():
    layer = InteractingLayer(HEAD_DIM, HEADS, residual="identity")
    inputs = fields(rows=4, dim=WIDTH)
    output = layer(inputs)
    weights = {f"{n}/kernel": to_numpy(getattr(layer, n).kernel) for n in QKVR[:3]}
    expected = reference(weights, inputs, **PAPER, residual="identity")
    np.testing.assert_allclose(output, expected, 1e-5, 1e-5)
    for dim in (4, 7):
        with pytest.raises(ValueError, match=rf"width 6 .* Received: \(None, 5, {dim}\)"):
            InteractingLayer(HEAD_DIM, HEADS, residual="identity").build((None, FIELDS, dim))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_two_fields_by_hand(variant):
    # x = (1, 0), (0, 1); W_Q = W_K = W_V = W_res = identity, no bias.
    layer = InteractingLayer(2, 1, variant=variant, kernel_initializer="identity")
    output, attention = layer(np.eye(2, dtype="float32")[None], return_attention_scores=True)
    score = 1.0 if variant == "paper" else 1 / np.sqrt(2)
    own = np.exp(score) / (np.exp(score) + 1)  # <x_1, x_1> = 1, <x_1, x_2> = 0
    np.testing.assert_allclose(attention, [[[[own, 1 - own], [1 - own, own]]]], atol=1e-6)
    before_norm = np.array([[own + 1, 1 - own], [1 - own, own + 1]])
    expected = before_norm if variant == "paper" else [[1, -1], [-1, 1]]  # a pair, normalized
    np.testing.assert_allclose(output, [expected], atol=1e-6)


@pytest.mark.parametrize("count", [1, FIELDS])
def test_attention_is_a_distribution_over_fields(count):
    layer = InteractingLayer(HEAD_DIM, HEADS, variant="official")
    _, attention = layer(fields(count=count), return_attention_scores=True)
    assert attention.shape == (6, HEADS, count, count)
    np.testing.assert_allclose(to_numpy(attention).sum(-1), 1.0, atol=1e-6)
    assert (to_numpy(attention) > 0).all()


def test_symbolic_call_with_attention_scores():
    inputs = keras.Input((FIELDS, DIM))
    output, attention = InteractingLayer(HEAD_DIM, HEADS)(inputs, return_attention_scores=True)
    assert output.shape == (None, FIELDS, WIDTH)
    assert attention.shape == (None, HEADS, FIELDS, FIELDS)
    model = keras.Model(inputs, [output, attention])
    assert [tuple(x.shape) for x in model(fields())] == [
        (6, FIELDS, WIDTH),
        (6, HEADS, FIELDS, FIELDS),
    ]


def test_any_number_of_fields_when_unknown():
    inputs = keras.Input((None, DIM))
    layer = InteractingLayer(HEAD_DIM, HEADS)
    model = keras.Model(inputs, layer(inputs))
    for count in (2, 7):
        np.testing.assert_allclose(
            model(fields(count=count)), layer(fields(count=count)), 1e-5, 1e-5
        )


@pytest.mark.parametrize("silenced", ["query", "key"])
def test_zero_query_or_key_attends_uniformly(silenced):
    layer = InteractingLayer(HEAD_DIM, HEADS)
    inputs = fields()
    layer.build(inputs.shape)
    getattr(layer, silenced).kernel.assign(np.zeros((DIM, WIDTH)))
    output, attention = layer(inputs, return_attention_scores=True)
    np.testing.assert_allclose(attention, np.full((6, HEADS, FIELDS, FIELDS), 1 / FIELDS), 1e-6)
    values = (inputs @ to_numpy(layer.value.kernel)).mean(axis=1, keepdims=True)
    expected = np.maximum(values + inputs @ to_numpy(layer.residual_projection.kernel), 0)
    np.testing.assert_allclose(output, expected, 1e-5, 1e-5)


def test_zero_values_leave_the_residual_alone():
    inputs = fields()
    for residual in ("none", "projection"):
        layer = InteractingLayer(HEAD_DIM, HEADS, residual=residual)
        layer.build(inputs.shape)
        layer.value.kernel.assign(np.zeros((DIM, WIDTH)))
        expected = np.zeros((6, FIELDS, WIDTH))
        if residual == "projection":
            expected = np.maximum(inputs @ to_numpy(layer.residual_projection.kernel), 0)
        np.testing.assert_allclose(layer(inputs), expected, 1e-5, 1e-6)


def test_heads_are_independent_blocks_of_channels():
    layer = InteractingLayer(HEAD_DIM, HEADS, residual="none")
    inputs = fields()
    whole = to_numpy(layer(inputs))
    kernel = to_numpy(layer.value.kernel).copy()
    kernel[:, HEAD_DIM:] = 0
    layer.value.kernel.assign(kernel)
    output = to_numpy(layer(inputs))
    np.testing.assert_allclose(output[..., :HEAD_DIM], whole[..., :HEAD_DIM], 1e-6)
    assert not output[..., HEAD_DIM:].any()


def test_masks_may_differ_from_row_to_row():
    layer = InteractingLayer(HEAD_DIM, HEADS, variant="official")
    inputs = fields(rows=2)
    mask = np.array([[True, False, True, True, False], [False, True, True, True, True]])
    output, attention = layer(inputs, mask=mask, return_attention_scores=True)
    for row in range(2):
        kept = inputs[row : row + 1, mask[row]]
        np.testing.assert_allclose(to_numpy(output)[row, mask[row]], layer(kept)[0], 1e-5, 1e-5)
    assert not to_numpy(attention)[0][:, :, ~mask[0]].any()
    nothing = layer(inputs, mask=np.zeros((2, FIELDS), bool))
    assert not to_numpy(nothing).any()


def test_a_mask_that_keras_carries_reaches_the_next_layer():
    inputs = fields() * (np.arange(FIELDS) % 2)[:, None]
    masked = keras.layers.Masking()(inputs)
    layers = [InteractingLayer(HEAD_DIM, HEADS, variant="official") for _ in range(2)]
    mask = inputs.any(axis=-1)
    expected = layers[1](layers[0](inputs, mask=mask), mask=mask)
    np.testing.assert_allclose(layers[1](layers[0](masked)), expected, 1e-6)


def test_one_head_of_one_channel():
    assert InteractingLayer(1, 1)(fields()).shape == (6, FIELDS, 1)


def test_attention_dropout_is_on_in_training_only():
    keras.utils.set_random_seed(0)
    layer = InteractingLayer(HEAD_DIM, HEADS, attention_dropout=0.4, residual="none")
    inputs = np.ones((200, FIELDS, DIM), "float32")
    np.testing.assert_allclose(layer(inputs), layer(inputs, training=False))
    layer.value.kernel.assign(np.ones((DIM, WIDTH)))
    # Equal fields: attention is 1/5 each, so the output is the kept share, scaled, times 4.
    kept = to_numpy(layer(inputs, training=True)) / DIM * FIELDS * 0.6
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-4)
    assert abs(kept.mean() / FIELDS - 0.6) < 0.03
    _, attention = layer(inputs, training=True, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(attention).sum(-1), 1.0, atol=1e-6)  # before dropout


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_is_in_float32_under_mixed_precision(dtype, monkeypatch):
    seen = []
    softmax_of_keras = keras.ops.softmax

    def spy(logits, **options):
        seen.append(keras.backend.standardize_dtype(logits.dtype))
        return softmax_of_keras(logits, **options)

    monkeypatch.setattr(keras.ops, "softmax", spy)
    layer = InteractingLayer(HEAD_DIM, HEADS, dtype=f"mixed_{dtype}")
    output, attention = layer(fields(), return_attention_scores=True)
    assert seen == ["float32"] * HEADS
    for tensor in (output, attention):
        assert keras.backend.standardize_dtype(tensor.dtype) == dtype


def test_projections_start_different():
    layer = InteractingLayer(kernel_initializer=keras.initializers.GlorotUniform())
    layer.build((None, FIELDS, 16))
    first, *others = (to_numpy(weight) for weight in layer.weights)
    assert all((first != other).any() for other in others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "deepctr"}, "variant must be one of paper, official. Received: 'deepctr'"),
        ({"residual": "yes"}, "residual must be one of .* Received: 'yes'"),
        ({"heads": 0}, "at least 1. Received: 32, 0"),
        ({"head_dim": 0}, "at least 1. Received: 0, 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        InteractingLayer(**arguments)
