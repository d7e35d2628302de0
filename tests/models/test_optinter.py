"""OptInter and its extremes: sizes, identities between them, what is built for a pair."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.metrics import auc
from ctr_keras.models import FNN, OptInter, OptInterF, OptInterM
from ctr_keras.plan import Interaction, InteractionPlan
from tests.models.sizes import feature_set, parameter_count, tower
from tests.packed import FEW_STEPS, JIT, packed_inputs

ORIGINALS = (
    Numeric("price"),
    Categorical("a"),
    Categorical("b"),
    Categorical("c"),
    MultiValued("tags", max_length=2),
)
SIZES = {"a": 3, "b": 2, "c": 4, "tags": 3}
PLAIN = FeatureSet(*ORIGINALS, label=Label("click"), vocabulary_sizes=SIZES)
# Declared in no particular order: ("c", "a") is the pair (0, 2).
CROSSED = FeatureSet(
    *ORIGINALS,
    Crossed("b", "c"),
    Crossed("c", "a"),
    Crossed("a", "b"),
    label=Label("click"),
    vocabulary_sizes=SIZES | {"b_x_c": 5, "c_x_a": 6, "a_x_b": 4},
)
OPTIONS = {"dim": 4, "hidden": [6], "embeddings_initializer": "random_normal"}
PAIRS = [("b", "c"), ("a", "c"), ("a", "b")]  # in the order of the Crossed features


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def plan_of(*methods):
    return InteractionPlan(
        [Interaction(pair, method) for pair, method in zip(PAIRS, methods, strict=True)]
    )


def output_of(model, inputs, name):
    inputs = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    return to_numpy(keras.Model(model.input, model.get_layer(name).output)(inputs))


@pytest.mark.parametrize(
    ("categorical", "numeric", "ids", "crossed_ids", "dims", "hidden", "millions"),
    [
        (26, 13, 514_798, 21_037_504, (20, 10), (700,) * 5, (20.24, 225.46)),  # Criteo
        (24, 0, 1_228_795, 240_329_481, (40, 4), (500,) * 5, (56.11, 1012.51)),  # Avazu
    ],
)
def test_parameter_counts_of_table_5(
    categorical, numeric, ids, crossed_ids, dims, hidden, millions
):
    dim, cross_dim = dims
    pairs = categorical * (categorical - 1) // 2
    features = feature_set(categorical, numeric, ids=ids - numeric, crossed_ids=crossed_ids)
    deep = tower((categorical + numeric) * dim + pairs * cross_dim, *hidden, normalized=True)
    # Numbers are in no pair, so their latent vectors, which the authors' table has, are not there.
    counts = [
        parameter_count(OptInterF, features, dim, cross_dim, hidden=hidden) + numeric * cross_dim,
        parameter_count(OptInterM, features, dim, cross_dim, hidden=hidden),
    ]
    assert counts == [ids * (dim + cross_dim) + deep, ids * dim + crossed_ids * cross_dim + deep]
    assert [round(count / 1e6, 2) for count in counts] == list(millions)


def test_a_searched_model_has_the_rows_of_memorized_pairs_only():
    model = OptInter(
        CROSSED, cross_dim=3, interactions=plan_of("naive", "memorize", "factorize"), **OPTIONS
    )
    assert model.get_layer("memorized").table.shape == (1 + 1 + 6, 3)  # row 0, OOV, c_x_a
    assert model.get_layer("factors").table.shape == (1 + 4 + 3 + 5, 3)  # a, b, c: no tags
    assert model.get_layer("combination").output.shape == (None, 2, 3)
    assert model.get_layer("combination").weights == []
    wide = OptInter(
        CROSSED,
        cross_dim=3,
        interactions=plan_of("naive", "memorize", "factorize"),
        keep_width=True,
        **OPTIONS,
    )
    assert wide.get_layer("combination").output.shape == (None, 3, 3)


def test_nothing_is_built_for_what_a_plan_does_not_use():
    memorized = OptInter(CROSSED, interactions=plan_of(*["memorize"] * 3), **OPTIONS)
    factorized = OptInter(CROSSED, interactions=plan_of(*["factorize"] * 3), **OPTIONS)
    naive = OptInter(CROSSED, interactions=plan_of(*["naive"] * 3), **OPTIONS)
    names = [{layer.name for layer in m.layers} for m in (memorized, factorized, naive)]
    assert "factors" not in names[0]
    assert "memorized" not in names[1]
    assert not names[2] & {"factors", "memorized", "combination"}
    assert [[t.name for t in m.inputs] for m in (factorized, naive)] == [
        ["categorical", "numeric", "tags"]
    ] * 2


def test_the_combination_holds_each_pair_as_planned():
    model = OptInter(
        CROSSED, cross_dim=3, interactions=plan_of("factorize", "naive", "memorize"), **OPTIONS
    )
    inputs = packed_inputs(CROSSED)
    combination = output_of(model, inputs, "combination")
    factors = output_of(model, inputs, "factors")
    assert model.get_layer("combination").pair_order == ((0, 1), (1, 2))
    first = CROSSED.id_ranges["a_x_b"].start  # its rows come first in the table, after row 0
    table = to_numpy(model.get_layer("memorized").table) * (np.arange(6) > 0)[:, None]
    rows = np.where(inputs["crossed"][:, 2] > 0, inputs["crossed"][:, 2] - first + 1, 0)
    np.testing.assert_allclose(combination[:, 0], table[rows], 1e-6)
    np.testing.assert_allclose(combination[:, 1], factors[:, 1] * factors[:, 2], 1e-6)


def copy_all(source, target):
    for layer in target.layers:
        if layer.weights and layer.name != "combination":
            layer.set_weights(source.get_layer(layer.name).get_weights())


@pytest.mark.parametrize("method", ["memorize", "factorize", "naive"])
def test_a_one_hot_mixture_is_the_extreme_model(method):
    inputs = packed_inputs(CROSSED)
    mixture = OptInter(CROSSED, cross_dim=3, **OPTIONS)
    logits = np.zeros((3, 3))
    logits[:, ["memorize", "factorize", "naive"].index(method)] = 80.0
    mixture.get_layer("combination").logits.assign(logits)
    options = {"cross_dim": 3, **OPTIONS}
    if method == "memorize":
        extreme = OptInterM(CROSSED, **options)
    else:  # of the pairs in the order of the mixture
        extreme = OptInter(CROSSED, interactions=plan_of(*[method] * 3), keep_width=True, **options)
    if method == "naive":
        extreme = FNN(PLAIN, **OPTIONS)
        copy_all_but_tower(mixture, extreme)
    else:
        copy_all(mixture, extreme)
    mine = {tensor.name: inputs[tensor.name] for tensor in extreme.inputs}
    np.testing.assert_allclose(extreme(mine), mixture(inputs), 1e-5)


def copy_all_but_tower(mixture, fnn):
    """Zero slots leave the columns of their part of the first kernel unused."""
    for name in ("embedding", "logit"):
        fnn.get_layer(name).set_weights(mixture.get_layer(name).get_weights())
    kernel, *others = mixture.get_layer("deep").get_weights()
    fnn.get_layer("deep").set_weights([kernel[: 5 * 4], *others])


def test_optinter_f_is_the_plan_of_all_pairs_factorized():
    f = OptInterF(PLAIN, cross_dim=3, **OPTIONS)
    assert f.name == "OptInterF"
    plan = InteractionPlan.complete(["a", "b", "c"], functions=["factorize"])
    planned = OptInter(CROSSED, cross_dim=3, interactions=plan, **OPTIONS)
    assert f.count_params() == planned.count_params()
    assert f.get_layer("combination").output.shape == (None, 3, 3)


def test_compact_and_wide_retrain_differ_in_unused_columns_only():
    plan = plan_of("memorize", "naive", "factorize")
    compact = OptInter(CROSSED, cross_dim=3, interactions=plan, **OPTIONS)
    wide = OptInter(CROSSED, cross_dim=3, interactions=plan, keep_width=True, **OPTIONS)
    for name in ("embedding", "memorized", "factors", "logit"):
        compact.get_layer(name).set_weights(wide.get_layer(name).get_weights())
    kernel, *others = wide.get_layer("deep").get_weights()
    assert kernel.shape[0] == 5 * 4 + 3 * 3
    compact.get_layer("deep").set_weights([kernel[:-3], *others])
    inputs = packed_inputs(CROSSED)
    np.testing.assert_allclose(compact(inputs), wide(inputs), 1e-6)


def test_factors_may_come_from_the_original_embedding():
    model = OptInterF(PLAIN, dim=4, cross_dim=4, factor_source="original", hidden=[6])
    assert "factors" not in {layer.name for layer in model.layers}
    inputs = packed_inputs(PLAIN)
    fields = output_of(model, inputs, "embedding")
    expected = np.stack([fields[:, i] * fields[:, j] for i, j in [(0, 1), (0, 2), (1, 2)]], axis=1)
    np.testing.assert_allclose(output_of(model, inputs, "combination"), expected, 1e-6)
    with pytest.raises(ValueError, match=r"cross_dim == dim. Received: 3 and 4"):
        OptInterF(PLAIN, dim=4, cross_dim=3, factor_source="original")


@pytest.mark.backend
@pytest.mark.parametrize(
    ("penalties", "is_shrunk"),
    [
        ({"cross_l2": 0.25}, True),
        ({"embedding_l2": 0.25}, True),
        ({"embedding_l2": 0.25, "cross_l2": 0.0}, False),
    ],
)
def test_pairs_and_latent_vectors_have_a_penalty_of_their_own(penalties, is_shrunk):
    def after_a_step(**penalties):
        keras.utils.set_random_seed(0)
        model = OptInter(CROSSED, cross_dim=3, **penalties, **OPTIONS)
        before = {weight.path: to_numpy(weight) for weight in model.trainable_weights}
        model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy", **FEW_STEPS)
        model.train_on_batch(inputs, np.ones((8, 1)))
        return before, {weight.path: to_numpy(weight) for weight in model.trainable_weights}

    inputs = packed_inputs(CROSSED)
    before, without = after_a_step()
    _, decayed = after_a_step(**penalties)
    fields = decayed["embedding/table"] - without["embedding/table"]
    assert fields.any() == ("embedding_l2" in penalties)
    others = {path: v for path, v in before.items() if not path.startswith("embedding/")}
    for path, values in others.items():
        expected = np.zeros_like(values)
        if is_shrunk and path in ("memorized/table", "factors/table"):
            kind = "crossed" if path.startswith("memorized") else "categorical"
            offset = CROSSED.id_count - len(values) if kind == "crossed" else 0
            ids = np.unique(inputs[kind])
            read = ids[ids > 0] - offset
            expected[read] = -0.5 * values[read]
        np.testing.assert_allclose(decayed[path] - without[path], expected, 1e-4, 1e-6, path)


@pytest.mark.backend
def test_logits_and_weights_move_in_one_step():
    model = OptInter(CROSSED, cross_dim=3, **OPTIONS)
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy", **FEW_STEPS)
    before = [to_numpy(weight) for weight in model.trainable_weights]
    rows = 64
    labels = np.random.default_rng(0).integers(0, 2, (rows, 1))
    model.train_on_batch(packed_inputs(CROSSED, rows), labels)
    paths = [weight.path for weight in model.trainable_weights]
    moved = [
        path
        for path, old, new in zip(paths, before, model.trainable_weights, strict=True)
        if (to_numpy(new) != old).any()
    ]
    assert moved == paths
    assert int(model.get_layer("combination").step) == 1
    model.evaluate(packed_inputs(CROSSED), labels[:8], verbose=0)
    assert int(model.get_layer("combination").step) == 1


def test_requests_that_contradict_the_features_are_refused():
    with pytest.raises(ValueError, match=r"Crossed features, .*, or give OptInter a plan"):
        OptInter(PLAIN)
    with pytest.raises(ValueError, match="OptInterM needs crossed features"):
        OptInterM(PLAIN)
    with pytest.raises(TypeError, match="unexpected keyword argument 'factor_function'"):
        OptInterM(CROSSED, factor_function="addition")
    with pytest.raises(ValueError, match=r"to memorize 'b' and 'c' declare Crossed\('b', 'c'\)"):
        OptInter(PLAIN, interactions=plan_of("memorize", "naive", "naive"))
    with pytest.raises(ValueError, match="unknown fields in the plan: tags"):
        OptInter(PLAIN, interactions=InteractionPlan([Interaction(("a", "tags"), "factorize")]))
    with pytest.raises(ValueError, match="one for FM, DeepFM, IPNN or AIM"):
        OptInter(PLAIN, interactions=InteractionPlan([Interaction(("a", "b"))]))


def test_a_random_label_of_a_pair_can_be_memorized_only():
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    size = 40
    table = draw.integers(0, 2, (size, size))
    features = FeatureSet(
        *(Categorical("a"), Categorical("b"), Crossed("a", "b")),
        label=Label("click"),
        vocabulary_sizes={"a": size, "b": size, "a_x_b": size * size},
    )
    values = draw.integers(0, size, (12000, 2))
    starts = [features.id_ranges[name].start + 1 for name in ("a", "b", "a_x_b")]
    inputs = {
        "categorical": (values + starts[:2]).astype("int32"),
        "crossed": (values @ [[size], [1]] + starts[2]).astype("int32"),
    }
    labels = table[values[:, 0], values[:, 1]][:, None].astype("float32")
    plain = FeatureSet(
        *features.features[:2], label=features.label, vocabulary_sizes={"a": size, "b": size}
    )
    assert trained_auc(OptInterM(features, dim=2, hidden=[8]), inputs, labels) > 0.95
    assert trained_auc(FNN(plain, dim=2, hidden=[8]), inputs, labels) < 0.8


def trained_auc(model, inputs, labels):
    inputs = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", jit_compile=JIT)
    model.fit(inputs, labels, batch_size=200, epochs=3, verbose=0)
    return auc(labels, model.predict(inputs, verbose=0))
