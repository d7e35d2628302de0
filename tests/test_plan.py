"""InteractionPlan: what it refuses, what it gives to layers, and its file."""

import itertools
import json

import numpy as np
import pytest

from ctr_keras.plan import Cell, Group, Interaction, InteractionPlan

NAMES = ("user", "item", "price", "hour")


def searched():
    return InteractionPlan(
        [
            Interaction(("price", "user"), gate=-0.7),
            Interaction(("hour", "item"), gate=0.25),
            Interaction(("user", "price"), "outer", gate=0.5),
            Interaction(("hour", "user", "item"), gate=1.5),
        ],
        kept_dims={"inner_2": {"user": [0, 3], "hour": []}},
    )


def test_complete_has_every_combination_in_order():
    plan = InteractionPlan.complete(NAMES, orders=(2, 3), functions=("inner", "outer"))
    assert len(plan.interactions) == 2 * (6 + 4)
    for order, function in itertools.product((2, 3), ("inner", "outer")):
        expected = tuple(itertools.combinations(range(4), order))
        assert plan.combinations(NAMES, order, function) == expected
    assert plan.combinations(NAMES, 4, "inner") == ()
    assert plan.combinations(NAMES, 2, "vector") == ()


def test_complete_takes_iterators():
    plan = InteractionPlan.complete(NAMES, iter((2, 3)), iter(("inner", "outer")))
    assert plan == InteractionPlan.complete(NAMES, (2, 3), ("inner", "outer"))


@pytest.mark.parametrize("names", itertools.permutations(NAMES))
def test_combinations_rise_whatever_the_order_of_the_fields(names):
    combinations = searched().combinations(names, 2, "inner")
    assert list(combinations) == sorted(combinations)
    assert all(low < high for low, high in combinations)
    back = {frozenset(names[index] for index in term) for term in combinations}
    assert back == {frozenset(("user", "price")), frozenset(("hour", "item"))}


def test_kinds_come_in_the_order_of_orders_and_functions():
    assert searched().kinds == ((2, "inner"), (2, "outer"), (3, "inner"))
    assert InteractionPlan([]).kinds == ()
    pair = Interaction(("user", "item"), "memorize")
    assert InteractionPlan([pair]).kinds == ((2, "memorize"),)


def test_restricted_keeps_interactions_of_the_orders_and_all_kept_dims():
    plan = searched().restricted(iter([3]))
    assert plan.interactions == (Interaction(("hour", "user", "item"), gate=1.5),)
    assert plan.kept_dims == searched().kept_dims
    assert searched().restricted((2, 3)) == searched()


def test_summary_has_the_largest_gates_first():
    assert searched().summary().splitlines()[:5] == [
        "fields              function     gate",
        "hour x user x item  inner      1.5000",
        "price x user        inner     -0.7000",
        "user x price        outer      0.5000",
        "hour x item         inner      0.2500",
    ]


def test_summary_has_the_widths_that_fields_keep():
    plan = InteractionPlan(
        [Interaction(("user", "item"))], {"inner_2": {"user": (0, 3, 5), "item": range(12)}}
    )
    assert plan.summary().splitlines()[2:] == [
        "",
        "field  table    dimensions",
        "user   inner_2           3",
        "item   inner_2          12",
    ]


def test_the_file_gives_an_equal_plan(tmp_path):
    path = tmp_path / "plan.json"
    searched().save(path)
    loaded = InteractionPlan.load(path)
    assert loaded == searched()
    assert loaded.interactions == searched().interactions
    assert loaded.kept_dims == {"inner_2": {"user": (0, 3), "hour": ()}}
    assert json.loads(path.read_text())["version"] == 1
    assert InteractionPlan.load(str(path)) == loaded


