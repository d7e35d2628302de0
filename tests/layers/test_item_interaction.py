"""ItemFieldInteraction and ItemBehaviorInteraction against loops in NumPy."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import ItemBehaviorInteraction, ItemFieldInteraction
from ctr_keras.testing import run_layer_test
from tests.layers import test_tanh_attention, test_transformer_block
from tests.layers.test_tanh_attention import to_numpy, vectors, weights_of
from tests.packed import JIT

pytestmark = pytest.mark.backend

COUNT, DIM, ITEM_DIM = 5, 4, 3
BOTH_DIM = ITEM_DIM + DIM
BAD_SHAPES = [
    ((None, ITEM_DIM, 1), (None, COUNT, DIM)),
    ((ITEM_DIM,), (None, COUNT, DIM)),
    ((None, None), (None, COUNT, DIM)),
    ((None, ITEM_DIM), (None, DIM)),
    ((None, ITEM_DIM), (None, COUNT, 1, DIM)),
    ((None, ITEM_DIM), (None, COUNT, None)),
]
UNKNOWN_COUNT = ((None, ITEM_DIM), (None, None, DIM))
PADDED = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)


def items(rows=6):
    return np.random.default_rng(2).normal(size=(rows, ITEM_DIM)).astype("float32")


def part_of(weights, name):
    start = f"{name}/"
    return {path[len(start) :]: w for path, w in weights.items() if path.startswith(start)}


def of_fields(weights, item, fields, *, temperature=1.0, mask=None):
    """Equations 10 to 13: `sum_j a_j [e_i; e_j]`, one row and pair at a time."""
    pairs = np.array(
        [[np.append(e_i, e_j) for e_j in row] for e_i, row in zip(item, fields, strict=True)]
    )
    weighing = part_of(weights, "attention")
    attention = test_tanh_attention.reference(weighing, pairs, temperature=temperature, mask=mask)
    outputs = []
    for e_i, a, row in zip(item, attention, pairs, strict=True):
        nothing = np.append(e_i, np.zeros(fields.shape[-1]))  # what remains of an empty row
        summed = sum(a[j] * row[j] for j in range(len(row)))
        outputs.append(summed if a.any() else nothing)
    return np.array(outputs)


def of_behaviors(weights, item, behaviors, *, transformer="pre", temperature=1.0, mask=None):
    """Equations 3 to 9."""
    if transformer != "none":
        behaviors = test_transformer_block.reference(
            part_of(weights, "transformer"), behaviors, normalization=transformer, mask=mask
        )
    weighing = part_of(weights, "interaction")
    return of_fields(weighing, item, behaviors, temperature=temperature, mask=mask)


def field_layer(shared_scores=False, **more):
    return ItemFieldInteraction(shared_scores, kernel_initializer="he_normal", **more)


def behavior_layer(transformer="pre", **more):
    return ItemBehaviorInteraction(transformer, 2, 7, kernel_initializer="he_normal", **more)


def step_on_table(output_of):
    """A table before and after a step of training; 0 pads histories, one of which is empty."""
    ids, item = keras.Input((COUNT,), dtype="int32"), keras.Input((ITEM_DIM,))
    table = keras.layers.Embedding(8, DIM, embeddings_initializer="he_normal")
    mask = keras.ops.not_equal(ids, 0)
    model = keras.Model([ids, item], output_of(item, table(ids), mask))
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
    before = to_numpy(table.embeddings)
    rows = np.array([[1, 2, 3, 0, 0], [0, 0, 0, 0, 0], [0, 0, 4, 5, 6], [7, 0, 1, 2, 4]])
    targets = np.ones((4, *model.output_shape[1:]))
    model.train_on_batch([rows, items(rows=4)], targets)
    return before, to_numpy(table.embeddings)


@pytest.mark.parametrize("shared_scores", [False, True])
def test_layer_contract(shared_scores):
    scorers = 1 if shared_scores else COUNT
    run_layer_test(
        ItemFieldInteraction,
        {
            "shared_scores": shared_scores,
            "temperature": 0.5,
            "kernel_initializer": "he_normal",
        },
        (items(2), vectors(2)),
        weight_shapes={"attention/kernel": (scorers, BOTH_DIM), "attention/bias": (scorers,)},
        reference=lambda weights, inputs: of_fields(weights, *inputs, temperature=0.5),
        compare_xla=not shared_scores,
        bad_shapes=BAD_SHAPES if shared_scores else [*BAD_SHAPES, UNKNOWN_COUNT],
    )


TRANSFORMER = {f"transformer/{path}": s for path, s in test_transformer_block.SHAPES.items()}
FINAL = {f"transformer/{path}": s for path, s in test_transformer_block.FINAL_SHAPES.items()}
SHARED = {"interaction/attention/kernel": (1, BOTH_DIM), "interaction/attention/bias": (1,)}
VARIANTS = {
    "pre": ({}, TRANSFORMER | SHARED),
    "post-with-all": (
        {"positions": True, "final_normalization": True, "weights_per_step": True},
        TRANSFORMER
        | FINAL
        | {
            "transformer/positions": (COUNT, DIM),
            "interaction/attention/kernel": (COUNT, BOTH_DIM),
            "interaction/attention/bias": (COUNT,),
        },
    ),
    "none": ({}, SHARED),
}


@pytest.mark.own_draws  # none of which is next to a kink
@pytest.mark.parametrize("variant", VARIANTS)
def test_layer_contract_with_behaviors(variant):
    arguments, shapes = VARIANTS[variant]
    chosen = {
        "transformer": variant.partition("-")[0],
        "heads": 2,
        "hidden": 7,
        "temperature": 0.5,
        "kernel_initializer": "he_normal",
    }
    run_layer_test(
        ItemBehaviorInteraction,
        chosen | arguments,
        (items(2), vectors(2)),
        weight_shapes=shapes,
        reference=lambda weights, inputs: of_behaviors(
            weights, *inputs, transformer=chosen["transformer"], temperature=0.5
        ),
        compare_xla=variant == "post-with-all",
        bad_shapes=[*BAD_SHAPES, UNKNOWN_COUNT] if arguments else BAD_SHAPES,
    )


@pytest.mark.parametrize("shared_scores", [False, True])
def test_field_masks_may_differ_from_row_to_row(shared_scores):
    layer = field_layer(shared_scores)
    item, fields = items(4), vectors(4)
    output, attention = layer(item, fields, fields_mask=PADDED, return_attention_scores=True)
    expected = of_fields(weights_of(layer), item, fields, mask=PADDED)
    np.testing.assert_allclose(output, expected, 1e-5, 1e-6)
    assert not to_numpy(attention)[~PADDED].any()
    np.testing.assert_allclose(to_numpy(attention).sum(axis=1), [1, 1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("transformer", ["pre", "post", "none"])
def test_padding_has_no_say(transformer):
    layer = behavior_layer(transformer)
    item, behaviors = items(4), vectors(4)
    output, attention = layer(item, behaviors, behaviors_mask=PADDED, return_attention_scores=True)
    expected = of_behaviors(
        weights_of(layer), item, behaviors, transformer=transformer, mask=PADDED
    )
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)
    assert not to_numpy(attention)[~PADDED].any()
    np.testing.assert_allclose(to_numpy(attention).sum(axis=1), [1, 1, 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(output[2], np.append(item[2], np.zeros(DIM)))  # empty history
    changed = np.where(PADDED[..., None], behaviors, 100 * vectors(4, seed=1))
    np.testing.assert_allclose(layer(item, changed, behaviors_mask=PADDED), output, atol=1e-6)


@pytest.mark.parametrize("layer", [field_layer(), behavior_layer()])
def test_a_mask_that_keras_carries_counts(layer):
    others = vectors(4) * PADDED[..., None]
    output = layer(items(4), keras.layers.Masking()(others))
    np.testing.assert_allclose(output, layer(items(4), others, PADDED), 1e-6)
    assert np.abs(to_numpy(output) - to_numpy(layer(items(4), others))).max() > 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layer", [field_layer(), behavior_layer()])
def test_a_mask_of_the_item_ends_here(layer):
    output = layer(keras.layers.Masking()(items()), vectors())
    np.testing.assert_allclose(output, layer(items(), vectors()), 1e-6)
    assert getattr(output, "_keras_mask", None) is None


@pytest.mark.parametrize("transformer", ["pre", "post", "none"])
def test_thirty_padded_from_five_are_five(transformer):
    layer = behavior_layer(transformer)
    expected = layer(items(), vectors())
    padded = np.pad(vectors(), [(0, 0), (25, 0), (0, 0)], constant_values=9)
    mask = np.repeat([[False] * 25 + [True] * 5], 6, axis=0)
    np.testing.assert_allclose(layer(items(), padded, behaviors_mask=mask), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("transformer", ["pre", "post", "none"])
def test_no_gradient_reaches_padding(transformer):
    layer = behavior_layer(transformer)
    before, after = step_on_table(lambda item, e, mask: layer(item, e, behaviors_mask=mask))
    np.testing.assert_array_equal(after[0], before[0])
    assert np.isfinite(after).all()
    assert (after[1:] != before[1:]).any(axis=1).all()


def test_only_positions_and_weights_per_step_tell_the_order():
    order = [3, 0, 4, 1, 2]
    for more in ({}, {"positions": True}, {"weights_per_step": True}):
        layer = behavior_layer(**more)
        expected = to_numpy(layer(items(), vectors()))
        difference = np.abs(to_numpy(layer(items(), vectors()[:, order])) - expected).max()
        assert difference > 0.01 if more else difference < 1e-5


def test_order_of_fields_goes_with_their_weights():
    order = [3, 0, 4, 1, 2]
    for shared_scores in (False, True):
        layer = field_layer(shared_scores)
        expected = to_numpy(layer(items(), vectors()))
        moved = to_numpy(layer(items(), vectors()[:, order]))
        difference = np.abs(moved - expected).max()
        assert difference < 1e-5 if shared_scores else difference > 0.01
        if not shared_scores:
            layer.attention.kernel.assign(to_numpy(layer.attention.kernel)[order])
            np.testing.assert_allclose(layer(items(), vectors()[:, order]), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("layer", [field_layer(), behavior_layer(), behavior_layer("post")])
def test_the_output_starts_with_the_item(layer):
    output = to_numpy(layer(items(), vectors()))
    np.testing.assert_array_equal(output[:, :ITEM_DIM], items())


@pytest.mark.parametrize("shared_scores", [False, True])
def test_zero_score_weights_give_the_mean(shared_scores):
    layer = ItemFieldInteraction(shared_scores, kernel_initializer="zeros")
    output, attention = layer(items(), vectors(), return_attention_scores=True)
    np.testing.assert_allclose(attention, np.full((6, COUNT), 1 / COUNT), 1e-6)
    expected = np.append(items(), vectors().mean(axis=1), axis=1)
    np.testing.assert_allclose(output, expected, 1e-5, 1e-6)


def test_one_field_has_all_the_weight():
    output, attention = field_layer()(items(), vectors(count=1), return_attention_scores=True)
    assert (to_numpy(attention) == 1).all()
    np.testing.assert_array_equal(output, np.append(items(), vectors(count=1)[:, 0], axis=1))


@pytest.mark.parametrize("layer", [field_layer(), behavior_layer()])
def test_symbolic_call_with_scores_and_mask_survives_saving(layer, tmp_path):
    inputs = [keras.Input((ITEM_DIM,)), keras.Input((COUNT, DIM))]
    inputs.append(keras.Input((COUNT,), dtype="bool"))
    output, attention = layer(*inputs, return_attention_scores=True)
    assert (output.shape, attention.shape) == ((None, BOTH_DIM), (None, COUNT))
    given = [items(4), vectors(4), PADDED]
    expected = layer(*given, return_attention_scores=True)
    keras.Model(inputs, [output, attention]).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for actual, tensor in zip(loaded.predict(given, verbose=0), expected, strict=True):
        np.testing.assert_allclose(actual, tensor, 1e-5, 1e-6)


def test_dropout_is_on_in_training_only():
    keras.utils.set_random_seed(0)
    layer = behavior_layer(dropout=0.4)
    output = to_numpy(layer(items(), vectors()))
    np.testing.assert_array_equal(layer(items(), vectors(), training=False), output)
    trained = to_numpy(layer(items(), vectors(), training=True))
    assert (np.abs(trained - output)[:, ITEM_DIM:] > 1e-3).mean() > 0.5


@pytest.mark.parametrize("transformer", ["Pre", None])
def test_bad_arguments_are_refused(transformer):
    message = f"transformer must be one of pre, post, none. Received: {transformer!r}"
    with pytest.raises(ValueError, match=message):
        ItemBehaviorInteraction(transformer)
