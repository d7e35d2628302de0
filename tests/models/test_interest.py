"""DIN, DIEN and BST: sizes, identities, padding, refusals, and what each learns."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Sequence
from ctr_keras.metrics import auc
from ctr_keras.models import BST, DIEN, DIN, build_model, model_arguments
from ctr_keras.presets import find_preset
from tests.models.sizes import parameter_count, tower
from tests.models.test_mian import to_numpy
from tests.packed import JIT, called, packed_inputs
from tests.parameters import first_of

MODELS = {"DIN": DIN, "DIEN": DIEN, "BST": BST}
SMALL = {"dim": 4, "hidden": [6]}


def feature_set(length=4):
    """An item of two fields with their histories, and a user."""
    return FeatureSet(
        Categorical("item", group="item"),
        Categorical("category", group="item"),
        Categorical("user", group="user"),
        Sequence("items", vocabulary_of="item", max_length=length),
        Sequence("categories", vocabulary_of="category", max_length=length),
        label=Label("click"),
        vocabulary_sizes={"item": 6, "category": 6, "user": 6},
    )


FEATURES = feature_set()
TABLE = 1 + 3 * 7  # rows: 0, and an OOV id and six values for each


def dice_attention(width, *hidden):
    """Parameters of a target attention: a network on four vectors, and alphas."""
    return tower(4 * width, *hidden) + sum(hidden)


def paper(name):
    preset = find_preset(name, "books")
    return {key: value for key, value in preset.items() if key in model_arguments(name)}


def test_parameter_counts():
    """Of the settings of MIAN's baselines: vectors of 4, a tower of 256 and 128."""
    width, deep = 2 * 4, tower(3 * 4 + 2 * 4, 256, 128)
    din = TABLE * 4 + dice_attention(width, 64, 16) + deep
    assert parameter_count(DIN, FEATURES, **paper("DIN")) == din
    gru = 3 * (2 * width**2 + 2 * width)  # Keras' GRU has a bias of input and of state
    augru = 3 * (2 * width**2 + width)
    dien = TABLE * 4 + gru + tower(4 * width, 64, 16) - 1 + augru + deep
    assert parameter_count(DIEN, FEATURES, **paper("DIEN")) == dien
    block = 4 * width**2 + 2 * 2 * width + 2 * width * 4 * width + 4 * width + width
    bst = TABLE * 4 + 5 * width + block + tower(3 * 4 + 5 * width, 6)
    assert parameter_count(BST, FEATURES, **SMALL, heads=2) == bst


def test_the_candidate_is_the_fields_of_the_sequences_in_their_order():
    model = DIN(FEATURES)
    inner = keras.Model(model.input, model.get_layer("target_attention").input)
    inputs = packed_inputs(FEATURES)
    inputs["items"][:, 0] = inputs["categorical"][:, 0]
    inputs["categories"][:, 0] = inputs["categorical"][:, 1]
    candidate, behaviors, *_ = (to_numpy(x) for x in keras.tree.flatten(inner(inputs)))
    np.testing.assert_array_equal(behaviors[:, 0], candidate)


