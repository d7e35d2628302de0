"""Grown vocabularies: what was known keeps its place, and rows of any version become those of the
newest."""

import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet
from ctr_keras.features.growth import id_moves, is_grown_from
from tests.features.test_packing import EVERYTHING, FRAME, features

MONDAY = EVERYTHING.fit(FRAME)
NEW_ROWS = {
    "user": ["w", "w", "v", "u", "x"],
    "city": ["a", "b", "c", "d", "a"],
    "age": [10.0, 90.0, 30.0, 1.0, 2.0],
    "price": [1.0, 30.0, 2.0, 4.0, 5.0],
    "height": [1.0, 3.0, 9.0, 2.0, 2.0],
    "tags": ["z|y", "q", "z", "", "x"],
    "history": ["w w", "x x x", "u", "", "v"],
    "time": ["2024-02-29 13:05", "2024-03-01 17:00", "", "x", "2024-03-01 17:00"],
}
TUESDAY = MONDAY.grow(NEW_ROWS)


def test_known_values_keep_their_places_and_new_ones_follow_by_frequency():
    assert MONDAY.statistics.values["user"] == ["u"]
    assert TUESDAY.statistics.values["user"] == ("u", "w")  # v and x are below min_count
    assert TUESDAY.statistics.values["tags"] == ("y", "x", "z", "q")
    assert TUESDAY.statistics.values["hour"] == ("13", "7", "17")
    known = MONDAY.statistics.values["user_x_city"]
    grown = TUESDAY.statistics.values["user_x_city"]
    assert grown[: len(known)] == tuple(known)
    assert {"w\x1fa", "w\x1fb"} <= set(grown[len(known) :])
    assert TUESDAY.id_ranges["city"].stop - TUESDAY.id_ranges["city"].start == 10


def test_each_growth_is_a_version_and_rows_without_new_values_are_none():
    assert (MONDAY.vocabulary_version, TUESDAY.vocabulary_version) == (1, 2)
    assert TUESDAY.grow(NEW_ROWS) == TUESDAY
    assert FeatureSet.from_dict(TUESDAY.to_dict()) == TUESDAY
    assert MONDAY != TUESDAY
    wednesday = TUESDAY.grow(NEW_ROWS | {"user": list("zzzzz")})
    assert wednesday.vocabulary_version == 3
    assert wednesday.without_crossed().vocabulary_version == 3


def test_numbers_stay_as_they_were_learned():
    assert TUESDAY.statistics.numbers == MONDAY.statistics.numbers
    np.testing.assert_array_equal(TUESDAY.pack(FRAME)["numeric"], MONDAY.pack(FRAME)["numeric"])


def test_packed_rows_of_an_earlier_version_are_moved_to_the_ids_of_a_later_one():
    """All values of these rows were known, or are still unknown."""
    wednesday = TUESDAY.grow(NEW_ROWS | {"user": ["u", "u", "y", "y", ""]})
    rows = FRAME | {"user": ["u", "u", "?", ""], "history": ["", "u", "? u u u", "?"]}
    rows |= {"tags": ["x|y", "", "y", "y||x"]}
    for later in (MONDAY, TUESDAY, wednesday):
        expected = later.pack(rows)
        for name, move in id_moves(MONDAY, later).items():
            ids = MONDAY.pack(rows)[name]
            np.testing.assert_array_equal(np.where(ids == 0, 0, ids + move), expected[name], name)
    assert any(move.any() for move in id_moves(MONDAY, TUESDAY).values())


def test_versions_of_one_line_are_told_from_others():
    assert is_grown_from(MONDAY, MONDAY)
    assert is_grown_from(MONDAY, TUESDAY)
    assert not is_grown_from(TUESDAY, MONDAY)
    other = MONDAY.grow(NEW_ROWS | {"user": ["w", "w", "y", "y", ""]})
    assert not is_grown_from(TUESDAY, other)
    moved = EVERYTHING.fit(FRAME | {"price": [1.0, 4.0, 2.0, 0.0]})
    assert not is_grown_from(MONDAY, moved)
    assert not is_grown_from(features(Categorical("user")).fit(FRAME), MONDAY)


def test_a_set_that_is_not_fitted_cannot_grow():
    with pytest.raises(ValueError, match="not fitted"):
        EVERYTHING.grow(NEW_ROWS)
