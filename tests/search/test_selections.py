"""Selections that searches are compared with."""

import numpy as np
import pytest

from benchmarks.planted_log import planted_clicks
from ctr_keras import metrics
from ctr_keras.plan import METHODS, Interaction, InteractionPlan
from ctr_keras.search import RandomSelection, StatisticsSelection

FIELDS = [f"f{field}" for field in range(6)]
PLAN = InteractionPlan(
    [
        *(Interaction(fields) for fields in [("f0", "f1"), ("f2", "f5"), ("f3", "f4")]),
        Interaction(("f0", "f1"), "outer"),
        Interaction(("f0", "f1", "f2")),
    ]
)


@pytest.fixture(scope="module")
def data():
    pairs = [(0, 1), (2, 5), (3, 4)]
    return planted_clicks(pairs, categories=6, train_rows=20_000, test_rows=5000)


def test_random_selections_have_the_size_of_the_plan_kind_by_kind(data):
    drawn = [RandomSelection(like=PLAN, seed=seed).search(data.features) for seed in range(20)]
    for plan in drawn:
        assert plan.kinds == PLAN.kinds
        counts = [
            sum((i.order, i.function) == kind for i in plan.interactions) for kind in plan.kinds
        ]
        assert counts == [3, 1, 1]
    assert drawn[0] == RandomSelection(like=PLAN, seed=0).search(data.features)
    pairs = {i.fields for plan in drawn for i in plan.interactions if i.order == 2}
    assert len(pairs) == 15  # every pair has its chance


def test_random_methods_are_drawn_for_every_pair(data):
    every = InteractionPlan.complete(FIELDS, functions=["naive"])
    drawn = [RandomSelection(like=every, seed=seed).search(data.features) for seed in range(60)]
    assert all(
        [i.fields for i in p.interactions] == [i.fields for i in every.interactions] for p in drawn
    )
    methods = [i.function for plan in drawn for i in plan.interactions]
    shares = [methods.count(method) / len(methods) for method in METHODS]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)


def test_statistics_selection_takes_the_best_pairs(data):
    like = InteractionPlan(i for i in PLAN.interactions if i.order == 2 and i.function == "inner")
    plan = StatisticsSelection(like=like).search(data.features, data.train, data.test)
    ids, test_ids = (part[0]["categorical"].astype(int) for part in (data.train, data.test))
    by_hand = {}
    for pair in InteractionPlan.complete(FIELDS).combinations(FIELDS, 2, "inner"):
        rates, views = {}, {}
        for row, click in zip(map(tuple, ids[:, pair]), data.train[1].ravel(), strict=True):
            views[row] = views.get(row, 0) + 1
            rates[row] = rates.get(row, 0) + click
        default = data.train[1].mean()
        scores = [
            rates[row] / views[row] if row in views else default
            for row in map(tuple, test_ids[:, pair])
        ]
        by_hand[tuple(FIELDS[index] for index in pair)] = metrics.auc(data.test[1], scores)
    best = sorted(by_hand, key=by_hand.get, reverse=True)[:3]
    assert [interaction.fields for interaction in plan.interactions] == best
    for interaction in plan.interactions:
        assert interaction.gate == pytest.approx(by_hand[interaction.fields] - 0.5)


def test_statistics_selection_looks_at_no_more_rows_than_it_is_told(data):
    train = ({"categorical": data.train[0]["categorical"][:100]}, data.train[1][:100])
    few = StatisticsSelection(like=PLAN, rows=100)
    test = ({"categorical": data.test[0]["categorical"][:100]}, data.test[1][:100])
    assert few.search(data.features, data.train, data.test) == few.search(
        data.features, train, test
    )
    with pytest.raises(ValueError, match="needs validation rows to score"):
        few.search(data.features, train)


def test_a_plan_of_other_fields_is_refused(data):
    strange = InteractionPlan([Interaction(("f0", "g"))])
    with pytest.raises(ValueError, match="unknown fields in the plan: g; available: "):
        RandomSelection(like=strange).search(data.features)
