"""A search says how far it can be trusted, and what to change where nothing was learned."""

import csv

import numpy as np
import pytest

from ctr_keras.search.closing import Tried
from ctr_keras.search.verdict import Course, of_gates, of_methods, read_courses, read_verdicts

NAMES = ["a x b, inner", "a x c, inner", "b x c, inner"]
FOUND = [Tried(0, 0.69, 0.09, 0.01), Tried(1, 0.6, 0.0, 0.0), Tried(3, 0.61, 0.01, 0.001)]
NOTHING = [Tried(0, 0.69, 0.0, 0.0), Tried(3, 0.69, 0.0, 0.01)]


def verdict(end, is_open, tried=(), halfway=None):
    start = np.full(3, 0.6)
    course = Course(NAMES, np.array([start, halfway or end, end]))
    return of_gates(1, course, np.array(is_open), tried, "Set c=0.1")


def test_what_is_kept_is_said_with_what_it_is_worth():
    said = verdict([0.5, 0.1, 0.1], [True, False, False], FOUND)
    assert list(said.says) == [
        "keeps 1 of 3 gates",
        "validation log loss 0.60000 with them, 0.69000 with none, 0.61000 with all that are open",
    ]
    assert said.facts["kept_halfway"] == 1.0


def test_what_is_worth_most_comes_first_and_without_rows_to_judge_by_the_largest_gate():
    said = verdict([0.5, 0.1, 0.1], [True, True, False], FOUND)
    rows = [("a", 0.5, 0.1), ("b", 0.1, 0.2), ("c", -0.7, None), ("d", 0.6, None)]
    kept = [([field], "inner", gate, effect) for field, gate, effect in rows]
    judged, ranked = (said.with_kept(some).kept for some in (kept[:2], kept[2:]))
    assert [row["fields"] for row in judged] == [["b"], ["a"]]
    assert [row["fields"] for row in ranked] == [["c"], ["d"]]


@pytest.mark.parametrize(
    ("end", "is_open", "tried", "message"),
    [
        ([0.0, 0.0, 0.0], [False] * 3, (), "the threshold closed all gates. Set c=0.1"),
        ([0.6, 0.61, 0.6], [True] * 3, (), "little was learned: gates differ by 0.8%"),
        ([0.5, 0.1, 0.1], [False] * 3, NOTHING, "the plain model may be better"),
        ([0.5, 0.1, 0.1], [True] * 3, (), "nothing was left out: keep=K"),
        (
            [0.5, 0.4, 0.1],
            [True, True, False],
            (),
            "more than half are kept: the plain model may be",
        ),
    ],
)
def test_where_nothing_was_learned_it_says_what_to_change(end, is_open, tried, message):
    assert message in ". ".join(verdict(end, is_open, tried).says)


def test_a_choice_that_changes_late_is_called_unstable():
    said = verdict([0.5, 0.1, 0.1], [True, False, False], FOUND, halfway=[0.1, 0.5, 0.1])
    assert "0% of them were among the 1 largest half way" in said.says[2]


def methods(start, end):
    course = Course(NAMES, np.array([np.ravel(start), np.ravel(end), np.ravel(end)]))
    return of_methods(1, course)


def test_methods_that_are_those_of_the_random_start_are_called_so():
    start = [[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]]
    same = methods(start, np.add(start, 0.001))
    assert "nothing was learned" in same.says[-1]
    assert "gate_learning_rate" in same.says[-1]
    other = methods(start, [[0.1, 0.1, 0.8], [0.9, 0.05, 0.05]])
    assert (other.facts["memorize"], other.facts["naive"], other.facts["as_at_start"]) == (1, 1, 0)
    assert not any("nothing was learned" in line for line in other.says)


def test_a_folder_has_the_verdicts_and_gates_of_all_stages(tmp_path):
    course = Course(NAMES, np.array([[0.6, 0.6, 0.6], [0.5, 0.1, 0.0]]))
    kept = [{"fields": ["a", "b"], "function": "inner", "gate": 0.5, "effect": 0.09}]
    for stage in (1, 2, 2):  # the second is concluded again after a kill
        one = verdict([0.5, 0.1, 0.1], [True, False, False], FOUND)
        type(one)(stage, one.says, one.facts, kept).save(str(tmp_path), course)
    assert [one.stage for one in read_verdicts(str(tmp_path))] == [1, 2]
    courses = read_courses(str(tmp_path))
    assert list(courses) == [1, 2]
    assert courses[2].names == NAMES
    np.testing.assert_array_equal(courses[2].values, course.values)
    with open(tmp_path / "kept.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["fields"], row["effect"]) for row in rows] == [
        ("1", "a x b", "0.09"),
        ("2", "a x b", "0.09"),
    ]
    assert read_verdicts(str(tmp_path / "none")) == []
