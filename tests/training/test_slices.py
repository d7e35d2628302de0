"""Rows by the values of a field, as the log has them."""

import itertools

import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.features.packing import pack
from ctr_keras.training.slices import Column, groups_of, slices

LOG = {
    "site": ["b", "a", "b", "", "c", "b", "a", "rare"],
    "device": ["x", "x", "y", "z", "x", "", "y", "z"],
    "age": [10.0, 25.0, 60.0, float("nan"), 30.0, 20.0, 10.0, 90.0],
    "price": [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, float("nan"), 5.0],
    "tags": ["p|q", "q", "", "q|r", "new", "p", "r|q", "q"],
    "click": [0] * 8,
}
DECLARED = FeatureSet(
    Categorical("site", min_count=1, oov_buckets=2),
    Categorical("device", hash_buckets=50),
    Numeric("age", scale="boundaries", boundaries=[18, 30]),
    Numeric("quarter", "age", scale="quantiles", buckets=2),
    Numeric("price"),
    Numeric("share", "price", scale="min_max"),
    Numeric("deviation", "price", scale="z_score"),
    Numeric("log", "price", scale="log_squared"),
    MultiValued("tags", max_length=3),
    Crossed("site", "age"),
    label=Label("click"),
)
FEATURES = DECLARED.fit({name: column[:-1] for name, column in LOG.items()})  # without `rare`


def found(name, at_most=20):
    column = Column.of(FEATURES, name).read(pack(FEATURES, FEATURES.statistics, LOG))
    return {value: rows.tolist() for value, rows in slices(FEATURES, name, column, at_most)}


def test_values_are_those_of_the_log_the_frequent_ones_first():
    assert list(found("site").items()) == [
        ("b", [0, 2, 5]),
        ("a", [1, 6]),
        ("c", [4]),
        ("(unknown)", [7]),
        ("(missing)", [3]),
    ]


def test_values_beyond_the_most_frequent_are_together():
    assert found("site", 1) == {
        "b": [0, 2, 5],
        "(2 others)": [1, 4, 6],
        "(unknown)": [7],
        "(missing)": [3],
    }


def test_hashed_values_have_their_bucket():
    names = list(found("device"))
    assert all(name.startswith("hash bucket ") for name in names[:-1])
    assert names[-1] == "(missing)"
    assert sorted(map(len, found("device").values())) == [1, 2, 2, 3]


def test_buckets_of_numbers_are_in_order_and_have_their_limits():
    assert list(found("age", 1).items()) == [
        ("below 18", [0, 6]),
        ("18 to below 30", [1, 5]),
        ("30 and above", [2, 4, 7]),
        ("(missing)", [3]),
    ]
    middle = FEATURES.statistics.numbers["quarter"][0]
    assert list(found("quarter")) == [f"below {middle:g}", f"{middle:g} and above", "(missing)"]


def test_rows_of_several_values_are_in_several_slices():
    expected = {"q": [0, 1, 3, 6, 7], "p": [0, 5], "r": [3, 6], "new": [4], "(missing)": [2]}
    assert found("tags") == expected
    assert found("tags", 1) == {
        "q": [0, 1, 3, 6, 7],
        "(3 others)": [0, 3, 4, 5, 6],
        "(missing)": [2],
    }


def test_crossed_values_are_pairs():
    values = found("site_x_age")
    assert values["a x 1"] == [1]
    assert values["(missing)"] == [3]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("price", ["1", "2", "3", "4", "5", "(0 or missing)"]),
        ("share", ["1", "2", "3", "4", "5", "(0 or missing)"]),
        ("log", ["log_squared 1", "log_squared 2", "(0 or missing)"]),
    ],
)
def test_numbers_have_slices_of_equally_many_rows_in_their_own_unit(name, values):
    actual = found(name)
    assert list(actual) == values
    assert actual["(0 or missing)"] == [5, 6]
    assert sorted(itertools.chain(*actual.values())) == list(range(8))


def test_numbers_of_many_values_have_five_slices():
    draw = np.random.default_rng(0)
    column = draw.permutation(np.arange(1, 1001)).astype("float32")[:, None]
    by_value = slices(FEATURES, "price", column)
    assert [value for value, _ in by_value] == [
        *("1 to 200", "201 to 400", "401 to 600", "601 to 800", "801 to 1000"),
    ]
    for value, rows in by_value:
        low, high = map(int, value.split(" to "))
        np.testing.assert_array_equal(np.sort(column[rows, 0]), np.arange(low, high + 1))
    mean, deviation = FEATURES.statistics.numbers["deviation"]
    scaled = (column - mean) / deviation
    assert slices(FEATURES, "deviation", scaled.astype("float32"))[0].value == "1 to 200"


def test_a_number_that_is_always_missing_has_one_slice():
    (only,) = slices(FEATURES, "price", np.zeros((3, 1), "float32"))
    assert (only.value, only.rows.tolist()) == ("(0 or missing)", [0, 1, 2])


def test_groups_are_values_that_are_known():
    column = Column.of(FEATURES, "site").read(pack(FEATURES, FEATURES.statistics, LOG))
    groups = groups_of(FEATURES, "site", column)
    assert np.flatnonzero(np.isnan(groups)).tolist() == [3, 7]
    assert len(set(groups[[0, 2, 5]])) == len(set(groups[[1, 6]])) == 1
    assert len(set(groups[~np.isnan(groups)])) == 3


@pytest.mark.parametrize(("name", "kind"), [("price", "numeric"), ("tags", "multi_valued")])
def test_rows_are_grouped_by_one_category(name, kind):
    column = Column.of(FEATURES, name).read(pack(FEATURES, FEATURES.statistics, LOG))
    with pytest.raises(ValueError, match=f"one category each, and '{name}' is a {kind} field"):
        groups_of(FEATURES, name, column)


def test_an_unknown_field_names_the_closest():
    with pytest.raises(ValueError, match="unknown field 'sites'; did you mean 'site'"):
        Column.of(FEATURES, "sites")
