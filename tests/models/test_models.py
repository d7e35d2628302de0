"""What holds of every model: saving, precision, XLA, resuming by name, and both backends alike."""

import functools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ctr_keras import models
from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued
from ctr_keras.keras_internals import flat_layers
from ctr_keras.listing import FAMILIES
from ctr_keras.models import MODELS, build_model, model_arguments
from ctr_keras.training import PRESETS, TrainConfig, find_preset
from tests import JAX_SETTINGS
from tests.conftest import ROOT
from tests.models.variants import (
    FEATURES,
    VARIANTS,
    build,
    each_way,
    features_of,
    some_on_jax,
)
from tests.packed import FEW_STEPS, called, inputs_of, labels_for, packed_inputs
from tests.parameters import first_of


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def batch_for(model, rows=8):
    return inputs_of(model, packed_inputs(FEATURES, rows))


shared = functools.cache(build)  # of tests that leave a model as it is


def test_every_model_has_a_variant():
    assert {model for model, _ in VARIANTS.values()} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_described(name):
    entry = MODELS[name]
    assert entry.build is getattr(models, name)
    assert entry.build.__name__ == name
    assert entry.summary
    assert entry.family in FAMILIES
    assert "Section" in entry.reference or name in ("AutoFeature", "SharedBottom")
    assert "features" not in model_arguments(name)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].needs])
def test_a_feature_set_that_lacks_what_a_model_needs_is_refused(name):
    lacking = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    with pytest.raises(ValueError, match=rf"^{name} needs .*") as refusal:
        MODELS[name].build(lacking)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_layer_is_called_as_a_list_may_be(variant):
    layers = shared(variant).layers
    names = (layer.name for layer in layers if not isinstance(layer, keras.layers.InputLayer))
    for name in names:
        with pytest.raises(ValueError, match="is called as a layer of models"):
            FeatureSet(MultiValued(name), label=Label("y"))


@pytest.mark.parametrize("variant", some_on_jax(VARIANTS))
def test_scores_are_probabilities_of_the_logit(variant):
    model = shared(variant)
    assert model.name == VARIANTS[variant][0]
    assert model.layers[-1].name == "score"
    assert model.output_shape == (None, len(features_of(model.name).tasks))
    both = keras.Model(model.input, [model.layers[-1].input, model.output])
    logit, score = called(both, batch_for(model))
    assert logit.dtype == "float32"
    chance = 1 / (1 + np.exp(-logit))
    expected = np.cumprod(chance, axis=1) if variant == "ESMM" else chance  # steps of a funnel
    np.testing.assert_allclose(score, expected, 1e-5)
    assert np.unique(score).size > 1


# That each variant is saved is seen below, where JAX loads it.
@pytest.mark.parametrize("variant", each_way(VARIANTS))
def test_saved_model_loads_equal(variant, tmp_path):
    model = shared(variant)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = batch_for(model)
    np.testing.assert_allclose(called(loaded, inputs), called(model, inputs), 1e-6)
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())  # tuples are lists


def random_weights(model):
    """By path, the weights that are not constant, as one row."""
    weights = {weight.path: to_numpy(weight).ravel() for weight in model.trainable_weights}
    return {path: values for path, values in weights.items() if np.ptp(values) > 0}


@pytest.mark.parametrize("variant", each_way(VARIANTS))
def test_weights_are_drawn_each_of_its_own_and_again_for_the_next_model(variant):
    first = random_weights(shared(variant))
    keras.utils.set_random_seed(1)
    other_seed = random_weights(build(variant))
    for path, values in first.items():
        assert (other_seed[path] != values).any(), path
    starts = {path: (values[:2] / np.abs(values[0])).tobytes() for path, values in first.items()}
    assert len(set(starts.values())) == len(starts), "two weights hold the same numbers"


@pytest.mark.parametrize("variant", each_way(VARIANTS))
def test_weights_are_drawn_by_the_seed(variant):
    first, again = ({}, {})
    for weights in (first, again):
        keras.utils.set_random_seed(1)
        weights |= random_weights(build(variant))
    for path, values in first.items():
        np.testing.assert_array_equal(again[path], values, path)


