"""AIM finds planted interactions, functions and dimensions, one stage after the other."""

import keras
import numpy as np
import pytest
from keras import ops

from benchmarks.planted_log import planted_clicks, planted_tables
from ctr_keras import models
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
from ctr_keras.layers import EmbeddingGate
from ctr_keras.optimizers import GRDA, RoutedOptimizer
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search import AIMSearch
from ctr_keras.search.aim import _kept_dims, _without_empty
from ctr_keras.search.gates import candidate_pool
from tests.packed import JIT, inputs_of, labels, packed_inputs

# As AutoFIS' planted search: a threshold that grows late.
LATE = {"c": 0.05, "mu": 0.8}
SETTINGS = {"learning_rate": 3e-2, "rounds": 1, "keep": None, "dims_keep": None, "verbose": False}
ROWS = 20_000
CROSSED = FeatureSet(
    Categorical("a"),
    Categorical("b"),
    Crossed("a", "b"),
    label=Label("y"),
    vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
)


def fields_of(plan):
    return {tuple(interaction.fields) for interaction in plan.interactions}


@pytest.mark.slow
def test_a_planted_triple_on_top_of_planted_pairs_is_found():
    planted = [(0, 1), (2, 3), (0, 1, 2)]
    data = planted_clicks(planted, fields=5, categories=6, train_rows=ROWS)
    search = AIMSearch(
        order=3,
        functions=["inner"],
        dims=False,
        epochs=20,
        batch_size=1000,
        model_args={"dim": 10},
        **LATE,
        **SETTINGS,
    )
    plan = search.search(data.features, data.train)
    best = max((i for i in plan.interactions if i.order == 3), key=lambda i: abs(i.gate))
    assert best.fields == ("f0", "f1", "f2")
    assert {("f0", "f1"), ("f2", "f3")} <= fields_of(plan)


@pytest.mark.slow
def test_default_settings_keep_exactly_the_planted_pairs():
    rows = {"train_rows": ROWS, "validation_rows": 5000, "test_rows": 10, "noise": 1.0}
    data = planted_clicks([(0, 1), (2, 3)], fields=5, **rows)
    search = AIMSearch(model_args={"dim": 6}, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert fields_of(plan) == {("f0", "f1"), ("f2", "f3")}
    assert plan.kept_dims


def test_a_triple_is_not_proposed_without_one_of_its_pairs():
    """A limit of Algorithm 1, which extends what was kept."""
    plan = InteractionPlan([Interaction(("f0", "f1"))])
    pool = candidate_pool(plan, 3, ["inner"], [f"f{index}" for index in range(5)], top=2)
    assert ("f2", "f3", "f4") not in {interaction.fields for interaction in pool}


@pytest.mark.slow
def test_a_planted_outer_product_keeps_that_function():
    """The pair's table is of rank one, `u(x_0) v(x_1)`; other pairs lose all functions."""
    draw = np.random.default_rng(0)
    table = 2 * np.outer(draw.normal(size=10), draw.normal(size=10))
    data = planted_tables({(0, 1): table}, fields=4, train_rows=ROWS, linear=0.0)
    search = AIMSearch(
        dims=False, epochs=20, batch_size=1000, model_args={"dim": 10}, **LATE, **SETTINGS
    )
    plan = search.search(data.features, data.train)
    assert fields_of(plan) == {("f0", "f1")}
    assert "outer" in {interaction.function for interaction in plan.interactions}


@pytest.mark.slow
def test_a_pair_of_low_rank_loses_dimensions():
    """Of ten dimensions a table of rank one needs few, and a random table nearly all."""
    draw = np.random.default_rng(0)
    tables = {
        (0, 1): np.outer(draw.normal(size=10), draw.normal(size=10)),
        (2, 3): draw.normal(size=(10, 10)),
    }
    data = planted_tables(tables, fields=4, train_rows=ROWS, linear=0.0)
    search = AIMSearch(
        functions=["inner"],
        epochs=20,
        batch_size=1000,
        dims_c=0.008,
        dims_mu=0.8,
        model_args={"dim": 10},
        **LATE,
        **SETTINGS,
    )
    plan = search.search(data.features, data.train)
    kept = {field: len(positions) for field, positions in plan.kept_dims["inner_2"].items()}
    assert fields_of(plan) >= {("f0", "f1"), ("f2", "f3")}
    assert kept["f0"] + kept["f1"] <= 12
    assert kept["f2"] + kept["f3"] >= 18
    retrained = models.AIM(data.features, 10, interactions=plan, hidden=[8])
    assert retrained.get_layer("embedding_inner_2").count_params() < 10 * data.features.id_count


@pytest.mark.backend
def test_noise_in_the_second_half_of_a_field_loses_its_dimensions():
    draw = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    vectors = draw.normal(size=(8000, 2, 8)).astype("float32")
    logits = vectors[:, 0, :4].sum(axis=1) + vectors[:, 1].sum(axis=1)
    clicks = (logits > 0).astype("float32")[:, None]
    inputs = keras.Input((2, 8))
    gated = keras.layers.Flatten()(EmbeddingGate(name="dims")(inputs))
    score = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")(gated)
    model = keras.Model(inputs, score)
    optimizer = RoutedOptimizer(keras.optimizers.Adam(1e-2), {"^dims/": GRDA(1.0, c=0.01, mu=0.8)})
    model.compile(optimizer, "binary_crossentropy", jit_compile=JIT)
    model.fit(vectors, clicks, batch_size=200, epochs=10, verbose=0)
    is_open = ops.convert_to_numpy(model.get_layer("dims").gates) != 0
    assert is_open[0].tolist() == 4 * [True] + 4 * [False]
    assert is_open[1].all()


def test_dimensions_are_shared_as_vocabularies_are_and_empty_interactions_go():
    features = FeatureSet(
        Categorical("a"),
        Categorical("b", vocabulary_of="a"),
        Categorical("c"),
        label=Label("y"),
        vocabulary_sizes={"a": 3, "c": 3},
    )
    gates = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]], "float32")
    kept = _kept_dims(features, {"inner_2": gates, "outer_2": gates})
    assert kept["inner_2"] == {"a": (0, 1), "b": (0, 1), "c": (2,)}
    plan = InteractionPlan.complete(["a", "b", "c"], functions=["inner", "outer"])
    left = _without_empty(plan, kept)
    assert [(i.fields, i.function) for i in left.interactions] == [
        (("a", "b"), "inner"),  # the only two with a dimension in common
        (("a", "b"), "outer"),
        (("a", "c"), "outer"),
        (("b", "c"), "outer"),
    ]


