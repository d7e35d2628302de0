"""What a run says of its rows, by what was counted of them."""

import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label
from pipeline.report import summarize, warnings_of_validation

FEATURES = FeatureSet(Categorical("site"), label=Label("click"), vocabulary_sizes={"site": 2})


def report_of(rows: dict[str, int], clicks: dict[str, int]) -> dict:
    written = {f"written: {split}": count for split, count in rows.items()}
    clicked = {f"clicks: {split}": count for split, count in clicks.items()}
    return summarize({"read": sum(rows.values()), **written, **clicked}, FEATURES)


@pytest.mark.parametrize(("clicks", "which"), [(0, "without"), (1, None), (3, None), (4, "with")])
def test_a_split_of_one_class_is_warned_of(clicks, which):
    rows = {"train": 6, "validation": 4, "test": 0}
    warnings = report_of(rows, {"train": 3, "validation": clicks})["warnings"]
    expected = [f"all 4 rows of the validation split are {which} a click"] if which else []
    assert warnings == expected


@pytest.mark.parametrize(
    ("train", "validation", "is_warned"), [(6, 0, True), (6, 1, False), (0, 0, False)]
)
def test_training_rows_without_validation_rows_are_warned_of(train, validation, is_warned):
    rows = report_of({"train": train, "validation": validation, "test": 1}, {})["rows"]
    assert bool(warnings_of_validation(rows)) == is_warned


def test_a_vocabulary_without_values_is_warned_of():
    features = FeatureSet(
        Categorical("rare", min_count=10**5),
        Categorical("new"),
        Categorical("hashed", hash_buckets=5),
        Categorical("missing"),
        Crossed("new", "rare", min_count=3),
        label=Label("click"),
        vocabulary_sizes={"rare": 0, "new": 0, "missing": 0, "new_x_rare": 0},
    )
    counts = {"read": 9, "written: train": 9, "written: validation": 0, "written: test": 0}
    warnings = summarize(counts | {"clicks: train": 1, "missing: missing": 9}, features)["warnings"]
    assert warnings == [
        "feature 'missing' is missing in every row",
        "no value of 'rare' occurs 100000 times in the training rows: all are unknown",
        "no value of 'new' occurs even once in the training rows: all are unknown",
        "no value of 'new_x_rare' occurs 3 times in the training rows: all are unknown",
    ]
