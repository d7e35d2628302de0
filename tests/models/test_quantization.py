"""Quantized models: scores, memory, what loads and exports them again, and what is refused."""

import functools
import inspect
import json
import os

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import FieldEmbedding
from ctr_keras.models import DeepFM, build_model
from ctr_keras.optimizers import SparseAdam
from tests.models.variants import (
    FEATURES,
    INT8_TOLERANCES,
    VARIANTS,
    build,
    each_way,
    features_of,
    some_on_jax,
)
from tests.packed import FEW_STEPS, JIT, called, inputs_of, labels, packed_inputs

HAS_CONFIGS = hasattr(keras.quantizers, "Int8QuantizationConfig")  # not in Keras 3.12
WIDTHS = {
    "dim": 16,
    "cross_dim": 16,
    "head_dim": 8,
    "hidden": [64, 32],
    "pair_hidden": [16, 8],
    "block_units": 32,
}
ROWS = 128
# Of those that share their layers, one is enough to load again.
SOME = ("DeepFM", "AIM", "AutoInt", "AutoIntPlus", "OptInter-mixture", "MIAN")
NARROW = ("LR", "Poly2", "GBDTLR")  # all of whose weights are of width 1


pytestmark = [
    pytest.mark.filterwarnings(
        r"ignore:Layer \w+ does not have a `quantize`", "ignore:.* stays float32"
    ),
    pytest.mark.xdist_group("quantized models"),  # which several tests share
]


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def trained(variant):
    """A model of a variant, wide enough that errors average out, after three steps; inputs."""
    name, arguments = VARIANTS[variant]
    wider = {key: WIDTHS.get(key, value) for key, value in arguments.items()}
    model = build_model(name, features_of(name), **wider)
    inputs = packed_inputs(FEATURES, 3 * ROWS)
    rate = np.where(inputs["categorical"][:, :1] % 2, 0.6, 0.3)  # by user
    clicks = (np.random.default_rng(0).random(rate.shape) < rate).astype("float32")
    clicks = np.repeat(clicks, model.output_shape[-1], axis=1)
    inputs = inputs_of(model, inputs)
    optimizer = keras.optimizers.Adam(0.005)
    model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
    for start in range(0, 3 * ROWS, ROWS):
        batch = slice(start, start + ROWS)
        model.train_on_batch({key: values[batch] for key, values in inputs.items()}, clicks[batch])
    return model, {key: values[: 2 * ROWS] for key, values in inputs.items()}


@functools.cache
def quantized(variant):
    """A trained model after `quantize("int8")`, inputs, and its scores of them before."""
    keras.utils.set_random_seed(0)
    model, inputs = trained(variant)
    before = called(model, inputs)
    model.quantize("int8")
    return model, inputs, before


def layers_in(model):
    return {id(layer): layer for layer in model._flatten_layers()}.values()


def modes(model):
    """Name and quantization of each layer with a table of vectors or a kernel of dense layers."""
    kinds = (FieldEmbedding, keras.layers.Dense, keras.layers.EinsumDense)
    found = [layer for layer in layers_in(model) if isinstance(layer, kinds)]
    found = [layer for layer in found if getattr(layer, "dim", 2) > 1]
    return sorted((layer.name, layer.quantization_mode or "") for layer in found)


def loaded(model, folder, **options):
    path = os.path.join(folder, "model.keras")
    model.save(path)
    return keras.saving.load_model(path, **options)


# Each layer is quantized by itself in tests/layers.
@pytest.mark.parametrize(
    "variant", each_way([v for v in VARIANTS if v not in NARROW], {*SOME, *INT8_TOLERANCES})
)
def test_scores_are_those_of_float_within_a_hundredth(variant):
    model, inputs, before = quantized(variant)
    assert {mode for _, mode in modes(model)} == {"int8"}
    after = called(model, inputs)
    # Keras 3.12 rounds what goes into dense layers, too.
    tolerance = INT8_TOLERANCES.get(variant, 0.01 if HAS_CONFIGS else 0.03)
    np.testing.assert_allclose(after, before, 0, tolerance)
    assert (after != before).any()