def test_gates_of_interactions_and_dimensions_are_not_searched_together():
    data = planted_clicks([(0, 1)], fields=3, categories=4, train_rows=100, test_rows=10)
    plan = InteractionPlan.complete(data.features.field_names)
    together = {"interactions": plan, "embedding_gates": True}
    with pytest.raises(ValueError, match="searched one after the other"):
        models.FM(data.features, **together)
    model = models.FM(data.features, **together, gated=False, normalized=False)
    assert model.get_layer("dims_inner_2").gates.shape == (3, 16)
    search = AIMSearch(model_args={"embedding_gates": True}, **SETTINGS)
    with pytest.raises(ValueError, match="searched one after the other"):
        search.search(data.features, data.train)


@pytest.mark.usefixtures("eager")
def test_found_functions_transfer_to_deepfm_and_ipnn():
    data = planted_clicks([(0, 1)], fields=3, categories=4, train_rows=100, test_rows=10)
    search = AIMSearch(order=3, dims=False, c=0.0, batch_size=50, model_args={"dim": 4}, **SETTINGS)
    plan = search.search(data.features, data.train)
    assert {"vector_2", "outer_3"} <= {f"{function}_{order}" for order, function in plan.kinds}
    inputs = packed_inputs(data.features)
    for build in (models.DeepFM, models.IPNN):
        model = build(data.features, 4, interactions=plan, hidden=[8])
        assert model(inputs_of(model, inputs)).shape == (8, 1)


@pytest.mark.whole  # of AutoFIS a pool is searched in the suite
@pytest.mark.usefixtures("eager")
def test_a_shared_pool_tries_every_function():
    data = planted_clicks([(0, 1)], fields=4, categories=4, train_rows=100, test_rows=10)
    settings = {"order": 3, "dims": False, "c": 0.0, "batch_size": 50, "top": 1, **SETTINGS}
    settings |= {"functions": ["inner", "scalar"], "model_args": {"dim": 4}}

    def triples(**changes):
        plan = AIMSearch(**settings, **changes).search(data.features, data.train)
        found = [i for i in plan.interactions if i.order == 3]
        return [{i.fields for i in found if i.function == f} for f in ("inner", "scalar")]

    inner, scalar = triples(shared_pool=True)
    assert inner == scalar
    assert len(inner) == 2
    assert [len(found) for found in triples()] == [2, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": 1}, "order must be 2, 3 or 4, got 1"),
        ({"functions": ["matrix"]}, "functions.* must be 'inner', .*, got 'matrix'"),
        ({"functions": []}, r"functions must be a non-empty list, got \[\]"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        AIMSearch(**settings)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("crossed", [False, True])
def test_dimensions_are_of_the_fields_that_the_model_has(crossed):
    arguments = {"dim": 3, "crossed": True} if crossed else {"dim": 3}
    search = AIMSearch(functions=["inner"], c=0.0, dims_c=0.0, model_args=arguments, **SETTINGS)
    plan = search.search(CROSSED, (packed_inputs(CROSSED, 40), labels(40)))
    expected = CROSSED if crossed else CROSSED.without_crossed()
    assert plan.kept_dims["inner_2"].keys() == set(expected.field_names)
    aim = models.AIM(CROSSED, 3, interactions=plan, hidden=[4], crossed=crossed)
    assert ("crossed" in [tensor.name for tensor in aim.inputs]) == crossed