def test_groups_are_saved_and_summed_up_and_two_may_have_the_same_fields(tmp_path):
    pair = Group(["user", "item"], gate=np.float32(0.25))
    plan = InteractionPlan([], groups=[pair, pair, Group(("hour", "user", "item"), 3, 0.75)])
    plan.save(tmp_path / "plan.json")
    assert InteractionPlan.load(tmp_path / "plan.json") == plan
    assert plan != InteractionPlan([], groups=[pair])
    assert plan.summary().splitlines() == [
        "group             order    gate",
        "hour, user, item  3      0.7500",
        "user, item        2      0.2500",
        "user, item        2      0.2500",
    ]
    assert repr(plan) == "InteractionPlan(0 interactions, 3 groups)"
    with pytest.raises(ValueError, match="unknown fields in the plan: hour"):
        plan.check(["user", "item"])


@pytest.mark.parametrize(
    ("fields", "order", "message"),
    [
        (("user",), 2, "a group of order 2 has at least 2 different fields"),
        (("user", "user"), 3, "at least 2 different fields"),
        ((), 1, "a group of order 1 has at least 1 different field"),
        (("user", "item"), 5, "the order of a group is 1 to 4. Received: 5"),
    ],
)
def test_a_group_is_of_enough_fields_and_of_a_known_order(fields, order, message):
    with pytest.raises(ValueError, match=message):
        Group(fields, order)


def test_cells_are_saved_and_summed_up_by_what_they_do(tmp_path):
    chain = Cell(["user", "item"], [["multiply", 0, 1], ["concatenate", 2, 0]], np.float32(0.25))
    ends = Cell(("hour", "user", "item"), [("add", 0, 2), ("product", 3, 1), ("add", 1, 2)])
    plan = InteractionPlan([], cells=[chain, ends])
    plan.save(tmp_path / "plan.json")
    assert InteractionPlan.load(tmp_path / "plan.json") == plan
    assert plan != InteractionPlan([], cells=[ends])
    assert plan.restricted((2,)) == plan
    assert plan.summary().splitlines() == [
        "cell                                                 gate",
        "product(add(hour, item), user); add(user, item)    1.0000",
        "concatenate(multiply(user, item), user)            0.2500",
    ]
    assert repr(plan) == "InteractionPlan(0 interactions, 2 cells)"
    with pytest.raises(ValueError, match="unknown fields in the plan: hour"):
        plan.check(["user", "item"])


@pytest.mark.parametrize(
    ("fields", "blocks", "message"),
    [
        (("user",), [("add", 0, 1)], "a cell has two or more different fields"),
        (("user", "user"), [("add", 0, 1)], "two or more different fields"),
        (("user", "item"), [], "a cell has 1 to 8 blocks. Received: 0"),
        (("user", "item"), 9 * [("add", 0, 1)], "a cell has 1 to 8 blocks. Received: 9"),
        (("user", "item"), [("max", 0, 1)], "one of add, multiply, concatenate, product and two"),
        (("user", "item"), [("add", 0)], r"and two places\. Received: \('add', 0\)"),
        (("user", "item"), [("add", 0, 2)], r"two different nodes below 2\. Received: \('add'"),
        (("user", "item"), [("add", 1, 1)], "two different nodes below 2"),
    ],
)
def test_a_cell_has_blocks_of_known_operations_on_what_is_there_before(fields, blocks, message):
    with pytest.raises(ValueError, match=message):
        Cell(fields, blocks)


def test_what_a_search_computes_with_numpy_can_be_saved(tmp_path):
    gate = np.array([0.5], "float32")[0]
    kept = {"inner_2": {"user": np.flatnonzero([1, 0, 1])}}
    plan = InteractionPlan([Interaction(("user", "item"), gate=gate)], kept)
    plan.save(tmp_path / "plan.json")
    loaded = InteractionPlan.load(tmp_path / "plan.json")
    assert loaded == plan
    assert loaded.kept_dims == {"inner_2": {"user": (0, 2)}}


