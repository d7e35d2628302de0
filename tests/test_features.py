"""ctr_keras.features: declarations, their contradictions, ids, and features.json."""

import numpy as np
import pytest

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
    feature_from_dict,
)


def example() -> FeatureSet:
    return FeatureSet(
        Categorical("user_id", min_count=2, group="user"),
        Numeric("price", scale="log_squared", group="item"),
        Crossed("user_id", "item_id", min_count=20),
        Categorical("item_id", oov_buckets=3, group="item"),
        Categorical("city", hash_buckets=100),
        Numeric("year", scale="boundaries", boundaries=[1990, 2000]),
        MultiValued("genres", max_length=4),
        Sequence("history", vocabulary_of="item_id", max_length=5),
        Categorical("weekday", column="hour", time_part="weekday"),
        label=Label("click"),
    )


SIZES = {"user_id": 10, "item_id": 20, "genres": 6, "weekday": 7, "user_id_x_item_id": 50}


def test_derived_views():
    features = example()
    assert [f.name for f in features.categorical] == [
        "user_id",
        "item_id",
        "city",
        "year",
        "weekday",
    ]
    assert features.field_names == (
        "user_id",
        "item_id",
        "city",
        "year",
        "weekday",
        "price",
        "genres",
        "user_id_x_item_id",
    )
    assert features.packed_shapes == {
        "categorical": (5,),
        "numeric": (1,),
        "crossed": (1,),
        "genres": (4,),
        "history": (5,),
    }
    assert features.raw_columns == {
        "user_id": "string",
        "price": "float",
        "item_id": "string",
        "city": "string",
        "year": "float",
        "genres": "string",
        "history": "string",
        "hour": "string",
    }


def test_id_ranges_follow_declaration_with_crosses_last():
    features = example().with_vocabulary_sizes(SIZES)
    assert features.id_ranges == {
        "user_id": range(1, 12),
        "item_id": range(12, 35),  # 3 OOV ids and 20 values
        "city": range(35, 135),
        "year": range(135, 138),
        "genres": range(138, 145),
        "weekday": range(145, 153),
        "user_id_x_item_id": range(153, 204),
    }
    assert features.id_count == 204
    assert features.vocabulary_name(features["history"]) == "item_id"


def test_ids_need_sizes():
    with pytest.raises(ValueError, match=r"vocabulary sizes .* not known"):
        _ = example().id_count
    with pytest.raises(ValueError, match="exactly the counted vocabularies"):
        example().with_vocabulary_sizes({"user_id": 3})


def test_file_round_trip(tmp_path):
    features = example().with_vocabulary_sizes(SIZES)
    features.save(tmp_path / "features.json")
    loaded = FeatureSet.load(tmp_path / "features.json")
    assert loaded == features
    assert loaded["year"].boundaries == (1990.0, 2000.0)
    assert loaded != example()


def test_other_format_version_is_refused():
    with pytest.raises(ValueError, match="format version 99"):
        FeatureSet.from_dict(example().to_dict() | {"version": 99})


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "at least one feature"),
        ([Categorical("a"), Categorical("a")], "'a' is declared twice"),
        ([Categorical("click")], "'click' is declared twice"),
        ([Categorical("a", column="click")], "label's column 'click' is also a feature's"),
        ([Categorical("a"), Label("b")], r"labels go to label=\[...\]"),
        ([Categorical("a"), Crossed("a", "b")], "a_x_b.*unknown feature 'b'"),
        ([Categorical("a"), Numeric("b"), Crossed("a", "b")], "a_x_b.*'b' must be Categorical"),
        ([Sequence("s", vocabulary_of="item")], "'s': vocabulary_of: unknown feature 'item'"),
        ([Numeric("n"), Sequence("s", vocabulary_of="n")], "'n' has no vocabulary"),
        ([Numeric("a", column="c"), Categorical("b", column="c")], "'c' is read both"),
        (
            [MultiValued("score")],
            "'score' is called as a layer of models is: give it another name, and `column: score`",
        ),
        ([Sequence("inner_2", column="s")], "'inner_2' is called .* `column: s`"),
    ],
)
def test_contradictory_sets_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        FeatureSet(*features, label=Label("click"))


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Categorical("a b"), "letters, digits"),
        (lambda: Categorical("numeric"), "reserved"),
        (lambda: Categorical("a", group="users"), "'a': group must be 'item', 'user'"),
        (lambda: Categorical("a", min_count=0), "'a': min_count must be at least 1, got 0"),
        (lambda: Categorical("a", hash_buckets=3, min_count=2), "hash_buckets takes neither"),
        (lambda: Sequence("s", vocabulary_of="a", min_count=2), "declare min_count"),
        (
            lambda: Categorical("a", time_part="year"),
            "time_part must be 'day', 'hour'",
        ),
        (lambda: Numeric("n", scale="log"), "'n': scale must be 'identity', "),
        (lambda: Numeric("n", buckets=3), "go together"),
        (lambda: Numeric("n", scale="quantiles"), "go together"),
        (lambda: Numeric("n", scale="boundaries", boundaries=[2, 1]), "must rise"),
        (lambda: MultiValued("m", separator=""), "separator must be a non-empty string"),
        (lambda: Crossed("a", "a"), "'a' twice"),
        (
            lambda: feature_from_dict({"kind": "image", "name": "a"}),
            "unknown kind 'image'; available",
        ),
        (
            lambda: feature_from_dict({"kind": "numeric", "name": "a", "log": 1}),
            "unknown setting 'log'; available: ",
        ),
        (lambda: feature_from_dict({"kind": "numeric"}), "name is not given"),
    ],
)
def test_wrong_declarations_are_refused(declare, message):
    with pytest.raises(ValueError, match=message):
        declare()


def test_missing_group_is_named():
    assert [f.name for f in example().group("item")] == ["price", "item_id"]
    with pytest.raises(ValueError, match="group='context'"):
        example().group("context")


def test_without_crossed_features_all_others_keep_their_ids_and_what_was_learned():
    log = {"a": ["x", "y", "x"], "b": ["u", "u", "v"], "price": [1, 2, 4], "c": ["r", "s", "r"]}
    features = FeatureSet(
        Categorical("a"),
        Crossed("a", "b"),
        Categorical("b", oov_buckets=2),
        Numeric("price", scale="z_score"),
        Crossed("b", "c", hash_buckets=10),
        Categorical("c"),
        label=Label("y"),
    )
    assert features.without_crossed().vocabulary_sizes is None
    fitted = features.fit(log)
    plain = fitted.without_crossed()
    assert plain.without_crossed() is plain
    assert plain.features == tuple(f for f in fitted.features if f.kind != "crossed")
    assert plain.id_ranges.items() <= fitted.id_ranges.items()
    assert plain.id_count < fitted.id_count
    packed, whole = plain.pack(log), fitted.pack(log)
    assert packed.keys() | {"crossed"} == whole.keys()
    for name, values in packed.items():
        np.testing.assert_array_equal(values, whole[name])
    assert plain == FeatureSet(*plain.features, label=plain.label).fit(log)


def test_crossing_all_pairs_keeps_what_is_crossed_already():
    features = FeatureSet(
        Categorical("a"),
        Categorical("b"),
        Numeric("c", scale="quantiles", buckets=4),
        Numeric("d"),
        Crossed("b", "a", min_count=7),
        label=Label("y"),
    ).with_crossed_pairs(min_count=3)
    assert [(f.name, f.min_count) for f in features.crossed] == [
        ("b_x_a", 7),
        ("a_x_c", 3),
        ("b_x_c", 3),
    ]
