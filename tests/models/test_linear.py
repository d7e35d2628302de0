"""LR and FFM: what they compute, and that LR learns what logistic regression learns."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.models import FFM, LR
from tests.models.variants import FEATURES
from tests.packed import inputs_of, packed_inputs

pytestmark = pytest.mark.backend


def test_lr_is_the_weights_of_the_values_and_a_bias():
    features = FeatureSet(
        *(Categorical("a"), Numeric("n")), label=Label("y"), vocabulary_sizes={"a": 2}
    )
    model = LR(features)
    inputs = {"categorical": np.array([[0], [2], [3]]), "numeric": np.array([[1.0], [0.0], [2.0]])}
    np.testing.assert_array_equal(model(inputs), np.full((3, 1), 0.5))  # all weights are 0
    linear = model.get_layer("linear")
    linear.weighting.table.assign([[9.0], [9.0], [0.5], [-1.0]])
    linear.weighting.numeric_vectors.assign([[0.25]])
    linear.bias.assign([0.1])
    logits = np.array([[0.1 + 0.25], [0.1 + 0.5], [0.1 - 1.0 + 0.5]])
    np.testing.assert_allclose(model(inputs), 1 / (1 + np.exp(-logits)), 1e-6)


def test_lr_learns_the_click_rates_of_values():
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    ids = np.repeat([2, 3], 100)[:, None]
    clicks = np.concatenate([np.arange(100) < 20, np.arange(100) < 70]).astype("float32")[:, None]
    model = LR(features)
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    model.fit({"categorical": ids}, clicks, batch_size=200, epochs=60, verbose=0)
    scores = keras.ops.convert_to_numpy(model({"categorical": np.array([[2], [3]])}))
    np.testing.assert_allclose(scores, [[0.2], [0.7]], atol=0.01)


def test_lr_has_a_penalty_of_its_weights():
    assert LR(FEATURES, linear_l2=0.01).get_layer("linear").l2 == 0.01


def test_ffm_has_a_vector_for_each_other_field():
    model = FFM(FEATURES, dim=3, crossed=True)
    fields = len(FEATURES.fields)
    assert model.get_layer("embedding").dim == 3 * (fields - 1)
    batch = inputs_of(model, packed_inputs(FEATURES))
    linear, pairs = (
        keras.Model(model.input, model.get_layer(name).output)(batch)
        for name in ("linear", "interactions")
    )
    logits = keras.ops.convert_to_numpy(linear + pairs)
    np.testing.assert_allclose(model(batch), 1 / (1 + np.exp(-logits)), 1e-5)


def test_ffm_refuses_what_it_cannot_do():
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    with pytest.raises(ValueError, match="FFM needs two fields"):
        FFM(features)
    with pytest.raises(ValueError, match="linear_l2 is of the linear logit"):
        FFM(FEATURES, linear=False, linear_l2=0.1)
