"""Arguments that all builders take: `check_ids`, and numbers of NumPy."""

import json

import keras
import numpy as np
import pytest

from ctr_keras.layers import MLP, InteractingLayer
from ctr_keras.models import MODELS, build_model, check_arguments, model_arguments
from tests.models.variants import FEATURES, VARIANTS, each_way, features_of
from tests.packed import inputs_of, packed_inputs

ONE_EACH = dict(VARIANTS.values())  # the last variant of each


def compiled(model):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(model)
    import tensorflow as tf

    return tf.function(model)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="looks into a compiled graph")
@pytest.mark.parametrize("name", each_way(MODELS))
def test_check_ids_marks_the_rows_of_wrong_ids_in_compiled_code(name):
    assert model_arguments(name)["check_ids"] is False
    model = build_model(name, features_of(name), **ONE_EACH[name], check_ids=True)
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    inputs = inputs_of(model, packed_inputs(FEATURES))
    wrong = {key: values.copy() for key, values in inputs.items()}
    lists = [key for key in inputs if key in FEATURES.id_inputs]
    for row, key in enumerate(lists):
        wrong[key][row, 0] = -1 if row % 2 else FEATURES.id_ranges["genres"].stop + 4
    program = compiled(again)
    score = np.array(program(wrong))
    assert np.isnan(score[: len(lists)]).all()
    assert np.isfinite(score[len(lists) :]).all()
    assert np.isfinite(np.array(program(inputs))).all()


def as_numpy(value):
    if isinstance(value, bool | str) or value is None or not np.isscalar(value):
        return [as_numpy(one) for one in value] if isinstance(value, list | tuple) else value
    return np.float32(value) if isinstance(value, float) else np.int64(value)


@pytest.mark.parametrize("name", each_way(MODELS, on_jax=False))
def test_builders_take_numbers_of_numpy(name):
    arguments = {key: as_numpy(value) for key, value in model_arguments(name).items()}
    arguments |= {key: as_numpy(value) for key, value in ONE_EACH[name].items()}
    check_arguments(name, arguments)
    model = build_model(name, features_of(name), **arguments)
    json.dumps(model.get_config())
    expected = build_model(name, features_of(name), **ONE_EACH[name])
    assert [w.shape for w in model.weights] == [w.shape for w in expected.weights]


@pytest.mark.backend
def test_layers_take_numbers_of_numpy():
    layer = MLP([*np.array([3, 2])], dropout=np.float32(0.5))
    assert type(layer.dropout) is float
    assert json.loads(json.dumps(layer.get_config()))["units"] == [3, 2]
    fields = np.ones((2, 3, 4), "float32")
    assert InteractingLayer(np.int64(4), heads=np.int32(2))(fields).shape == (2, 3, 8)
