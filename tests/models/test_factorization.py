"""FM, DeepFM and IPNN: sizes, the identities between them, and what a plan changes."""

import itertools

import keras
import numpy as np
import pytest

from ctr_keras.metrics import auc
from ctr_keras.models import FM, FNN, IPNN, DeepFM
from ctr_keras.plan import Interaction, InteractionPlan
from tests.models.identities import copy_weights, logits, to_numpy
from tests.models.sizes import feature_set, parameter_count, tower
from tests.packed import JIT, packed_inputs

AVAZU = feature_set(24, ids=645_195)
SMALL = feature_set(4, numeric=1)
NAMES = SMALL.field_names
PAIRS = [("c0", "c3"), ("c1", "c2"), ("c2", "n0")]
PLAN = InteractionPlan([Interaction(pair) for pair in PAIRS])


def embeddings(model, inputs, name="embedding"):
    return to_numpy(model.get_layer(name)(inputs)).astype("float64")


def test_parameter_counts_of_avazu():
    ids, dim, pairs, triples = 645_195, 40, 276, 2024
    fm = parameter_count(FM, AVAZU, dim)
    assert fm == 26_452_996
    assert parameter_count(DeepFM, AVAZU, dim, hidden=(700,) * 5) == 29_089_196
    second, third = (
        InteractionPlan.complete(AVAZU.field_names, orders) for orders in ([2], [2, 3])
    )
    assert parameter_count(FM, AVAZU, dim, interactions=second) == fm + pairs
    # The third order has a table of its own.
    assert parameter_count(FM, AVAZU, dim, interactions=third) == fm + pairs + ids * dim + triples
    shared = parameter_count(FM, AVAZU, dim, interactions=third, share_embedding=True)
    assert shared == fm + pairs + triples


@pytest.mark.parametrize(
    ("ids", "categorical", "numeric", "dim", "hidden", "millions"),
    [
        (514_798, 26, 13, 20, (700,) * 5, (10.30, 12.81, 13.33)),  # Criteo
        (1_228_795, 24, 0, 40, (500,) * 5, (49.15, 50.64, 50.78)),  # Avazu
    ],
)
def test_parameter_counts_of_optinters_baselines(ids, categorical, numeric, dim, hidden, millions):
    features = feature_set(categorical, numeric, ids=ids - numeric)
    fields = categorical + numeric
    options = {"hidden": hidden, "normalization": "layer", "norm_order": "before"}
    counts = (
        parameter_count(FM, features, dim, linear=False),
        parameter_count(FNN, features, dim, hidden=hidden),
        parameter_count(IPNN, features, dim, **options),
    )
    pairs = fields * (fields - 1) // 2
    assert counts == (
        ids * dim,
        ids * dim + tower(fields * dim, *hidden, normalized=True),
        ids * dim + tower(fields * dim + pairs, *hidden, normalized=True),
    )
    assert [round(count / 1e6, 2) for count in counts] == list(millions)


@pytest.mark.backend
@pytest.mark.parametrize("orders", [(2,), (2, 3), (3, 4)])
def test_fm_is_the_sum_over_combinations(orders):
    model = FM(SMALL, dim=3, orders=orders, embeddings_initializer="random_normal")
    inputs = packed_inputs(SMALL)
    expected = logits(model, inputs, "linear")[0].astype("float64")
    for order in orders:
        name = "embedding" if order == 2 else f"embedding_inner_{order}"
        embedded = embeddings(model, inputs, name)
        for fields in itertools.combinations(range(5), order):
            expected += np.prod([embedded[:, f] for f in fields], axis=0).sum(-1, keepdims=True)
    np.testing.assert_allclose(logits(model, inputs), expected, 1e-4, 1e-6)


@pytest.mark.parametrize("builder", [FM, DeepFM])
def test_open_gates_without_normalization_are_the_plain_model(builder):
    plan = InteractionPlan.complete(NAMES, [2, 3])
    options = {"dim": 4, "embeddings_initializer": "random_normal"}
    plain = builder(SMALL, orders=[2, 3], **options)
    gated = builder(SMALL, interactions=plan, normalized=False, **options)
    copy_weights(plain, gated, "linear", "embedding", "embedding_inner_3")
    if builder is DeepFM:
        copy_weights(plain, gated, "deep", "deep_logit")
    for name in ("inner_2", "inner_3"):
        gates = gated.get_layer(name).gates
        gates.assign(np.ones(gates.shape))
    inputs = packed_inputs(SMALL)
    np.testing.assert_allclose(gated(inputs), plain(inputs), 1e-5)


def test_gates_of_a_plan_start_as_in_the_authors_code():
    model = FM(SMALL, interactions=PLAN)
    gates = to_numpy(model.get_layer("inner_2").gates)
    assert gates.shape == (3,)
    assert ((gates >= 0.599) & (gates <= 0.601)).all()


def test_a_plan_builds_only_its_interactions():
    model = FM(SMALL, dim=4, interactions=PLAN)
    layer = model.get_layer("inner_2")
    names = [tuple(NAMES[index] for index in term) for term in layer.terms]
    assert sorted(names) == sorted(PAIRS)
    inputs = packed_inputs(SMALL, rows=16)
    embedded = embeddings(model, inputs)
    products = np.stack([(embedded[:, i] * embedded[:, j]).sum(-1) for i, j in layer.terms], axis=1)
    expected = products / np.sqrt(1 + 1e-3) * to_numpy(layer.gates)
    np.testing.assert_allclose(
        logits(model, inputs, "inner_2")[0], expected.sum(1, keepdims=True), 1e-4, 1e-8
    )


