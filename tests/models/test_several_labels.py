"""What models of several labels are: to each other, and to what feature sets declare."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import ESMM, PLE, DeepFM, MMoE, SharedBottom, start_at_click_rate
from tests.packed import packed_inputs

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    Categorical("user"),
    Categorical("item"),
    label=[Label("click"), Label("conversion")],
    vocabulary_sizes={"user": 6, "item": 5},
)
INPUTS = packed_inputs(FEATURES, 7)
SMALL = {"dim": 2, "hidden": [4, 3], "task_hidden": [3], "dropout": 0.0}
SMALL |= {"embeddings_initializer": "glorot_uniform"}


def scores(model):
    return keras.ops.convert_to_numpy(model(INPUTS, training=False))


def test_mmoe_of_one_expert_is_a_shared_bottom():
    mixture = MMoE(FEATURES, experts=1, **SMALL)
    plain = SharedBottom(FEATURES, **SMALL)
    gates = mixture.get_layer("experts_0").gates
    weights = [
        w.numpy() if hasattr(w, "numpy") else keras.ops.convert_to_numpy(w)
        for w in mixture.weights
        if not any(w is gate.kernel for gate in gates)
    ]
    plain.set_weights(weights)
    np.testing.assert_allclose(scores(plain), scores(mixture), rtol=1e-5)


def test_one_level_of_shared_experts_alone_is_mmoe():
    progressive = PLE(FEATURES, levels=1, shared_experts=3, task_experts=0, **SMALL)
    mixture = MMoE(FEATURES, experts=3, **SMALL)
    mixture.set_weights(progressive.get_weights())
    np.testing.assert_allclose(scores(mixture), scores(progressive), rtol=1e-5)


def test_a_level_of_a_labels_own_experts_alone_keeps_labels_apart():
    model = PLE(FEATURES, levels=1, shared_experts=1, task_experts=1, **SMALL)
    experts = model.get_layer("experts_0")
    before = scores(model)
    for weight in experts.experts[1].weights:  # of the second label alone
        weight.assign(weight + 1.0)
    np.testing.assert_array_equal(scores(model)[:, 0], before[:, 0])
    assert np.all(scores(model)[:, 1] != before[:, 1])


def test_esmm_multiplies_the_rate_of_clicks_and_that_after_a_click():
    model = ESMM(FEATURES, dim=2, hidden=[3], embeddings_initializer="glorot_uniform")
    logits = keras.Model(model.input, model.get_layer("logit").output)
    rates = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(logits(INPUTS))))
    expected = np.stack([rates[:, 0], rates[:, 0] * rates[:, 1]], axis=1)
    np.testing.assert_allclose(scores(model), expected, rtol=1e-5)


@pytest.mark.parametrize("build", [ESMM, MMoE])
def test_each_label_starts_at_its_rate(build):
    model = build(FEATURES, dim=2, hidden=[3], embeddings_initializer="zeros")
    start_at_click_rate(model, [0.2, 0.05])
    np.testing.assert_allclose(scores(model).mean(axis=0), [0.2, 0.05], rtol=1e-4)


def test_a_model_of_one_label_refuses_several_and_names_those_that_take_them():
    several = (
        r"DeepFM predicts one label, .* has click, conversion: .*SharedBottom, ESMM, MMoE, PLE"
    )
    with pytest.raises(ValueError, match=several):
        DeepFM(FEATURES)
    DeepFM(FEATURES.with_labels(["conversion"]))


def test_a_funnel_needs_two_labels():
    with pytest.raises(ValueError, match="ESMM needs several labels, and the feature set has no"):
        ESMM(FEATURES.with_labels(["click"]))
