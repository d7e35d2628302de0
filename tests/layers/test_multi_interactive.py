"""MultiInteractive against its modules' references, and what leaving a module out changes."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import (
    GlobalInteraction,
    ItemBehaviorInteraction,
    ItemFieldInteraction,
    MultiInteractive,
)
from ctr_keras.testing import run_layer_test
from tests.layers import test_global_interaction, test_item_interaction
from tests.layers.test_item_interaction import PADDED, part_of, step_on_table
from tests.layers.test_tanh_attention import to_numpy, weights_of
from tests.layers.test_transformer_block import SHAPES as BLOCK_SHAPES

pytestmark = pytest.mark.backend

SHAPES = ((3,), (5, 4), (2, 5), (3, 2))  # of the item, behaviors, user and context
ITEM, BEHAVIOR, USER, CONTEXT = slice(0, 3), slice(9, 13), slice(13, 23), slice(3, 9)
GLOBAL_WIDTH = 7
MODULES = ("behaviors", "user", "context", "global_module")
PAPER = ((None, 32), (None, 30, 32), (None, 2, 32), (None, 2, 32))


def groups(rows=6):
    draw = np.random.default_rng(3)
    return tuple(draw.normal(size=(rows, *shape)).astype("float32") for shape in SHAPES)


def modules(*left_out):
    """Configured modules with large weights, but for those left out."""
    large = {"kernel_initializer": "he_normal"}
    chosen = {
        "behaviors": ItemBehaviorInteraction("post", 2, 7, name="behaviors", **large),
        "user": ItemFieldInteraction(temperature=0.5, name="user", **large),
        "context": ItemFieldInteraction(shared_scores=True, name="context", **large),
        "global_module": GlobalInteraction(GLOBAL_WIDTH, name="global_module", **large),
    }
    return {name: False if name in left_out else module for name, module in chosen.items()}


def reference(weights, inputs, *, left_out=(), pooling="mean", mask=None):
    """Equations 3 to 15, with the references of the modules."""
    item, behaviors, user, context = inputs
    rows = range(len(item))
    if mask is None:
        mask = np.ones(behaviors.shape[:2], bool)
    pooled = [behaviors[i][mask[i]].sum(axis=0) for i in rows]
    if pooling == "mean":
        pooled = [pooled[i] / max(mask[i].sum(), 1) for i in rows]
    parts = [item, context.reshape(len(item), -1), np.array(pooled), user.reshape(len(item), -1)]
    if "behaviors" not in left_out:
        of_behaviors = test_item_interaction.of_behaviors
        scores = part_of(weights, "behaviors")
        parts.append(of_behaviors(scores, item, behaviors, transformer="post", mask=mask))
    if "user" not in left_out:
        scores = part_of(weights, "user")
        parts.append(test_item_interaction.of_fields(scores, item, user, temperature=0.5))
    if "context" not in left_out:
        scores = part_of(weights, "context")
        parts.append(test_item_interaction.of_fields(scores, item, context))
    if "global_module" in left_out:
        return np.concatenate(parts, axis=1)
    scores = part_of(weights, "global_module")
    return test_global_interaction.reference(scores, parts, width=GLOBAL_WIDTH)


LOCAL_SHAPES = {
    **{f"behaviors/transformer/{path}": shape for path, shape in BLOCK_SHAPES.items()},
    "behaviors/interaction/attention/kernel": (1, 7),
    "behaviors/interaction/attention/bias": (1,),
    "user/attention/kernel": (2, 8),
    "user/attention/bias": (2,),
    "context/attention/kernel": (1, 5),
    "context/attention/bias": (1,),
}
GLOBAL_SHAPES = {
    # The part of the behaviors' module has the global width: no map.
    **{
        f"global_module/map_{n}/kernel": (w, 7)
        for n, w in enumerate((3, 6, 4, 10, 7, 8, 5))
        if n != 4
    },
    "global_module/attention/kernel": (7, 7),
    "global_module/attention/bias": (7,),
}


@pytest.mark.parametrize("left_out", [(), ("global_module",)])
def test_layer_contract(left_out):
    as_configs = {
        name: keras.saving.serialize_keras_object(module)
        for name, module in modules(*left_out).items()
    }
    item, behaviors, user, context = ((None, *shape) for shape in SHAPES)
    run_layer_test(
        MultiInteractive,
        {**as_configs, "pooling": "sum"},
        groups(),
        weight_shapes=LOCAL_SHAPES if left_out else LOCAL_SHAPES | GLOBAL_SHAPES,
        reference=lambda weights, inputs: reference(
            weights, inputs, left_out=left_out, pooling="sum"
        ),
        compare_xla=not left_out,
        bad_shapes=[
            ((None, 3, 1), behaviors, user, context),
            ((None, None), behaviors, user, context),
            (item, (None, 4), user, context),
            (item, (None, 5, None), user, context),
            (item, behaviors, (None, None, 5), context),
            (item, behaviors, (None, 10), context),
            (item, behaviors, user, (None, None, 2)),
            (item, behaviors, user, (None, 3, 2, 1)),
        ],
    )


@pytest.mark.parametrize(
    ("left_out", "pooling"),
    [
        *(((), "mean"), (MODULES, "mean"), (("behaviors",), "mean"), (("context",), "mean")),
        *(((), "sum"), (("user",), "sum"), (("global_module",), "sum")),
    ],
)
def test_without_modules_and_with_masks_that_differ(left_out, pooling):
    layer = MultiInteractive(**modules(*left_out), pooling=pooling, name="layer")
    inputs = groups(4)
    for mask in (None, PADDED):
        output, attention = layer(*inputs, behaviors_mask=mask, return_attention_scores=True)
        expected = reference(
            weights_of(layer), inputs, left_out=left_out, pooling=pooling, mask=mask
        )
        np.testing.assert_allclose(output, expected, 1e-4, 1e-4)
        shapes = {name: tensor.shape for name, tensor in attention.items()}
        lengths = {"behaviors": 5, "user": 2, "context": 3, "global": 7 - len(left_out)}
        gone = ["global" if name == "global_module" else name for name in left_out]
        assert shapes == {n: (4, length) for n, length in lengths.items() if n not in gone}
        for name, tensor in attention.items():
            no_history = mask is not None and name == "behaviors"
            sums = [1, 1, 0, 1] if no_history else [1, 1, 1, 1]
            np.testing.assert_allclose(to_numpy(tensor).sum(axis=1), sums, 1e-5)


@pytest.mark.parametrize(("user", "context", "total"), [(2, 2, 17452), (3, 4, 31983)])
def test_parameter_counts(user, context, total):
    shapes = (*PAPER[:2], (None, user, 32), (None, context, 32))
    layer = MultiInteractive()
    layer.build(*shapes)
    assert layer.count_params() == total
    maps = 32 * 64 * (2 + (user + context if user != 2 else 0))
    fewer = {  # of the module, and its part of the global module's scores
        "behaviors": 12641 + 65,
        "user": 65 * user + 65,
        "context": 65 * context + 65,
        "global_module": maps + 7 * 65,
    }
    for name, count in fewer.items():
        layer = MultiInteractive(**{name: False})
        layer.build(*shapes)
        assert layer.count_params() == total - count, name
    assert layer.compute_output_shape(*shapes) == (None, 32 * (2 + user + context) + 3 * 64)


def test_padding_has_no_say():
    layer = MultiInteractive(**modules())
    item, behaviors, user, context = groups()
    expected = layer(item, behaviors, user, context)
    for left in (0, 25):
        padded = np.pad(behaviors, [(0, 0), (left, 25 - left), (0, 0)], constant_values=9)
        mask = np.zeros((6, 30), bool)
        mask[:, left : left + 5] = True
        output = layer(item, padded, user, context, behaviors_mask=mask)
        np.testing.assert_allclose(output, expected, 1e-4, 1e-5)
    order = [3, 0, 4, 1, 2]
    output = layer(item, behaviors[:, order], user, context)
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)  # no positions: no order


def test_no_gradient_reaches_padding():
    layer = MultiInteractive(**modules())
    before, after = step_on_table(
        lambda item, behaviors, mask: layer(
            item, behaviors, behaviors[:, :2] * 0 + 1, behaviors[:, :3] * 0 + 1, mask
        )
    )
    np.testing.assert_array_equal(after[0], before[0])
    assert np.isfinite(after).all()
    assert (after[1:] != before[1:]).any(axis=1).all()


def test_an_empty_history_leaves_zeros():
    layer = MultiInteractive(**modules("global_module"))
    item, behaviors, user, context = groups()
    output = to_numpy(layer(item, behaviors, user, context, np.zeros((6, 5), bool)))
    np.testing.assert_array_equal(output[:, ITEM], item)
    np.testing.assert_array_equal(output[:, CONTEXT], context.reshape(6, 6))
    np.testing.assert_array_equal(output[:, USER], user.reshape(6, 10))
    assert not output[:, BEHAVIOR].any()
    np.testing.assert_array_equal(output[:, 23:30], np.append(item, np.zeros((6, 4)), axis=1))


def test_a_mask_that_keras_carries_counts():
    layer = MultiInteractive(**modules())
    item, behaviors, user, context = groups(4)
    behaviors = behaviors * PADDED[..., None]
    expected = layer(item, behaviors, user, context, PADDED)
    output = layer(item, keras.layers.Masking()(behaviors), user, context)
    np.testing.assert_allclose(output, expected, 1e-5)


@pytest.mark.parametrize("left_out", [(), ("user", "global_module")])
def test_symbolic_call_with_scores_and_mask_survives_saving(left_out, tmp_path):
    inputs = [keras.Input(shape) for shape in SHAPES]
    inputs.append(keras.Input((5,), dtype="bool"))
    layer = MultiInteractive(**modules(*left_out))
    output, attention = layer(*inputs, return_attention_scores=True)
    given = [*groups(4), PADDED]
    expected = layer(*given, return_attention_scores=True)
    assert output.shape[1:] == expected[0].shape[1:]
    assert {n: t.shape[1:] for n, t in attention.items()} == {
        n: tuple(t.shape[1:]) for n, t in expected[1].items()
    }
    keras.Model(inputs, [output, attention]).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    output, attention = loaded.predict(given, verbose=0)
    np.testing.assert_allclose(output, expected[0], 1e-4, 1e-5)
    for name, weights in attention.items():
        np.testing.assert_allclose(weights, expected[1][name], 1e-4, 1e-5)


def test_a_module_built_before_keeps_its_weights():
    chosen = modules()
    item, _, user, _ = groups()
    chosen["user"](item, user)
    before = [weight + 1 for weight in chosen["user"].get_weights()]
    chosen["user"].set_weights(before)
    layer = MultiInteractive(**chosen, name="layer")
    assert layer(*groups()).shape == (6, GLOBAL_WIDTH)
    assert len(layer.weights) == len(LOCAL_SHAPES | GLOBAL_SHAPES)
    for weight, old in zip(layer.user.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_config_of_a_built_layer_makes_a_new_one():
    layer = MultiInteractive(**modules("context"), pooling="sum")
    output = layer(*groups())
    again = MultiInteractive.from_config(layer.get_config())
    again(*groups())
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(*groups()), output, 1e-5)


def test_dropout_is_on_in_training_only():
    keras.utils.set_random_seed(0)
    dropping = ItemBehaviorInteraction(heads=2, dropout=0.4, kernel_initializer="he_normal")
    layer = MultiInteractive(dropping, global_module=False)
    output = to_numpy(layer(*groups()))
    np.testing.assert_array_equal(layer(*groups(), training=False), output)
    changed = np.abs(to_numpy(layer(*groups(), training=True)) - output) > 1e-3
    assert changed[:, 26:30].mean() > 0.5
    assert not np.delete(changed, np.s_[26:30], axis=1).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of mean, sum. Received: 'max'"),
        ({"user": "yes"}, "user must be a ItemFieldInteraction, True or False. Received: 'yes'"),
        ({"behaviors": ItemFieldInteraction()}, "behaviors must be .* Received: <ItemField"),
        ({"global_module": None}, "global_module must be .* Received: None"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiInteractive(**arguments)
