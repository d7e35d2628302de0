"""Attention weights out of models: those that the layers themselves give."""

import keras
import numpy as np
import pytest

from ctr_keras.explain import attention_model, global_parts, summarize_attention
from ctr_keras.layers import InteractingLayer
from tests.models import variants
from tests.packed import inputs_of, packed_inputs

ROWS = 11


@pytest.fixture(scope="module")
def inputs():
    return packed_inputs(variants.FEATURES, ROWS)


def numpy_of(tensors):
    return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("variant", ["AutoInt", "AutoIntPlus"])
def test_weights_are_those_of_the_interacting_layers(variant, inputs):
    model = variants.build(variant)
    inputs = inputs_of(model, inputs)
    fields, expected = model.get_layer("embedding")(inputs), {}
    layers = [layer for layer in model.layers if isinstance(layer, InteractingLayer)]
    for layer in layers:
        fields, expected[layer.name] = layer(fields, return_attention_scores=True)
    actual = numpy_of(attention_model(model)(inputs))
    assert set(actual) == set(expected) == {layer.name for layer in layers}
    for name, weights in numpy_of(expected).items():
        np.testing.assert_allclose(actual[name], weights, atol=1e-6)
        np.testing.assert_allclose(actual[name].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("variant", ["MIAN", "MIAN-softmax2"])
def test_weights_are_those_of_the_multi_interactive_layer(variant, inputs):
    model = variants.build(variant)
    inputs = inputs_of(model, inputs)
    layer = model.get_layer("multi_interactive")
    parts = keras.Model(model.input, layer.input)(inputs)
    _, expected = layer(*parts, return_attention_scores=True)
    actual = numpy_of(attention_model(model)(inputs))
    assert set(actual) == {"behaviors", "user", "context", "global"}
    for name, weights in numpy_of(expected).items():
        np.testing.assert_allclose(actual[name], weights, atol=1e-6)
    assert actual["global"].shape == (ROWS, len(global_parts(layer)))


def test_parts_of_the_global_module_follow_the_local_ones():
    layer = variants.build("MIAN").get_layer("multi_interactive")
    assert global_parts(layer) == ["e_i", "e_c", "e_b", "e_u", "R_ibim", "R_iuim", "R_icim"]
    layer.user = False
    assert global_parts(layer) == ["e_i", "e_c", "e_b", "e_u", "R_ibim", "R_icim"]


def test_the_model_stays_as_it_is(inputs):
    model = variants.build("AutoInt")
    before = model.predict(inputs_of(model, inputs), verbose=0)
    first, second = attention_model(model), attention_model(model)
    assert model.get_layer("interacting_0").input.shape == (None, len(variants.FEATURES.fields), 4)
    np.testing.assert_array_equal(model.predict(inputs_of(model, inputs), verbose=0), before)
    for weights, others in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, others)


def test_masks_reach_the_weights():
    ids = keras.Input((4,), dtype="int32", name="ids")
    fields = keras.layers.Embedding(5, 6, mask_zero=True)(ids)
    output = InteractingLayer(3, 1, name="interacting")(fields)
    weights = attention_model(keras.Model({"ids": ids}, output))
    maps = weights.predict_on_batch({"ids": np.array([[1, 0, 2, 0]])})["interacting"]
    assert (maps[0, 0, :, [1, 3]] == 0).all()
    assert (maps[0, 0, :, [0, 2]] > 0).all()


def test_summary_is_that_of_all_rows_whatever_the_batches(inputs):
    attention = attention_model(variants.build("AutoInt"))
    inputs = inputs_of(attention, inputs)
    parts = [
        {name: values[part] for name, values in inputs.items()}
        for part in (slice(0, 4), slice(4, 8), slice(8, ROWS))
    ]
    summaries = summarize_attention(attention, parts)
    for name, weights in numpy_of(attention(inputs)).items():
        assert summaries[name].rows == ROWS
        np.testing.assert_allclose(summaries[name].mean, weights.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(summaries[name].deviation, weights.std(axis=0), atol=1e-5)
    with pytest.raises(ValueError, match="no rows"):
        summarize_attention(attention, [])


def test_a_model_without_attention_is_named():
    with pytest.raises(ValueError, match="DeepFM has no attention weights"):
        attention_model(variants.build("DeepFM"))