@pytest.mark.parametrize("variant", NARROW)
def test_models_of_weights_of_width_one_stay_as_they_are(variant):
    model, inputs, before = quantized(variant)
    assert not any(layer.quantization_mode for layer in layers_in(model))
    np.testing.assert_array_equal(called(model, inputs), before)


@pytest.mark.parametrize("variant", some_on_jax(SOME))
def test_quantized_models_load_again(variant, tmp_path):
    model, inputs, _ = quantized(variant)
    again = loaded(model, tmp_path, compile=False)
    assert modes(again) == modes(model)
    np.testing.assert_allclose(called(again, inputs), called(model, inputs), 1e-6)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())


@pytest.mark.backend
def test_copies_by_config_take_the_weights(tmp_path):
    model, inputs, _ = quantized("AutoIntPlus")
    model.save_weights(tmp_path / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    for copy in (clone, again):
        np.testing.assert_allclose(called(copy, inputs), called(model, inputs), 1e-6)


@pytest.mark.backend
@pytest.mark.parametrize("numeric", ["linear", "autodis"])
def test_what_was_predicted_before_is_predicted_anew(numeric):
    model = build_model("FM", FEATURES, dim=8, numeric_embedding=numeric, embeddings_initializer=1)
    inputs = packed_inputs(FEATURES, ROWS)
    model.predict(inputs, verbose=0)
    model.quantize("int8")
    np.testing.assert_allclose(model.predict(inputs, verbose=0), to_numpy(model(inputs)), rtol=1e-5)


@pytest.mark.backend
def test_a_model_quantized_after_fit_loads_compiled(tmp_path):
    model = DeepFM(FEATURES, dim=4, hidden=[8])
    inputs = inputs_of(model, packed_inputs(FEATURES))
    model.compile(SparseAdam(), "binary_crossentropy", **FEW_STEPS)
    model.train_on_batch(inputs, labels())
    model.quantize("int8")
    again = loaded(model, tmp_path)
    np.testing.assert_allclose(called(again, inputs), called(model, inputs), 1e-6)


def test_a_table_takes_a_quarter_and_a_scale_a_row(tmp_path):
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 20000})
    model = build_model("FNN", features, dim=32, hidden=[16])

    def sizes():
        model.save(tmp_path / "model.keras")
        values = [to_numpy(weight) for weight in model.weights]
        return np.array([sum(v.nbytes for v in values), os.path.getsize(tmp_path / "model.keras")])

    before = sizes()
    model.quantize("int8")
    np.testing.assert_allclose(sizes() / before, (32 + 4) / (4 * 32), atol=0.02)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels are TensorFlow's")
@pytest.mark.parametrize("variant", ["AutoIntPlus", "MIAN"])
def test_exported_models_score_alike(variant, tmp_path):
    import tensorflow as tf

    model, inputs, _ = quantized(variant)
    model.export(tmp_path / "exported", verbose=False)
    artifact = tf.saved_model.load(tmp_path / "exported")
    served = artifact.serve({name: tf.constant(values) for name, values in inputs.items()})
    np.testing.assert_allclose(served, called(model, inputs), 1e-5)


