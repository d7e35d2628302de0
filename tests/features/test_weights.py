"""Weights of values: how they are spelled, packed, and what is refused."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, feature_from_dict
from ctr_keras.features.growth import id_moves

TAGS = MultiValued("tags", max_length=3, weight_separator=":")


def feature_set(*features):
    return FeatureSet(*features, label=Label("click"))


def test_values_are_packed_with_their_weights():
    log = {"tags": ["b:0.5|a:2", "a", "", "a:1e-3|:4|b:|12:30:0.25", "a:0|a:1|a:2|b:3"]}
    features = feature_set(TAGS).fit(log)
    assert features.statistics.values == {"tags": ["a", "b", "12:30"]}
    packed = features.pack(log)
    assert packed["tags"].tolist() == [[3, 2, 0], [2, 0, 0], [0, 0, 0], [2, 3, 4], [2, 2, 2]]
    expected = [[0.5, 2, 0], [1, 0, 0], [0, 0, 0], [1e-3, 1, 0.25], [0, 1, 2]]
    np.testing.assert_array_equal(packed["tags_weights"], np.float32(expected))
    assert {n: a.dtype.name for n, a in packed.items()} == features.packed_types
    assert {n: a.shape[1:] for n, a in packed.items()} == features.packed_shapes


def test_dicts_and_maps_are_values_with_weights():
    dicts = [{"a": 0.5, "b": np.float32(0.1)}, {"b": None, 7: 2}, {}, None, ["a", "b:3"], "a:4"]
    features = feature_set(TAGS).fit({"tags": dicts})
    spelled = ["a:0.5|b:0.1", "b|7:2", "", "", "a|b:3", "a:4"]
    expected = features.pack({"tags": spelled})
    pairs = [[*dicts[0].items()], [("b", None), ("7", 2)], []]
    maps = pa.array(pairs, pa.map_(pa.string(), pa.float32()))
    for column, rows in ((dicts, 6), (pd.Series(dicts), 6), (maps, 3)):
        for name, values in features.pack({"tags": column}).items():
            np.testing.assert_array_equal(values, expected[name][:rows])
    with pytest.raises(ValueError, match=r"row 0: 'a:nan' has the weight 'nan', which is"):
        features.pack({"tags": [{"a": np.nan}]})
    with pytest.raises(ValueError, match=r"row 0: \{'a': 1\} is a dict, not a string"):
        feature_set(MultiValued("tags")).fit({"tags": [{"a": 1}]})
    for torn in ({"a|b": 1}, ["c", "a|b"]):
        with pytest.raises(ValueError, match=r"has an item that holds the separator '\|'"):
            features.pack({"tags": [torn]})


@pytest.mark.parametrize("weight", ["-1", "-0", "nan", "inf", "1e39", "x", " 1", "0,5", "1_0", "٣"])
@pytest.mark.parametrize("method", ["fit", "pack", "grow"])
def test_another_weight_is_refused_with_its_row(method, weight):
    log = {"tags": ["a:1", f"b:2|a:{weight}"]}
    of = feature_set(TAGS)
    of = of if method == "fit" else of.fit({"tags": ["a:1"]})
    message = f"has the weight {weight!r}, which is not a finite number of at least 0"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        getattr(of, method)(log)
    assert str(refused.value) == f"column 'tags', row 1: {log['tags'][1]!r} {message}"


def test_what_is_not_clear_is_refused():
    for separator, weight_separator in (("|", "|"), ("|", "||"), (", ", ",")):
        with pytest.raises(ValueError, match="separator and weight_separator must differ"):
            MultiValued("tags", separator=separator, weight_separator=weight_separator)
    for weight_separator in ("-", ".", "e", "x1"):
        with pytest.raises(ValueError, match=r"'tags': weight_separator .* may stand in a number"):
            MultiValued("tags", weight_separator=weight_separator)
    message = r"'tags_weights' is what the weights of 'tags' are called: give it another name"
    with pytest.raises(ValueError, match=message):
        feature_set(TAGS, Categorical("tags_weights"))
    with pytest.raises(ValueError, match=message):
        FeatureSet(TAGS, label=Label("click", weight="tags_weights"))
    declared = {"kind": "multi_valued", "name": "tags", "weight_seperator": ":"}
    with pytest.raises(ValueError, match="did you mean 'weight_separator'"):
        feature_from_dict(declared)


def test_weights_have_no_ids_and_no_vocabulary(tmp_path):
    monday = feature_set(TAGS).fit({"tags": ["a:1", "b:2"]})
    tuesday = monday.grow({"tags": ["c:5"]})
    assert tuesday.statistics.values["tags"] == ("a", "b", "c")
    assert [*id_moves(monday, tuesday)] == [*monday.id_inputs] == ["tags"]
    assert monday.id_count == 4
    monday.save_fitted(tmp_path)
    assert FeatureSet.load_fitted(tmp_path) == monday