def test_plans_differ_by_gate_and_by_kept_dims():
    pair = Interaction(("user", "item"))
    plan = InteractionPlan([pair])
    assert plan == InteractionPlan([Interaction(["user", "item"])])
    assert plan != InteractionPlan([Interaction(("user", "item"), gate=0.5)])
    assert plan != InteractionPlan([pair], {"inner_2": {"user": [0]}})
    assert plan != "plan"


def test_a_plan_without_kept_dims_keeps_all():
    config = InteractionPlan([Interaction(("user", "item"))]).to_dict()
    del config["kept_dims"]
    assert InteractionPlan.from_dict(config).kept_dims == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "plan.json is not an interaction plan: "),
        ("[]", "plan.json is not an interaction plan: "),
        ('{"interactions": []}', "format version None; this library reads 1"),
        ('{"version": 2, "interactions": []}', "format version 2; this library reads 1"),
        ('{"version": 1}', "plan.json is not an interaction plan: 'interactions'"),
        ('{"version": 1, "interactions": [3]}', "plan.json is not an interaction plan"),
        (
            '{"version": 1, "interactions": [{"fields": ["a", "b"], "weight": 1}]}',
            "an interaction has fields, function, gate. Received: .*'weight'",
        ),
        ('{"version": 1, "interactions": [{"gate": 1}]}', "Received: {'gate': 1}"),
        (
            '{"version": 1, "interactions": [], "groups": [{"fields": ["a", "b"], "of": 1}]}',
            "unexpected keyword argument 'of'",
        ),
        (
            '{"version": 1, "interactions": [{"fields": ["a", "b"], "function": "max"}]}',
            "function must be one of inner, .* Received: 'max'",
        ),
    ],
)
def test_a_file_that_is_not_a_plan_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        InteractionPlan.load(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^no interaction plan at .*plan\.json: No such"):
        InteractionPlan.load(tmp_path / "plan.json")
    with pytest.raises(OSError, match=r"^no interaction plan at .*: Is a directory$"):
        InteractionPlan.load(tmp_path)


def test_unknown_fields_are_named():
    message = "unknown fields in the plan: hour, price; available: user, item"
    with pytest.raises(ValueError, match=message):
        searched().check(["user", "item"])
    with pytest.raises(ValueError, match=message):
        searched().combinations(["user", "item"], 2, "inner")
    only_dims = InteractionPlan([], {"inner_2": {"zip": [0]}})
    with pytest.raises(ValueError, match="unknown fields in the plan: zip"):
        only_dims.check(NAMES)
    searched().check([*NAMES, "more"])


@pytest.mark.parametrize(
    ("first", "second", "is_duplicate"),
    [
        ((("a", "b"),), (("b", "a"),), True),
        ((("a", "b"),), (("a", "b"), "outer"), False),
        ((("a", "b"), "outer"), (("a", "b"), "outer", 0.5), True),
        ((("a", "b"), "memorize"), (("b", "a"), "naive"), True),
        ((("a", "b"),), (("a", "b", "c"),), False),
    ],
)
def test_duplicate_interactions_are_refused(first, second, is_duplicate):
    interactions = [Interaction(*first), Interaction(*second)]
    if not is_duplicate:
        assert InteractionPlan(interactions).interactions == tuple(interactions)
        return
    with pytest.raises(ValueError, match="duplicate interaction") as error:
        InteractionPlan(interactions)
    assert str(interactions[1].fields) in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a",),), r"two to four different fields. Received: \('a',\)"),
        ((("a", "a"),), r"two to four different fields. Received: \('a', 'a'\)"),
        ((("a", "b", "c", "d", "e"),), "two to four different fields. Received"),
        ((("a", "b"), "dot"), "function must be one of inner, .*, naive. Received: 'dot'"),
        ((("a", "b", "c"), "memorize"), "memorize is a method for pairs. Received"),
    ],
)
def test_what_is_no_interaction_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Interaction(*arguments)
