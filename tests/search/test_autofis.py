"""AutoFIS finds planted interactions, those and no others, and retraining on them beats FM."""

import functools
import re

import keras
import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras import metrics
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
from ctr_keras.models import FM
from ctr_keras.plan import Interaction, InteractionPlan
from ctr_keras.search import AutoFISSearch
from ctr_keras.search.gates import candidate_fields, candidate_pool
from ctr_keras.search.rows import SearchRows
from tests.packed import JIT
from tests.parameters import WHOLE_ON_JAX, first_of, whole_on_jax

PAIRS = [(0, 1), (2, 5), (3, 4)]
ROWS = 20_000
# JAX compiles a step into one program, several times faster than TensorFlow's many small ones.
SEEDS = range(5) if keras.backend.backend() == "jax" else range(2)


def search_planted(data, **changes):
    """Settings of planted data: c = 0.05, mu = 0.8, rate 1, 400 steps of 1,000 rows."""
    settings = {"base": "FM", "c": 0.05, "mu": 0.8, "learning_rate": 3e-2, "rounds": 1}
    settings |= {"epochs": 20, "batch_size": 1000, "model_args": {"dim": 10}, "verbose": False}
    settings |= {"keep": None}
    return AutoFISSearch(**settings | changes).search(data.features, data.train)


def names(combinations):
    return {tuple(f"f{field}" for field in combination) for combination in combinations}


def auc_after_training(model, data, steps):
    """AUC on the test rows after so many steps of 1,000 rows."""
    model.compile(keras.optimizers.Adam(3e-2), "binary_crossentropy", jit_compile=JIT)
    model.fit(
        SearchRows(data.features, data.train).stream(model, 1000, 0),
        steps_per_epoch=steps,
        verbose=0,
    )
    return metrics.auc(*SearchRows(data.features, data.test).score(model))


@pytest.mark.backend
@whole_on_jax
@pytest.mark.slow
def test_exactly_the_planted_pairs_stay_open():
    exact = 0
    for seed in SEEDS:
        data = planted_clicks(PAIRS, seed, train_rows=ROWS)
        plan = search_planted(data, seed=seed)
        exact += {interaction.fields for interaction in plan.interactions} == names(PAIRS)
    assert exact >= 0.9 * len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "base",
    [
        pytest.param("FM", marks=pytest.mark.backend),
        pytest.param("DeepFM", marks=WHOLE_ON_JAX),
    ],
)
def test_default_settings_keep_exactly_the_planted_pairs(base):
    tower = {} if base == "FM" else {"hidden": [16]}
    rows = {"train_rows": ROWS, "validation_rows": 5000, "test_rows": 10, "noise": 1.0}
    data = planted_clicks(PAIRS, **rows)
    search = AutoFISSearch(base=base, model_args={"dim": 10, **tower}, verbose=False)
    plan = search.search(data.features, data.train, data.validation)
    assert {interaction.fields for interaction in plan.interactions} == names(PAIRS)


@pytest.mark.slow
def test_default_settings_keep_no_pair_where_none_interacts(capsys):
    data = planted_clicks([], train_rows=ROWS, test_rows=10, noise=1.0)
    search = AutoFISSearch(base="FM", model_args={"dim": 10})
    assert search.search(data.features, data.train).interactions == ()  # a tenth is held out
    assert "nothing was found" in capsys.readouterr().out


@pytest.mark.slow
def test_retrained_on_the_planted_pairs_it_beats_fm():
    data = planted_clicks(PAIRS, train_rows=ROWS)
    plan = InteractionPlan(Interaction(fields) for fields in sorted(names(PAIRS)))
    keras.utils.set_random_seed(0)
    found = auc_after_training(FM(data.features, 10, interactions=plan), data, steps=200)
    plain = auc_after_training(FM(data.features, 10), data, steps=200)
    wrong = InteractionPlan(Interaction(fields) for fields in names([(0, 2), (1, 3), (4, 5)]))
    assert found > plain + 0.01
    assert auc_after_training(FM(data.features, 10, interactions=wrong), data, steps=200) < plain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "fields", "categories"),
    first_of(
        [
            ([(1, 7), (2, 6)], 8, 6),
            ([(0, 3), (1, 2)], 4, 10),
            ([(0, 1), (1, 2), (2, 3), (0, 4)], 5, 8),
        ]
    ),
)
def test_other_planted_pairs_are_found_as_well(pairs, fields, categories):
    data = planted_clicks(pairs, fields=fields, categories=categories, train_rows=ROWS)
    plan = search_planted(data)
    assert {interaction.fields for interaction in plan.interactions} == names(pairs)


def small(seed=0, pairs=((0, 1),)):
    return planted_clicks(pairs, seed, fields=4, categories=5, train_rows=2000, test_rows=500)


def quick(**changes):
    """A search of a few steps, some of whose gates close."""
    settings = {"batch_size": 100, "epochs": 1, "rounds": 2, "keep": None, "verbose": False}
    return AutoFISSearch(**settings | {"model_args": {"dim": 4}} | changes)


@pytest.mark.backend
@pytest.mark.parametrize(("base", "c"), [("FM", 0.05), ("DeepFM", 0.05), ("IPNN", 0.025)])
def test_every_base_can_be_searched(base, c):
    hidden = {} if base == "FM" else {"hidden": [8]}
    search = quick(base=base, c=c, epochs=3, model_args={"dim": 4, **hidden})
    plan = search.search(small().features, small().train)
    gates = [interaction.gate for interaction in plan.interactions]
    assert 0 < len(gates) < 6
    assert all(gates)