@pytest.mark.backend
def test_an_int8_table_refuses_to_be_trained_unless_it_is_frozen():
    keras.utils.set_random_seed(0)
    model = build("FNN")
    inputs = inputs_of(model, packed_inputs(FEATURES))
    model.quantize("int8")
    model.compile("sgd", "binary_crossentropy", jit_compile=JIT)
    with pytest.raises(
        ValueError, match=r"^the int8 table of 'embedding' cannot be trained: train"
    ):
        model.fit(inputs, labels(), verbose=0)
    table = model.get_layer("embedding")
    table.trainable = False
    model.compile("sgd", "binary_crossentropy", jit_compile=JIT)
    frozen, bias = table.get_weights(), to_numpy(model.get_layer("logit").bias)
    model.fit(inputs, labels(), verbose=0)
    for old, new in zip(frozen, table.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (to_numpy(model.get_layer("logit").bias) != bias).any()


@pytest.mark.backend
@pytest.mark.parametrize("mode", ["int4", "float8"])
def test_in_other_modes_tables_stay_and_the_rest_loads_again(mode, tmp_path):
    keras.utils.set_random_seed(0)
    model = build("AutoIntPlus")
    inputs = inputs_of(model, packed_inputs(FEATURES))
    before = called(model, inputs)
    with pytest.warns(UserWarning, match=f"only, not by {mode}, and stays float32"):
        model.quantize(mode)
    assert model.get_layer("embedding").quantization_mode is None
    assert model.get_layer("interacting_0").query.quantization_mode == mode
    np.testing.assert_allclose(called(model, inputs), before, 0, 0.1)
    again = loaded(model, tmp_path)
    np.testing.assert_allclose(called(again, inputs), called(model, inputs), 1e-6)


def test_modes_that_calibrate_are_refused_before_anything_changes():
    model = build("AutoIntPlus")
    config = keras.quantizers.GPTQConfig(dataset=["a"], tokenizer=str.split)
    with pytest.raises(
        ValueError, match="of 'embedding' can be quantized to int8 only, not by gptq"
    ):
        model.quantize("gptq", config=config)
    assert {mode for _, mode in modes(model)} == {""}


@pytest.mark.backend
@pytest.mark.skipif(
    "filters" not in inspect.signature(keras.Model.quantize).parameters, reason="new"
)
def test_filters_choose_what_is_quantized(tmp_path):
    model = build("AutoInt")
    inputs = inputs_of(model, packed_inputs(FEATURES))
    model.quantize("int8", filters=["embedding", "query"])
    assert {name for name, mode in modes(model) if mode} == {"embedding", "query"}
    again = loaded(model, tmp_path)
    assert modes(again) == modes(model)
    np.testing.assert_allclose(called(again, inputs), called(model, inputs), 1e-6)


def test_a_layer_is_quantized_alone_and_once(tmp_path):
    model = build("AutoInt")
    inputs = inputs_of(model, packed_inputs(FEATURES))
    before = called(model, inputs)
    for layer in (model.get_layer("embedding"), model.get_layer("interacting_1").value):
        layer.quantize("int8")
        with pytest.raises(ValueError, match="already quantized"):
            layer.quantize("int8")
    assert {name for name, mode in modes(model) if mode} == {"embedding", "value"}
    np.testing.assert_allclose(called(model, inputs), before, 0, 0.02)
    np.testing.assert_allclose(called(loaded(model, tmp_path), inputs), called(model, inputs), 1e-6)


@pytest.mark.skipif(not HAS_CONFIGS, reason="Keras 3.12 always rounds what goes into dense layers")
def test_what_goes_into_dense_layers_is_rounded_where_it_is_asked_for(tmp_path):
    by_default, as_keras = build("FNN"), build("FNN")
    by_default.quantize("int8")
    quantizer = keras.quantizers.AbsMaxQuantizer(axis=-1)
    as_keras.quantize(
        config=keras.quantizers.Int8QuantizationConfig(activation_quantizer=quantizer)
    )
    for model in (by_default, loaded(by_default, tmp_path)):
        assert model.get_layer("deep").blocks[0].inputs_quantizer is None
    for model in (as_keras, loaded(as_keras, tmp_path)):
        assert model.get_layer("deep").blocks[0].inputs_quantizer is not None


@pytest.mark.backend
def test_half_precision():
    policy = keras.config.dtype_policy()
    for name in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(name)
        try:
            model = build("DeepFM")
        finally:
            keras.config.set_dtype_policy(policy)
        inputs = inputs_of(model, packed_inputs(FEATURES))
        before = called(model, inputs)
        if name == "mixed_float16":
            with pytest.raises(ValueError, match=r"int8.*doesn't work well with"):
                model.quantize("int8")
            continue
        model.quantize("int8")
        np.testing.assert_allclose(called(model, inputs), before, 0, 0.02)
