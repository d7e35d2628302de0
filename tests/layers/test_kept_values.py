"""KeptValues: ids of values that are not kept are missing."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.layers import KeptValues, feature_inputs

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    *(Categorical("a"), Categorical("b"), Numeric("n")),
    MultiValued("m", max_length=2, weight_separator=":"),
    label=Label("y"),
    vocabulary_sizes={"a": 3, "b": 2, "m": 2},
)
INPUTS = {
    "categorical": np.array([[2, 6], [3, 7], [0, 5], [4, 6]]),
    "numeric": np.array([[0.5], [0.0], [-1.0], [2.0]], "float32"),
    "m": np.array([[9, 10], [10, 0], [0, 0], [8, 9]]),
    "m_weights": np.array([[0.5, 2], [3, 0], [0, 0], [1, 1]], "float32"),
}
KEPT = {"a": [True, False, True, True], "m": [False, False, True]}


def test_every_id_is_read_if_it_is_kept_and_a_saved_model_reads_the_same(tmp_path):
    layer = KeptValues(FEATURES, name="kept")
    inputs = feature_inputs(FEATURES)
    model = keras.Model(inputs, layer(inputs))
    is_kept = np.random.default_rng(0).integers(0, 2, layer.is_kept.shape)
    layer.is_kept.assign(is_kept)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for read in (model.predict(INPUTS, verbose=0), loaded.predict(INPUTS, verbose=0)):
        for name in ("categorical", "m"):
            expected = [[i if is_kept[i] else 0 for i in row] for row in INPUTS[name]]
            np.testing.assert_array_equal(read[name], expected)
            assert read[name].dtype == "int32"
        for name in ("numeric", "m_weights"):
            np.testing.assert_array_equal(read[name], INPUTS[name])


def test_values_that_are_not_kept_are_missing_and_all_else_passes():
    layer = KeptValues(FEATURES)
    before = layer(INPUTS)
    np.testing.assert_array_equal(before["categorical"], INPUTS["categorical"])
    layer.keep(KEPT)
    found = layer(INPUTS)
    np.testing.assert_array_equal(found["categorical"], [[0, 6], [3, 7], [0, 5], [4, 6]])
    np.testing.assert_array_equal(found["m"], [[0, 10], [10, 0], [0, 0], [0, 0]])
    for name in ("numeric", "m_weights"):
        np.testing.assert_array_equal(found[name], INPUTS[name])
    assert {name: kept.tolist() for name, kept in layer.kept.items()} == {**KEPT, "b": [True] * 3}


def test_an_id_of_no_field_is_refused():
    with pytest.raises(ValueError, match="id 9 of 'b'"):
        KeptValues(FEATURES)({**INPUTS, "categorical": np.array([[2, 9]] * 4)})
