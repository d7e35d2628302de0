"""Files of a feature set that hold something else are named."""

import json

import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.features.statistics import load_statistics
from ctr_keras.partitions import prepared_report

FEATURES = FeatureSet(Categorical("a"), Numeric("b", scale="z_score"), label=Label("y"))


@pytest.mark.parametrize("text", ["", "{bad", "[]", "{}", '{"version": 1, "features": 3}'])
def test_a_damaged_feature_set_is_named(tmp_path, text):
    (tmp_path / "features.json").write_text(text)
    with pytest.raises(ValueError, match=r"features\.json holds no feature set: "):
        FeatureSet.load(tmp_path / "features.json")


@pytest.mark.parametrize("text", ["", "[1]", '{"b": 3}'])
def test_damaged_statistics_are_named(tmp_path, text):
    FEATURES.fit({"a": ["x", "y"], "b": [1.0, 2.0]}).save_fitted(tmp_path)
    (tmp_path / "numbers.json").write_text(text)
    with pytest.raises(ValueError, match=r"numbers\.json holds no statistics of numbers: "):
        load_statistics(tmp_path, FEATURES)


def test_a_damaged_report_is_named(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"rows": {}})[:-1])
    with pytest.raises(ValueError, match=r"report\.json is damaged: "):
        prepared_report(str(tmp_path))
