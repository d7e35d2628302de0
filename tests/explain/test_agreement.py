"""How far two plans agree."""

import math

import pytest

from ctr_keras.explain.agreement import agreement, agreement_picture
from ctr_keras.plan import Interaction, InteractionPlan

ONE = InteractionPlan(
    [Interaction(("a", "b"), gate=0.9), Interaction(("a", "c"), gate=-0.5), Interaction(("b", "c"))]
)


def test_a_plan_agrees_with_itself_whatever_the_order_of_fields():
    turned = InteractionPlan(
        Interaction(i.fields[::-1], gate=-i.gate) for i in reversed(ONE.interactions)
    )
    found = agreement(ONE, turned)
    assert (found.overlap, found.both) == (1.0, 3)
    assert found.rank_correlation == pytest.approx(1.0)


def test_what_one_plan_lacks_counts_as_closed():
    found = agreement(ONE, InteractionPlan([Interaction(("a", "b"), "outer", 0.3)]))
    assert found.overlap == pytest.approx(1 / 3)
    assert found.second.tolist() == [0.3, 0.0, 0.0]


def test_methods_agree_pair_by_pair():
    first = InteractionPlan([Interaction(("a", "b"), "memorize"), Interaction(("a", "c"), "naive")])
    other = InteractionPlan(
        [Interaction(("b", "a"), "factorize"), Interaction(("a", "c"), "naive")]
    )
    found = agreement(first, other)
    assert (found.both, found.same_method) == (1, 1)
    assert math.isnan(found.rank_correlation)


def test_the_picture_says_what_chance_would_give():
    picture = agreement_picture(ONE, ONE, ("one", "other"), possible=6)
    assert picture.title == "one and other: 3 interactions in both plans, of 3 and 3"
    assert "by chance 1.5 would be" in picture.caption
    assert picture.rows[0][1:] == (1.0, 1.0)
