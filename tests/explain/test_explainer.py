"""Explanations of rows: those that the layers themselves give."""

import keras
import numpy as np
import pytest

from ctr_keras.explain import Explainer, summarize
from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import InteractingLayer
from ctr_keras.models import Calibration, build_model, calibrate
from tests.models import variants
from tests.packed import inputs_of, packed_inputs

ROWS = 11


@pytest.fixture(scope="module")
def inputs():
    return packed_inputs(variants.FEATURES, ROWS)


def explainer_of(model):
    return Explainer(model, variants.FEATURES)


def numpy_of(tensors):
    return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in tensors.items()}


@pytest.mark.backend
@pytest.mark.parametrize("variant", ["AutoInt", "AutoIntPlus"])
def test_attention_is_that_of_the_interacting_layers(variant, inputs):
    model = variants.build(variant)
    explainer = explainer_of(model)
    actual = numpy_of(explainer(inputs))
    fields, expected = model.get_layer("embedding")(inputs_of(model, inputs)), []
    layers = [layer for layer in model.layers if isinstance(layer, InteractingLayer)]
    for layer in layers:
        fields, weights = layer(fields, return_attention_scores=True)
        expected.append(keras.ops.convert_to_numpy(weights))
    assert explainer.attending == [layer.name for layer in layers]
    assert set(actual) == {"score", "attention"}
    np.testing.assert_allclose(actual["attention"], np.stack(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(actual["attention"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("variant", ["MIAN", "MIAN-softmax2"])
def test_attention_is_that_of_the_multi_interactive_layer(variant, inputs):
    model = variants.build(variant)
    explainer = explainer_of(model)
    actual = numpy_of(explainer(inputs))
    layer = model.get_layer("multi_interactive")
    parts = keras.Model(model.input, layer.input)(inputs_of(model, inputs))
    _, expected = layer(*parts, return_attention_scores=True)
    modules = {"behaviors", "user", "context", "global"}
    assert set(actual) == {"score", *(f"attention_{module}" for module in modules)}
    assert set(expected) == modules
    for module, weights in numpy_of(expected).items():
        np.testing.assert_allclose(actual[f"attention_{module}"], weights, atol=1e-6)
    assert actual["attention_global"].shape == (ROWS, len(explainer.names["parts"]))


@pytest.mark.parametrize("variant", ["DIN", "DIEN"])
def test_attention_is_that_of_the_candidate(variant, inputs):
    model = variants.build(variant)
    explainer = explainer_of(model)
    actual = numpy_of(explainer(inputs))
    layer = model.get_layer("target_attention")
    parts = keras.Model(model.input, layer.input)(inputs_of(model, inputs))
    _, expected = numpy_of(dict(enumerate(layer(*parts, return_attention_scores=True)))).values()
    assert set(actual) == {"score", "attention_behaviors"}
    np.testing.assert_allclose(actual["attention_behaviors"], expected, atol=1e-6)
    assert explainer.names["behaviors"] == ("0", "1", "2", "3", "4")
    assert not actual["attention_behaviors"][inputs["history"] == 0].any()


@pytest.mark.parametrize(
    ("modules", "local"),
    [
        (("behaviors", "user", "context", "global"), ("R_ibim", "R_iuim", "R_icim")),
        (("behaviors", "context", "global"), ("R_ibim", "R_icim")),
    ],
)
def test_parts_of_the_global_module_follow_the_local_ones(modules, local):
    model = build_model("MIAN", variants.FEATURES, dim=4, heads=2, modules=modules)
    assert explainer_of(model).names["parts"] == ("e_i", "e_c", "e_b", "e_u", *local)


def test_attention_is_between_the_fields_that_the_model_reads(inputs):
    plain = variants.FEATURES.without_crossed()
    explainer = explainer_of(build_model("AutoInt", variants.FEATURES, dim=4, layers=1))
    assert explainer.names["fields"] == plain.field_names
    fields = len(plain.fields)
    assert explainer(inputs)["attention"].shape == (ROWS, 1, 2, fields, fields)
    crossed = build_model("AutoInt", variants.FEATURES, dim=4, layers=1, crossed=True)
    assert explainer_of(crossed).names["fields"] == variants.FEATURES.field_names


def test_the_model_stays_as_it_is(inputs):
    model = variants.build("AutoInt")
    before = model.predict(inputs_of(model, inputs), verbose=0)
    first, second = (explainer_of(model)(inputs) for _ in range(2))
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)
    assert model.get_layer("interacting_0").input.shape == (None, len(variants.FEATURES.fields), 4)
    np.testing.assert_array_equal(model.predict(inputs_of(model, inputs), verbose=0), before)
    for name, values in numpy_of(first).items():
        np.testing.assert_array_equal(values, numpy_of(second)[name])


@pytest.mark.backend
def test_masks_reach_the_weights():
    names = ["a", "b", "c", "d"]
    features = FeatureSet(
        *map(Categorical, names), label=Label("y"), vocabulary_sizes=dict.fromkeys(names, 1)
    )
    ids = keras.Input((4,), dtype="int32", name="ids")
    fields = keras.layers.Embedding(5, 6, mask_zero=True)(ids)
    output = InteractingLayer(3, 1, name="interacting")(fields)
    explainer = Explainer(keras.Model({"ids": ids}, output), features)
    explained = numpy_of(explainer({"ids": np.array([[1, 0, 2, 0]])}))
    maps = explained["attention"][0, 0]
    assert (maps[0, :, [1, 3]] == 0).all()
    assert (maps[0, :, [0, 2]] > 0).all()


@pytest.mark.backend
def test_summary_is_that_of_all_rows_whatever_the_batches(inputs):
    explainer = explainer_of(variants.build("AutoInt"))
    parts = [
        {name: values[part] for name, values in inputs.items()}
        for part in (slice(0, 4), slice(4, 8), slice(8, ROWS))
    ]
    summaries = summarize(explainer, parts)
    explained = numpy_of(explainer(inputs))
    assert set(summaries) == set(explained)
    for name, values in explained.items():
        assert summaries[name].rows == ROWS
        np.testing.assert_allclose(summaries[name].mean, values.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(summaries[name].deviation, values.std(axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="no rows"):
        summarize(explainer, [])


def test_a_model_without_attention_and_gates_has_a_score_alone(inputs):
    explainer = explainer_of(variants.build("DeepFM"))
    assert explainer.axes == explainer.names == {}
    assert explainer.attending == []
    assert set(explainer(inputs)) == {"score"}


@pytest.mark.backend
def test_terms_of_a_calibrated_model_are_of_its_logit(inputs):
    model = variants.build("AutoDeepFM")
    terms = numpy_of(explainer_of(model)(inputs))["gated_terms"]
    calibrated = numpy_of(explainer_of(calibrate(model, Calibration(0.5, -1.0)))(inputs))
    np.testing.assert_allclose(calibrated["gated_terms"], 0.5 * terms, 1e-6)