@pytest.mark.backend
def test_the_default_threshold_without_a_choice_ends_at_one():
    """Gates that nothing moves begin at 0.6, and close between 0.6 and 1."""
    data = small()
    constant = {"categorical": np.repeat(data.train[0]["categorical"][:1], 2000, axis=0)}
    searched = quick(base="FM", gate_learning_rate_decay=0.5)
    assert searched.search(data.features, (constant, data.train[1])).interactions == ()
    still = quick(base="FM", c=0.5 / 20**0.8)  # 20 steps: the threshold ends at 0.5
    plan = still.search(data.features, (constant, data.train[1]))
    assert [interaction.gate for interaction in plan.interactions] == pytest.approx(6 * [0.1], 0.02)


TRIPLE = ((0, 1), (0, 1, 2))


@functools.cache
def second_order_of_triple():
    data = small(pairs=TRIPLE)
    return quick(base="FM", c=0.02, epochs=6).search(data.features, data.train)


@pytest.mark.backend
@pytest.mark.parametrize("pool", first_of([True, False]))
def test_third_order_starts_with_what_second_order_kept(pool):
    data = small(pairs=TRIPLE)
    search = quick(base="FM", order=3, pool=pool, top=1, c=0.02, epochs=6)
    plan, second = search.search(data.features, data.train), second_order_of_triple()
    pairs = {i.fields for i in plan.interactions if i.order == 2}
    assert pairs <= {i.fields for i in second.interactions}  # they may close still
    triples = {i.fields for i in plan.interactions if i.order == 3}
    best = max(second.interactions, key=lambda interaction: abs(interaction.gate)).fields
    assert triples
    assert not pool or all(set(best) <= set(fields) for fields in triples)


def test_no_pair_means_no_triple_and_a_hint(capsys):
    data = small(pairs=[(0, 1)])
    search = quick(base="FM", order=3, pool=True, top=1, c=10.0, epochs=1, verbose=True)
    assert search.search(data.features, data.train).interactions == ()
    hint = re.search(r"closed all gates\..* with c=([0-9.e-]+) ", capsys.readouterr().out)
    steps = -(-len(data.train[1]) // search.batch_size)
    assert float(hint[1]) == pytest.approx(0.6 / steps**search.mu, rel=0.05)


def test_the_pool_has_each_candidate_once():
    """3 pairs of 6 fields, each with one of 4 others, and no two of these are the same."""
    fields = [f"f{index}" for index in range(6)]
    pairs = InteractionPlan(Interaction(pair) for pair in sorted(names(PAIRS)))
    pool = [i.fields for i in candidate_pool(pairs, 3, ["inner"], fields, top=3)]
    assert len(pool) == len(set(pool)) == 12
    assert all(len(set(triple)) == 3 and list(triple) == sorted(triple) for triple in pool)
    overlapping = InteractionPlan(Interaction(pair) for pair in [("f0", "f1"), ("f1", "f2")])
    pool = candidate_pool(overlapping, 3, ["inner"], fields, top=3)
    assert len(pool) == 7  # f0 f1 f2 comes from both


def test_functions_may_share_a_pool():
    fields = ["a", "b", "c", "d"]
    plan = InteractionPlan(
        [Interaction(("a", "b"), gate=0.3), Interaction(("c", "d"), "outer", gate=-0.9)]
    )
    alone = candidate_pool(plan, 3, ["inner"], fields, top=1)
    assert [(i.fields, i.function) for i in alone] == [
        (("a", "b", "c"), "inner"),
        (("a", "b", "d"), "inner"),
    ]
    shared = candidate_pool(plan, 3, ["inner", "outer"], fields, top=1)
    best = [("a", "c", "d"), ("b", "c", "d")]  # of the largest gate, whatever its sign
    assert [(i.fields, i.function) for i in shared] == [
        (triple, function) for function in ("inner", "outer") for triple in best
    ]


@pytest.mark.parametrize("count", [10, 20, 40])
def test_the_pool_grows_with_the_square_of_the_fields(count):
    fields = [f"f{index}" for index in range(count)]
    plan = InteractionPlan.complete(fields)
    pool = candidate_pool(plan, 3, ["inner"], fields, top=count // 2)
    assert len(pool) <= (count // 2) * (count - 2)


@pytest.mark.backend
def test_a_bilevel_search_learns_gates_from_validation_rows():
    data = small()
    search = quick(base="FM", bilevel=True, epochs=3, c=0.05)
    plan = search.search(data.features, data.train, data.test)
    shuffled = (data.test[0], data.test[1][::-1])
    other = search.search(data.features, data.train, shuffled)
    assert plan.interactions
    assert plan != other
    with pytest.raises(ValueError, match="needs validation rows"):
        search.search(data.features, data.train)


def test_crossed_features_are_no_candidates():
    features = FeatureSet(
        Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("click")
    )
    assert candidate_fields(features) == ["a", "b"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "AutoInt"}, "base must be 'FM', 'DeepFM' or 'IPNN', got 'AutoInt'"),
        ({"order": 5}, "order must be 2, 3 or 4, got 5"),
        ({"epochs": 0}, "epochs must be at least 1 or 'auto', got 0"),
        ({"pool": "yes"}, "pool must be true or false, got 'yes'"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoFISSearch(**settings)
