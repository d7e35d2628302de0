"""Values of a frame that are no strings are found in a vocabulary of strings, as a CSV file has it;
values that are not found are warned of."""

import warnings

import numpy as np
import pandas as pd
import pytest

from ctr_keras.features import Categorical, Crossed, MultiValued, Sequence
from tests.features.test_packing import features, ids


@pytest.mark.parametrize(
    ("spelled", "values"),
    [
        (["True", "False", "True"], np.array([True, False, True])),
        (["true", "false", ""], [True, False, None]),
        (["TRUE", "FALSE", "FALSE"], [1, 0, 0]),
        (["True", "False", "True"], pd.Series([True, False, True], dtype="boolean")),
        (["1", "0", "1"], np.array([True, False, True])),
        (["1.0", "0.0", ""], pd.Series([True, False, None], dtype=object)),
        (["7.0", "-2.0", ""], np.array([7.0, -2.0, np.nan])),
        (["7.0", "-2.0", ""], np.float32([7, -2, np.nan])),
        (["7.0", "-2.0", ""], pd.Series([7, -2, None], dtype="Int64")),
        (["7", "-2", "7.0"], ["7", -2.0, "7.0"]),
        (["7.0", "-2.0", "none"], [7, -2.0, "none"]),
    ],
)
def test_values_are_found_as_the_vocabulary_spells_them(spelled, values):
    assert ids(Categorical("a"), spelled, values) == ids(Categorical("a"), spelled)


def test_unknown_values_are_spelled_like_known_ones():
    feature = Categorical("a", oov_buckets=100)
    assert ids(feature, ["7.0"], [8, 9]) == ids(feature, ["7.0"], ["8.0", "9.0"])


def test_values_of_hashed_features_keep_their_spelling():
    feature = Categorical("a", hash_buckets=1000)
    assert ids(feature, ["7.0", "True"], [7.0, True]) == ids(feature, ["7", "1"])


def test_most_values_decide_how_a_vocabulary_spells():
    training = ["7.0", "8.0", "9.0", "3"]
    assert ids(Categorical("a"), training, [7]) == ids(Categorical("a"), training, ["7.0"])
    assert ids(Categorical("a"), ["7", "8.0"], [7, 8]) == ids(
        Categorical("a"), ["7", "8.0"], ["7", "8"]
    )


def test_items_histories_and_crosses_are_spelled_by_the_vocabulary_they_are_from():
    fitted = features(
        Categorical("item"),
        Sequence("seen", vocabulary_of="item", max_length=2),
        MultiValued("tags", max_length=2, weight_separator=":"),
        Crossed("item", "tags_too"),
        Categorical("tags_too"),
    )
    log = {"item": ["1.0", "2.0"], "seen": ["2.0 1.0", ""], "tags": ["5.0:2|6.0:1", ""]}
    log |= {"tags_too": ["True", "False"]}
    fitted = fitted.fit(log)
    frame = {"item": [1, 2], "seen": [[2, 1], []], "tags": [{5: 2, 6: 1}, {}]}
    packed, expected = fitted.pack(frame | {"tags_too": [True, False]}), fitted.pack(log)
    for name, array in expected.items():
        np.testing.assert_array_equal(packed[name], array, name)
    assert fitted.grow(frame | {"tags_too": [True, False]}) == fitted


# Warnings.

NEW = ["new", "newer"] * 20


def warned(training, given) -> list[str]:
    fitted = features(Categorical("a")).fit({"a": training})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted.pack({"a": given})
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


def test_values_nearly_all_of_which_are_unknown_are_warned_of():
    assert warned(["01", "02", "03", "04"], [1, 2] * 20) == [
        "column 'a': 100% of the values are unknown, such as '1', '2'; in training there were "
        "'01', '02', '03': spell them alike"
    ]
    assert len(warned(["1", "0"], ["True", "False", ""] * 20)) == 1
    assert "98% of" in warned(["a"], [*NEW, "a"])[0]


@pytest.mark.parametrize(
    ("training", "given"),
    [
        (["a"], NEW[:19]),  # rows of a request
        (["a"], ["new"] * 40),  # all of a new user
        (["a"], [*NEW, "a", "a", "a"]),
        (["a"], [*NEW[:4], *[""] * 100]),
        ([""], NEW),
        (["a"], []),
    ],
)
def test_few_values_that_are_unknown_are_usual(training, given):
    assert not warned(training, given)


def test_lists_are_warned_of_by_their_items():
    fitted = features(MultiValued("tags")).fit({"tags": ["a|b"]})
    with pytest.warns(UserWarning, match="column 'tags': 100% of .* 'x', 'y'; .* 'a', 'b'"):
        fitted.pack({"tags": ["x|y"] * 20})