@pytest.mark.backend
@pytest.mark.parametrize("name", MODELS)
def test_padding_has_no_say(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name](FEATURES, **SMALL)
    inputs = packed_inputs(FEATURES, rows=16)
    expected = called(model, inputs)
    changed = inputs | {"categories": inputs["categories"].copy()}
    changed["categories"][inputs["items"] == 0] = 9  # items say what is padding
    np.testing.assert_allclose(called(model, changed), expected, atol=1e-6)
    if name == "BST":  # which has weights for each place
        return
    long = MODELS[name](feature_set(length=9), **SMALL)
    long.set_weights(model.get_weights())
    padded = dict(inputs)
    for sequence in ("items", "categories"):
        padded[sequence] = np.pad(inputs[sequence], [(0, 0), (0, 5)])
    np.testing.assert_allclose(called(long, padded), expected, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_dien_and_bst_know_the_order_of_a_history(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name](FEATURES, **SMALL, embeddings_initializer=1.0)
    order = np.random.default_rng(0).permutation(4)
    inputs = packed_inputs(FEATURES, rows=16)
    permuted = inputs | {key: inputs[key][:, order] for key in ("items", "categories")}
    difference = np.abs(to_numpy(model(permuted)) - to_numpy(model(inputs))).max()
    assert (difference > 1e-4) == (name != "DIN")


def test_din_whose_scores_are_one_sums_the_history():
    """And with a softmax of equal scores it takes the mean: the base model of the paper."""
    inputs = packed_inputs(FEATURES, rows=16)
    for weighting in ("linear", "softmax"):
        model = DIN(FEATURES, **SMALL, weighting=weighting)
        score = model.get_layer("target_attention").score
        score.set_weights([np.zeros(score.kernel.shape), np.ones(1)][: len(score.weights)])
        parts = keras.Model(
            model.input,
            [model.get_layer("embedding").output, model.get_layer("target_attention").output],
        )
        (_, *histories), pooled = parts(inputs)
        kept = (inputs["items"] != 0)[:, :, None]
        total = (np.concatenate([to_numpy(h) for h in histories], axis=-1) * kept).sum(axis=1)
        count = np.maximum(kept.sum(axis=1), 1) if weighting == "softmax" else 1
        np.testing.assert_allclose(to_numpy(pooled), total / count, 1e-4, 1e-6)


def test_bst_of_zero_weights_is_a_tower_on_all_places():
    """Its residuals alone, before any normalization."""
    model = BST(FEATURES, **SMALL, transformer="pre", heads=2)
    block = model.get_layer("transformer_0")
    for weight in block.weights:
        if "normalization" not in weight.path:
            weight.assign(0 * weight)
    inputs = packed_inputs(FEATURES, rows=16)
    inner = keras.Model(model.input, [block.input, block.output])
    places, output = keras.tree.flatten(inner(inputs))[:1], keras.tree.flatten(inner(inputs))[-1]
    mask = np.pad(inputs["items"] != 0, [(0, 0), (0, 1)], constant_values=True)
    np.testing.assert_allclose(output, to_numpy(places[0]) * mask[..., None], 1e-5)


def test_diens_auxiliary_loss_moves_the_interests_alone():
    """Without it, or with, the same scores; after a step of training other interests."""
    inputs, labels = packed_inputs(FEATURES, rows=16), np.ones((16, 1))
    weights = {}
    for auxiliary_weight in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        model = DIEN(FEATURES, **SMALL, auxiliary_weight=auxiliary_weight)
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", run_eagerly=True)
        loss = float(np.ravel(model.train_on_batch(inputs, labels))[0])
        weights[auxiliary_weight] = loss, {w.path: to_numpy(w) for w in model.weights}
    (loss, plain), (same_loss, taught) = weights.values()
    assert loss == pytest.approx(same_loss, rel=1e-6)
    moved = {path.partition("/")[0] for path in plain if (plain[path] != taught[path]).any()}
    assert moved == {"interest_gru", "embedding"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lowest", "highest"), first_of([("BST", 0.95, 1.01), ("DIN", 0.5, 0.9)])
)
def test_what_was_last_is_learned_where_the_order_is_known(name, lowest, highest):
    inputs = packed_inputs(FEATURES, rows=4000)
    draw = np.random.default_rng(5)
    inputs["items"] = draw.integers(1, 8, (4000, 4)).astype("int32")
    is_last = draw.random(4000) < 0.5
    inputs["categorical"][:, 0] = np.where(is_last, inputs["items"][:, 3], inputs["items"][:, 0])
    labels = (inputs["categorical"][:, :1] == inputs["items"][:, 3:]).astype("float32")
    keras.utils.set_random_seed(0)
    model = MODELS[name](FEATURES, dim=8, hidden=[32])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", jit_compile=JIT)
    train, rest = (
        {k: v[part] for k, v in inputs.items()} for part in (slice(3000), slice(3000, None))
    )
    model.fit(train, labels[:3000], batch_size=100, epochs=6, verbose=0)
    assert lowest < auc(labels[3000:], model.predict(rest, verbose=0)) < highest


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            FeatureSet(Categorical("item"), label=Label("y"), vocabulary_sizes={"item": 3}),
            "needs sequences, and the feature set has none",
        ),
        (
            FeatureSet(
                Categorical("item"),
                Sequence("history"),
                label=Label("y"),
                vocabulary_sizes={"item": 3, "history": 3},
            ),
            "the sequence 'history' needs vocabulary_of a field",
        ),
        (
            FeatureSet(
                *FEATURES.features,
                Sequence("more", vocabulary_of="item", max_length=3),
                label=Label("y"),
                vocabulary_sizes=FEATURES.vocabulary_sizes,
            ),
            "sequences must have one max_length",
        ),
    ],
)
def test_a_history_that_cannot_be_compared_is_refused(name, features, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, features)


def test_dien_needs_weights_between_0_and_1():
    with pytest.raises(ValueError, match="weighting must be softmax or sigmoid"):
        DIEN(FEATURES, weighting="linear")
