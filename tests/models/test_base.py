"""The class of all models: what Keras does with any model works with it."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.layers import CompactEmbedding, FieldEmbedding, LinearLogit, feature_inputs
from ctr_keras.models.base import CTRModel
from tests.models.variants import FEATURES, build
from tests.packed import FEW_STEPS, JIT, called, inputs_of, labels, packed_inputs

pytestmark = pytest.mark.backend


def test_an_h5_file_loads_without_custom_objects(tmp_path):
    model = build("FM")
    model.compile("adam", "binary_crossentropy", **FEW_STEPS)
    inputs = inputs_of(model, packed_inputs(FEATURES))
    model.fit(inputs, labels(), verbose=0)
    model.save(tmp_path / "model.h5")
    loaded = keras.saving.load_model(tmp_path / "model.h5")
    assert type(loaded) is type(model)
    assert loaded.optimizer.iterations == 1
    np.testing.assert_allclose(loaded(inputs), model(inputs), 1e-6)


def test_an_h5_file_that_would_not_load_is_not_written(tmp_path):
    path = tmp_path / "model.h5"
    with pytest.raises(ValueError, match=r"MIAN has operations .* save it as \.keras"):
        build("MIAN").save(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [("float32", True), ("float32", False), ("mixed_bfloat16", JIT), ("mixed_float16", JIT)],
)
def test_a_number_that_is_not_finite_is_missing(policy, jit_compile):
    features = FeatureSet(
        Categorical("a"), Numeric("b"), label=Label("y"), vocabulary_sizes={"a": 9}
    )
    inputs = feature_inputs(features)
    fields = [
        FieldEmbedding(features, 2, dtype=policy)(inputs),
        CompactEmbedding(features, 2, {"b": [1]}, dtype=policy)(inputs),
        LinearLogit(features, dtype=policy)(inputs),
    ]
    flat = [keras.layers.Flatten()(vectors) for vectors in fields]
    score = keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate(dtype="float32")(flat))
    model = CTRModel(inputs, score)
    missing = packed_inputs(features)
    missing["numeric"][:3, 0] = np.nan, np.inf, -np.inf
    zero = missing | {"numeric": np.nan_to_num(missing["numeric"], posinf=0, neginf=0)}
    np.testing.assert_array_equal(called(model, missing), called(model, zero))
    model.compile("adam", "binary_crossentropy", jit_compile=jit_compile)
    model.fit(missing, labels(), verbose=0)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    assert np.isfinite(model.predict(missing, verbose=0)).all()


def test_a_number_beyond_float16_is_not_missing():
    features = FeatureSet(Numeric("a"), label=Label("y"), vocabulary_sizes={})
    for kind in (FieldEmbedding, LinearLogit):
        arguments = (1,) if kind is FieldEmbedding else ()
        layer = kind(features, *arguments, dtype="mixed_float16")
        assert not np.isfinite(layer({"numeric": np.array([[1e6]], "float32")})).any()


def test_inputs_go_by_name():
    """Keras alone takes them in order: one more before or between them would be taken for them."""
    inputs = {name: keras.Input((2,), name=name) for name in "ce"}
    model = CTRModel(inputs, inputs["c"] - inputs["e"], name="difference")
    values = {"e": np.ones((3, 2)), "c": np.zeros((3, 2))}
    more = {"a": values["e"] + 1, "d": values["e"] + 2, **values}
    np.testing.assert_array_equal(model(more), -1)
    np.testing.assert_array_equal(model.predict(more, verbose=0), -1)
    model.compile("sgd", "mse", jit_compile=JIT)
    assert model.evaluate(more, -np.ones((3, 2)), verbose=0) == 0
    with pytest.raises(ValueError, match='Missing data for input "e"'):
        model({"c": values["c"], "d": values["e"]})