@pytest.mark.parametrize("variant", each_way(VARIANTS))
def test_mixed_precision_scores_in_float32(variant):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(variant)
    finally:
        keras.config.set_dtype_policy(policy)
    score = called(model, batch_for(model))
    assert score.dtype == "float32"
    assert np.isfinite(score).all()
    weights = {keras.backend.standardize_dtype(w.dtype) for w in model.trainable_weights}
    assert weights == {"float32"}
    halves = [layer for layer in model.layers if layer.compute_dtype == "bfloat16"]
    assert len(halves) > 2


@pytest.mark.parametrize("variant", some_on_jax(VARIANTS))
def test_every_layer_learns(variant):
    keras.utils.set_random_seed(0)
    model = build(variant)
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", **FEW_STEPS)
    before = {weight.path: to_numpy(weight) for weight in model.trainable_weights}
    for _ in range(2):  # weights behind one of zero learn after it
        model.train_on_batch(batch_for(model, 64), labels_for(model, 64))
    for layer in model.layers:
        weights = layer.trainable_weights
        moved = [weight for weight in weights if (to_numpy(weight) != before[weight.path]).any()]
        assert moved or not weights, f"{layer.name} does not learn"


# Loads on JAX the models that TensorFlow has saved, repeats what it did, and compares.
ON_JAX = """
import json, os, sys
import keras, numpy as np, pytest
import ctr_keras.models
from tests.draws import make_weights_by_numpy

make_weights_by_numpy(pytest.MonkeyPatch())  # of which all are read from files
folder = sys.argv[1]
for variant in json.loads(sys.argv[2]):
    case = np.load(os.path.join(folder, variant + ".npz"))
    model = keras.saving.load_model(os.path.join(folder, variant + ".keras"))
    inputs = {tensor.name: case[tensor.name] for tensor in model.inputs}
    score = model.predict_on_batch(inputs)
    np.testing.assert_allclose(score, case["score"], 1e-5, 1e-5, err_msg=variant)
    if "weight_0" not in case:
        continue
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    model.train_on_batch(inputs, case["labels"])
    for index, weight in enumerate(model.weights):
        expected = case[f"weight_{index}"]
        np.testing.assert_allclose(
            np.array(weight), expected, 1e-5, 1e-5, err_msg=f"{variant}: {weight.path}"
        )
print(keras.backend.backend(), "agrees")
"""


_MODELS_COMPARED = 6  # unless all are


def kinds_of_layers(model):
    return {type(layer) for layer in flat_layers(model)}


def after_a_step(model):
    """The weights, by their place."""
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", run_eagerly=True)
    model.train_on_batch(batch_for(model), labels_for(model))
    return {f"weight_{i}": to_numpy(weight) for i, weight in enumerate(model.weights)}


def with_every_layer():
    """Variants that together have every kind of layer, those with most kinds first."""
    seen = set()
    for variant in sorted(VARIANTS, key=lambda variant: -len(kinds_of_layers(shared(variant)))):
        if kinds_of_layers(shared(variant)) - seen:
            seen |= kinds_of_layers(shared(variant))
            yield variant


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="the run on TensorFlow compares both")
@pytest.mark.parametrize("every_model", first_of([False, True]))
def test_both_backends_agree_on_scores_and_on_a_training_step(every_model, tmp_path):
    """The step is that of models which together have every layer: its gradient is the layers'.

    Each layer is compared with a reference on both backends by its own tests.
    """
    keras.utils.set_random_seed(0)
    stepped = [*with_every_layer()] if every_model else [*with_every_layer()][:_MODELS_COMPARED]
    variants = list(VARIANTS) if every_model else stepped
    for variant in variants:
        model = shared(variant)
        inputs = batch_for(model)
        model.save(tmp_path / f"{variant}.keras")
        case = {"score": to_numpy(model(inputs)), "labels": labels_for(model), **inputs}
        if variant in stepped:
            case |= after_a_step(keras.saving.load_model(tmp_path / f"{variant}.keras"))
        np.savez(tmp_path / f"{variant}.npz", **case)
    result = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path), json.dumps(variants)],
        env=os.environ | {"KERAS_BACKEND": "jax"} | JAX_SETTINGS,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == "jax agrees\n"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("AutoInt2", {}, "unknown model 'AutoInt2'; did you mean 'AutoInt'"),
        ("XYZ", {}, "unknown model 'XYZ'; available: .*AutoInt, .*FM, DeepFM"),
        ("AutoInt", {"depth": 3}, "AutoInt has no argument 'depth'; available: dim, layers"),
    ],
)
def test_bad_requests_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, FEATURES, **arguments)


