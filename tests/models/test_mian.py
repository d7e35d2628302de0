"""MIAN: sizes, ablations, padding, and what only an interaction with the item can learn."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Numeric, Sequence
from ctr_keras.metrics import auc
from ctr_keras.models import MIAN, model_arguments
from ctr_keras.presets import find_preset
from tests.models.sizes import parameter_count
from tests.packed import FEW_STEPS, JIT, called, packed_inputs
from tests.parameters import whole_on_jax

MODULES = ("behaviors", "user", "context", "global")
PAPER = {k: v for k, v in find_preset("MIAN", "books").items() if k in model_arguments("MIAN")}


def feature_set(users=2, contexts=2, *, numeric=False, length=30):
    """An item of two fields with their histories, and so many fields of user and context."""
    user_fields = [Categorical(f"u{i}", group="user") for i in range(users)]
    context_fields = [Categorical(f"c{i}", group="context") for i in range(contexts - numeric)]
    names = ["item", "category", *(f.name for f in (*user_fields, *context_fields))]
    return FeatureSet(
        Categorical("item", group="item"),
        Categorical("category", group="item"),
        *user_fields,
        *context_fields,
        *([Numeric("price", group="context")] if numeric else []),
        Sequence("items", vocabulary_of="item", max_length=length),
        Sequence("categories", vocabulary_of="category", max_length=length),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, 6),
    )


SMALL = feature_set(numeric=True, length=4)
WHOLE = 19_805  # parameters of the paper's model with 2 fields of user and context, less tables
NARROW = {"dim": 8, "heads": 2, "hidden": (16,)}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def without_tables(features, **options):
    tables = sum(
        rows * dim
        for rows, dim in (
            (1 + 2 * 7, 16),  # row 0, and an OOV id and six values for each of the item's fields
            (1 + len(features.group("user")) * 7, 32),
            (1 + len(features.group("context")) * 7, 32),
        )
    )
    return parameter_count(MIAN, features, **PAPER | options) - tables


@pytest.mark.parametrize(("users", "contexts", "count"), [(2, 2, WHOLE), (3, 4, 34_336)])
def test_parameter_counts(users, contexts, count):
    assert without_tables(feature_set(users, contexts)) == count


@pytest.mark.parametrize(
    ("options", "fewer"),
    [
        # The module, and its part's score in the global one.
        ({"modules": ["behaviors", "context", "global"]}, 2 * 65 + 65),
        ({"modules": ["behaviors", "user", "global"]}, 2 * 65 + 65),
        ({"modules": ["behaviors", "global"]}, 2 * (2 * 65 + 65)),
        ({"modules": ["user", "context", "global"]}, 12_641 + 65),
        ({"transformer": "none"}, 12_641 - 65),
        ({"transformer": "post"}, 0),
        ({"output": "softmax2"}, -9),
        # Maps and scores, less what the tower's first layer grows: 384 wide instead of 64.
        ({"modules": ["behaviors", "user", "context"]}, 4096 + 7 * 65 - (384 - 64) * 32),
    ],
)
def test_each_ablation_takes_away_what_it_says(options, fewer):
    assert WHOLE - without_tables(feature_set(), **options) == fewer


def test_a_table_is_shared_by_item_and_behaviors():
    model = MIAN(SMALL)
    assert model.get_layer("item_embedding").table.shape == (15, 16)
    outputs = keras.Model(model.input, model.get_layer("item_embedding").output)
    inputs = packed_inputs(SMALL)
    inputs["items"][:, 0] = inputs["categorical"][:, 0]
    fields, items, _ = (to_numpy(output) for output in outputs(inputs))
    np.testing.assert_array_equal(items[:, 0], fields[:, 0])


@pytest.mark.backend
def test_padding_has_no_say():
    long = feature_set(length=30)
    keras.utils.set_random_seed(0)
    short_model, long_model = MIAN(feature_set(length=5)), MIAN(long)
    long_model.set_weights(short_model.get_weights())
    short = packed_inputs(feature_set(length=5), rows=16)
    padded = dict(short)
    for name in ("items", "categories"):
        padded[name] = np.pad(short[name], [(0, 0), (0, 25)])
    expected = called(short_model, short)
    np.testing.assert_allclose(called(long_model, padded), expected, atol=1e-6)
    changed = {**padded, "categories": padded["categories"].copy()}
    changed["categories"][padded["items"] == 0] = 9  # not looked at: items say what is padding
    np.testing.assert_allclose(called(long_model, changed), expected, atol=1e-6)


def test_behaviors_are_a_set_unless_positions_are_learned():
    order = np.random.default_rng(0).permutation(4)
    inputs = packed_inputs(SMALL, rows=16)
    permuted = inputs | {name: inputs[name][:, order] for name in ("items", "categories")}
    for positions in (False, True):
        keras.utils.set_random_seed(0)
        model = MIAN(SMALL, positions=positions, hidden=[8], embeddings_initializer=1.0)
        difference = np.abs(to_numpy(model(permuted)) - to_numpy(model(inputs))).max()
        assert (difference > 1e-4) == positions


@pytest.mark.backend
def test_an_empty_history_and_zero_numbers_are_no_trouble():
    inputs = packed_inputs(SMALL)
    inputs |= {name: np.zeros_like(inputs[name]) for name in ("items", "categories", "numeric")}
    model = MIAN(SMALL)
    model.compile("adam", "binary_crossentropy", **FEW_STEPS)
    loss = model.train_on_batch(inputs, np.ones((8, 1)))
    assert np.isfinite(np.ravel(loss)[0])
    assert all(np.isfinite(to_numpy(weight)).all() for weight in model.weights)


def test_two_outputs_equal_one_whose_logit_is_their_difference():
    one, two = MIAN(SMALL), MIAN(SMALL, output="softmax2")
    for layer in one.layers:
        if layer.weights and layer.name != "logit":
            two.get_layer(layer.name).set_weights(layer.get_weights())
    kernel, bias = two.get_layer("logit").get_weights()
    bias = np.array([0.3, -0.2])
    two.get_layer("logit").set_weights([kernel, bias])
    one.get_layer("logit").set_weights([kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]])
    inputs = packed_inputs(SMALL)
    np.testing.assert_allclose(two(inputs), one(inputs), 1e-6)


def test_penalty_is_on_kernels_alone():
    model = MIAN(SMALL, l2=0.5)
    kernels = [w for w in model.trainable_weights if w.path.endswith("kernel")]
    expected = 0.5 * sum((to_numpy(kernel) ** 2).sum() for kernel in kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, 1e-5)
    assert MIAN(SMALL, l2=0).losses == []


def test_weights_start_as_the_paper_says():
    keras.utils.set_random_seed(0)
    model = MIAN(feature_set(users=5, contexts=5), **PAPER, dim=32)
    for weight in model.trainable_weights:
        values = to_numpy(weight)
        if weight.name in ("kernel", "table") and values.size > 1000:
            assert 0.015 < values.std() < 0.02, weight.path  # truncated at two deviations
            assert np.abs(values).max() <= 0.04 + 1e-6


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (SMALL, {"modules": ["users"]}, "modules must be of behaviors, user.* Received: 'users'"),
        (SMALL, {"output": "logit"}, "output must be of sigmoid, softmax2. Received: 'logit'"),
        (SMALL, {"heads": 5}, "heads=5 must divide"),
        (
            FeatureSet(*SMALL.features[:3], SMALL["items"], label=Label("click")),
            {},
            "needs features with group='context'",
        ),
        (
            FeatureSet(*SMALL.features, Categorical("site"), label=Label("click")),
            {},
            "needs a group for every field; without one: site",
        ),
        (
            FeatureSet(
                *SMALL.features, Categorical("last", group="behaviors"), label=Label("click")
            ),
            {},
            "the group behaviors is for sequences, and for all of them; 'last' is in behaviors",
        ),
        (
            FeatureSet(
                *SMALL.features,
                Sequence("more", vocabulary_of="item", max_length=3),
                label=Label("click"),
                vocabulary_sizes=SMALL.vocabulary_sizes,
            ),
            {},
            "sequences must have one max_length",
        ),
    ],
)
def test_bad_requests_are_refused(features, options, message):
    with pytest.raises(ValueError, match=message):
        MIAN(features, **options)


def test_crossed_features_are_not_used():
    features = FeatureSet(
        *SMALL.features,
        Crossed("item", "u0"),
        label=Label("click"),
        vocabulary_sizes=SMALL.vocabulary_sizes | {"item_x_u0": 5},
    )
    assert "crossed" not in {tensor.name for tensor in MIAN(features).inputs}


def clicks_on_the_history(rows):
    """Packed inputs, and clicks where the item is in the history."""
    inputs = packed_inputs(SMALL, rows=rows)
    inputs["categorical"][:, 0] = np.maximum(inputs["categorical"][:, 0], 1)
    labels = (inputs["items"] == inputs["categorical"][:, :1]).any(axis=1, keepdims=True)
    return inputs, labels.astype("float32")


def trained_auc(inputs, labels, learning_rate=0.01, epochs=8, **options):
    """Validation AUC after a few passes; the last thousand rows are for validation."""
    keras.utils.set_random_seed(0)
    model = MIAN(SMALL, **options)
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", jit_compile=JIT)
    train, rest = (
        {k: v[part] for k, v in inputs.items()} for part in (slice(4000), slice(4000, None))
    )
    model.fit(train, labels[:4000], batch_size=100, epochs=epochs, verbose=0)
    return auc(labels[4000:], model.predict(rest, verbose=0))


# The paper's scores add the item's and the other's part before the tanh, and without a local module
# the global one still sees both, so what a module alone can learn has no such test.


@pytest.mark.slow
@pytest.mark.backend
@whole_on_jax
def test_a_match_is_learned_with_the_defaults_from_the_history():
    inputs, labels = clicks_on_the_history(5000)
    others = inputs | {name: np.roll(inputs[name], 1, axis=0) for name in ("items", "categories")}
    settings = {"learning_rate": 0.003, "epochs": 3}
    assert trained_auc(inputs, labels, **settings) > 0.9  # with the paper's settings .63
    assert trained_auc(others, labels, **settings) < 0.6


@pytest.mark.slow
def test_a_click_of_some_users_on_some_items_is_learned():
    inputs = packed_inputs(SMALL, rows=5000)
    labels = (inputs["categorical"][:, :1] + inputs["categorical"][:, 2:3]) % 2
    assert trained_auc(inputs, labels.astype("float32"), **NARROW) > 0.95
