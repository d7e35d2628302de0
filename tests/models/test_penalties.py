"""Penalties and dropout of every model: a step moves what each is of, and nothing else."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers import FieldEmbedding
from ctr_keras.models import FM, MODELS, build_model, model_arguments
from ctr_keras.optimizers import SparseSGD
from ctr_keras.training import TrainConfig
from tests.models.variants import FEATURES, VARIANTS, each_way, features_of, some_on_jax
from tests.packed import FEW_STEPS, inputs_of, labels_for, packed_inputs

ONE_EACH = dict(reversed(VARIANTS.values()))  # the first variant of each
NONE = {"embedding_l2": 0.0, "linear_l2": 0.0, "net_l2": 0.0, "l2": 0.0, "dropout": 0.0}
LINEAR = {"LR", "Poly2", "GBDTLR"}
EMBEDDING = [name for name in MODELS if name not in LINEAR]
PENALTIES = {"embedding_l2": 0.5, "linear_l2": 0.3, "net_l2": 0.2}

_NO_KERNELS = ("positions", "bias", "log_scale", "angle")  # that have more than one axis
_OF_PRODUCTS = ("inner_", "outer_", "vector_", "scalar_", "part_scaler_", "combination/")


def taken(name, arguments):
    return {key: value for key, value in arguments.items() if key in model_arguments(name)}


def after_a_step(name, **changes):
    """A model, and its weights before and after a step, by path."""
    keras.utils.set_random_seed(0)
    model = build_model(name, features_of(name), **ONE_EACH[name] | taken(name, NONE) | changes)
    before = {weight.path: ops.convert_to_numpy(weight) for weight in model.trainable_weights}
    model.compile(SparseSGD(0.1), "binary_crossentropy", **FEW_STEPS)
    model.train_on_batch(inputs_of(model, packed_inputs(FEATURES, 16)), labels_for(model, 16))
    after = {weight.path: ops.convert_to_numpy(weight) for weight in model.trainable_weights}
    return model, before, after


def penalized(model, argument):
    """The paths of the weights that an argument is of."""
    tables = {
        weight.path
        for layer in flat_layers(model)
        if isinstance(layer, FieldEmbedding)
        for weight in layer.weights
        if "/numbers/" not in weight.path
    }
    of_linear = {path for path in tables if "linear/" in path}
    if argument == "embedding_l2":
        return tables - of_linear
    if argument == "linear_l2":
        return of_linear
    kernels = {
        weight.path
        for weight in model.trainable_weights
        if len(weight.shape) > 1 and not weight.name.startswith(_NO_KERNELS)
    }
    kernels = {path for path in kernels - tables if "/numbers/" not in path}
    return {path for path in kernels if not path.startswith(_OF_PRODUCTS)}


def test_models_take_the_penalties_of_what_they_have():
    shallow = LINEAR | {"FM", "HOFM", "FFM", "GBDTFFM"}
    linear = shallow | {"FwFM", "FmFM", "AFM", "NFM", "DeepFM", "AIM", "WideDeep", "xDeepFM"}
    linear |= {"FiBiNET", "DESTINE", "AutoGroup"}
    for name in MODELS:
        expected = {"linear_l2"} if name in linear else set()
        expected |= set() if name in shallow else {"net_l2"}
        expected |= {"embedding_l2"} if name in EMBEDDING else set()
        assert set(taken(name, PENALTIES)) == expected, name
        assert ("dropout" in model_arguments(name)) == (name in EMBEDDING)
        assert "embeddings_initializer" in model_arguments(name)
    with pytest.raises(ValueError, match="linear_l2 is of the linear logit"):
        FM(FEATURES, linear=False, linear_l2=0.1)


def penalties_of(model):
    """The rate of each weight that has one, by path."""
    rates = {w.path: float(w.regularizer.l2) for w in model.trainable_weights if w.regularizer}
    for layer in flat_layers(model):
        if isinstance(layer, FieldEmbedding) and layer.l2:
            own = [weight for weight in layer.weights if "/numbers/" not in weight.path]
            rates |= {weight.path: layer.l2 for weight in own}
    return rates


@pytest.mark.parametrize("name", some_on_jax(MODELS))
def test_each_penalty_is_of_all_weights_that_it_names_and_no_others(name):
    given = taken(name, PENALTIES)
    arguments = ONE_EACH[name] | taken(name, NONE)
    model = build_model(name, features_of(name), **arguments | given)
    expected = {path: given[key] for key in given for path in penalized(model, key)}
    assert set(expected.values()) == set(given.values())
    assert penalties_of(model) == pytest.approx(expected)
    assert penalties_of(build_model(name, features_of(name), **arguments)) == {}


@pytest.mark.parametrize("name", each_way(MODELS))
def test_each_penalty_decays_the_weights_that_it_is_of(name):
    _, start, without = after_a_step(name)
    given = taken(name, PENALTIES)
    model, before, after = after_a_step(name, **given)
    rates = {path: given[key] for key in given for path in penalized(model, key)}
    assert set(rates.values()) == set(given.values())
    for path, values in before.items():
        np.testing.assert_array_equal(values, start[path], path)
        change = after[path] - without[path]
        decay = -0.1 * 2 * rates.get(path, 0.0) * values
        if path.endswith("/table"):  # of the rows that are read
            assert not change[0].any(), path
            decay[np.abs(change).max(axis=1) < 1e-7] = 0
        np.testing.assert_allclose(change, decay, 1e-3, 1e-6, err_msg=path)
        if path in rates and np.ptp(values) > 0:
            assert np.abs(change).max() > 1e-4, path


@pytest.mark.parametrize("name", each_way(EMBEDDING, on_jax=False))
def test_dropout_is_on_in_training_alone(name):
    inputs = packed_inputs(FEATURES, 16)
    model = build_model(name, features_of(name), **ONE_EACH[name] | {"dropout": 0.5})
    score, again, trained = (
        ops.convert_to_numpy(model(inputs_of(model, inputs), training=training))
        for training in (False, False, True)
    )
    np.testing.assert_array_equal(score, again)
    assert np.abs(score - trained).max() > 0


@pytest.mark.parametrize("name", each_way(EMBEDDING, on_jax=False))
def test_a_number_is_the_spread_of_the_embeddings(name):
    config = TrainConfig.read(None, ["embeddings_initializer=0.3"], data="d", model=name, out="o")
    model = build_model(name, features_of(name), **ONE_EACH[name] | config.model_args)
    spreads = [
        ops.convert_to_numpy(weight).std()
        for layer in model.layers
        if isinstance(layer, FieldEmbedding)
        for weight in layer.weights
        if weight.name == "table"
    ]
    assert spreads
    np.testing.assert_allclose(spreads, 0.3, rtol=0.4)