def test_models_whose_papers_print_settings_have_presets():
    printed = {"LR", "FM", "DeepFM", "IPNN", "FNN", "AutoInt", "AutoIntPlus", "AIM", "MIAN"}
    assert printed | {"OptInter", "OptInterM", "OptInterF"} <= set(PRESETS) <= set(MODELS)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_that_the_model_takes(name):
    assert PRESETS[name]
    for preset in PRESETS[name]:
        config = TrainConfig.read(None, [f"preset={preset}"], data="d", model=name, out="o")
        for key, value in find_preset(name, preset).items():
            taken = config.model_args[key] if key in config.model_args else getattr(config, key)
            assert taken == value


def test_presets_name_the_papers_figures():
    deepfm = find_preset("DeepFM", "avazu")
    assert (deepfm["dim"], deepfm["hidden"], deepfm["batch_size"]) == (40, [700] * 5, 2000)
    assert find_preset("OptInter", "avazu")["cross_dim"] == 4
    assert find_preset("AutoInt", "movielens-1m")["attention_dropout"] == 0.4
    assert find_preset("MIAN", "books")["l2"] == 1e-3
    # Half of OptInter's weight decay, and half of the numbers of FuxiCTR in BARS.
    assert find_preset("FNN", "ipinyou")["net_l2"] == 1e-6 / 2
    assert find_preset("DeepFM", "ipinyou")["embedding_l2"] == 1e-7 / 2
    assert find_preset("DeepFM", "bars-frappe")["linear_l2"] == 0.05 / 2
    assert find_preset("FM", "bars-criteo")["embedding_l2"] == 1e-5 / 2
    names = "default, criteo, avazu"
    with pytest.raises(ValueError, match=f"FM has no preset 'ml'; available: {names}"):
        find_preset("FM", "ml")


def test_presets_evaluate_and_decay_as_the_authors_do():
    of_parts = {("AutoInt", "criteo"): (8, 4), ("AutoIntPlus", "kdd12"): (8, 4)}
    of_parts |= {("FM", "criteo"): (5, 5), ("DeepFM", "avazu"): (5, 5), ("AIM", "avazu"): (5, 5)}
    for (name, data), expected in of_parts.items():
        preset = find_preset(name, data)
        assert (preset["evaluations_per_epoch"], preset["patience"]) == expected
    decays = {("DeepFM", "avazu"): 0.7, ("AIM", "criteo"): 0.75, ("AIM", "avazu"): 0.75}
    for name, presets in PRESETS.items():
        for data, preset in presets.items():
            assert preset.get("learning_rate_decay") == decays.get((name, data)), (name, data)
            if data.startswith("bars-"):
                clipped = (preset["schedule"], preset["monitor"], preset["max_gradient_norm"])
                assert clipped == ("plateau", "auc", 10)


def test_presets_of_ipinyou_have_optinters_rows():
    ipinyou = find_preset("FM", "ipinyou")
    assert (ipinyou["embedding_l2"], ipinyou["epsilon"]) == (1e-9 / 2, 1e-6)
    optinter = find_preset("OptInter", "ipinyou")
    assert (optinter["epsilon"], optinter["embedding_l2"]) == (1e-4, 1e-6 / 2)
    assert optinter["cross_l2"] == 3e-8 / 2
    for name, tables in (("OptInterM", ["memorized"]), ("OptInterF", ["factors"])):
        assert find_preset(name, "ipinyou")["table_learning_rates"] == dict.fromkeys(tables, 1e-6)
    searched = find_preset("optinter", "ipinyou")
    assert searched["table_learning_rates"] == optinter["table_learning_rates"]
    assert (searched["keep"], searched["gate_learning_rate"], searched["dim"]) == (None, 1e-3, 20)
    autofis = find_preset("autofis", "ipinyou")
    assert (autofis["mu"], autofis["c"], autofis["embedding_l2"]) == (0.535, 5e-3, 1e-6 / 2)


def test_what_is_set_overrides_a_preset():
    config = TrainConfig.read(
        None, ["preset=criteo", "dim=8", "epochs=7"], data="d", model="OptInter", out="o"
    )
    assert (config.model_args["dim"], config.model_args["cross_dim"], config.epochs) == (8, 10, 7)
    assert TrainConfig.read(None, [], **config.to_dict()).to_dict() == config.to_dict()