def test_orders_restrict_a_plan():
    plan = InteractionPlan([*PLAN.interactions, Interaction(("c0", "c1", "n0"))])
    names = {layer.name for layer in FM(SMALL, interactions=plan, orders=[2]).layers}
    assert "inner_2" in names
    assert "inner_3" not in names
    assert "embedding" not in {
        layer.name for layer in FM(SMALL, interactions=plan, orders=[3]).layers
    }


def test_ablations_of_the_retrained_model():
    # "AutoFM-BN" keeps gates, "AutoFM-BN-alpha" is plain FM on the kept pairs.
    without_norm = FM(SMALL, interactions=PLAN, normalized=False).get_layer("inner_2")
    assert [weight.name for weight in without_norm.weights] == ["gates"]
    plain = FM(SMALL, interactions=PLAN, normalized=False, gated=False).get_layer("inner_2")
    assert plain.weights == []


def test_deepfm_without_its_tower_is_fm():
    deep, fm = DeepFM(SMALL, dim=4, hidden=[6]), FM(SMALL, dim=4)
    inputs = packed_inputs(SMALL)
    copy_weights(deep, fm, "embedding")
    table = deep.get_layer("linear").get_weights()
    fm.get_layer("linear").set_weights([np.zeros(1), *table])
    logit, tower_logit = logits(deep, inputs, "logit", "deep_logit")
    np.testing.assert_allclose(logit - tower_logit, logits(fm, inputs), 1e-4, 1e-6)
    assert np.abs(tower_logit).max() > 0


def test_ipnn_with_zero_product_columns_is_fnn():
    options = {"dim": 4, "hidden": [6], "normalization": None}
    ipnn, fnn = IPNN(SMALL, **options), FNN(SMALL, **options)
    copy_weights(ipnn, fnn, "embedding", "logit")
    kernel, bias = ipnn.get_layer("deep").get_weights()
    kernel[5 * 4 :] = 0
    ipnn.get_layer("deep").set_weights([kernel, bias])
    fnn.get_layer("deep").set_weights([kernel[: 5 * 4], bias])
    inputs = packed_inputs(SMALL)
    np.testing.assert_allclose(ipnn(inputs), fnn(inputs), 1e-6)


def test_ipnn_gets_each_product_of_the_plan_as_one_number():
    keras.utils.set_random_seed(0)
    plan = InteractionPlan([*PLAN.interactions, Interaction(("c0", "c1", "n0"))])
    model = IPNN(SMALL, dim=4, interactions=plan)
    inputs = packed_inputs(SMALL)
    base, own = (embeddings(model, inputs, n) for n in ("embedding", "embedding_inner_3"))
    pairs = [(base[:, i] * base[:, j]).sum(-1) for i, j in model.get_layer("inner_2").terms]
    triple = (own[:, 0] * own[:, 1] * own[:, 4]).sum(-1)
    expected = np.concatenate([base.reshape(8, -1), np.stack([*pairs, triple], axis=1)], axis=1)
    np.testing.assert_allclose(logits(model, inputs, "products")[0], expected, 1e-5, 1e-9)


def test_a_plan_from_a_file(tmp_path):
    path = str(tmp_path / "plan.json")
    PLAN.save(path)
    assert FM(SMALL, interactions=path).get_layer("inner_2").gates.shape == (3,)


def test_functions_transfer_to_deepfm_and_ipnn():
    plan = InteractionPlan(
        [Interaction(("c0", "c1"), "outer"), Interaction(("c0", "c1"), "vector")]
    )
    for builder in (DeepFM, IPNN):
        model = builder(SMALL, dim=4, interactions=plan)
        assert model.get_layer("outer_2").terms == ((0, 1),)
        assert model.get_layer("embedding_vector_2").table.shape == (SMALL.id_count, 4)


def test_bad_plans_are_refused():
    with pytest.raises(ValueError, match="unknown fields in the plan: zip"):
        FM(SMALL, interactions=InteractionPlan([Interaction(("c0", "zip"))]))
    with pytest.raises(ValueError, match=r"the plan holds methods .* one for OptInter"):
        DeepFM(SMALL, interactions=InteractionPlan([Interaction(("c0", "c1"), "memorize")]))
    with pytest.raises(ValueError, match="nothing is left"):
        FM(SMALL, interactions=InteractionPlan([]), linear=False)


@pytest.mark.backend
def test_a_pair_that_only_interaction_can_tell():
    """XOR of the first two fields: the pair's inner product finds it, the linear part cannot."""
    keras.utils.set_random_seed(1)
    features = feature_set(3)
    bits = np.random.default_rng(0).integers(0, 2, (3000, 3))
    inputs = {"categorical": (bits + np.array([2, 5, 8])).astype("int32")}
    labels = (bits[:, :1] ^ bits[:, 1:2]).astype("float32")
    reached = {}
    for name, pair in (("right", ("c0", "c1")), ("wrong", ("c1", "c2"))):
        plan = InteractionPlan([Interaction(pair)])
        model = FM(features, dim=4, interactions=plan, embeddings_initializer="random_normal")
        model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=JIT)
        model.fit(inputs, labels, batch_size=100, epochs=5, verbose=0)
        reached[name] = auc(labels, model.predict(inputs, verbose=0))
    assert reached["right"] > 0.99
    assert reached["wrong"] < 0.7
