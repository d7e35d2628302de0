"""`explain`: attention maps and gated terms beside the score, with names."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ctr_keras.data import read_samples
from ctr_keras.explain import Explainer
from ctr_keras.features import FeatureSet
from ctr_keras.layers import GatedInteraction
from ctr_keras.models import FM, MIAN, AutoInt
from ctr_keras.plan import Interaction, InteractionPlan
from serving.export import ExportOptions, export_model
from serving.export.columns import raw_arrays
from tests.serving.click_log import scrambled

ROWS = 7
PLAN = InteractionPlan([Interaction(("user", "item")), Interaction(("user", "age", "price"))])


@pytest.fixture(scope="module")
def features(clicks):
    return FeatureSet.load(clicks / "features.json")


@pytest.fixture(scope="module")
def samples(clicks, features):
    return read_samples(str(clicks), features)


@pytest.fixture(scope="module")
def exported(clicks, features, tmp_path_factory):
    """A function: a model to its version's folder."""

    def export(model):
        out = tmp_path_factory.mktemp("models") / "ctr"
        return export_model(model, features, str(clicks), str(out), ExportOptions(force=True))

    return export


@pytest.fixture(scope="module")
def explained(features, samples):
    """A function: a version's `explain` answer for the samples."""

    def explain(version):
        loaded = tf.saved_model.load(str(version))
        columns = raw_arrays(features, samples.rows[:ROWS])
        tensors = {name: tf.constant(values) for name, values in columns.items()}
        answer = {k: v.numpy() for k, v in loaded.signatures["explain"](**tensors).items()}
        score = loaded.signatures["serving_default"](**tensors)["score"].numpy()
        np.testing.assert_allclose(answer["score"], score, atol=1e-6)
        return answer

    return explain


def inputs_of(model, samples):
    return {tensor.name: samples.inputs[tensor.name][:ROWS] for tensor in model.inputs}


def names(outputs):
    return [name.decode() for name in outputs[0]]


def test_attention_of_autoint(autoint, explained, features, samples):
    model = autoint.model
    answer = explained(autoint.version)
    fields = len(features.field_names)
    assert answer["attention"].shape == (ROWS, 2, 2, fields, fields)
    np.testing.assert_allclose(answer["attention"].sum(axis=-1), 1, atol=1e-5)
    expected = Explainer(model, features)(inputs_of(model, samples))
    np.testing.assert_allclose(answer["attention"], expected["attention"], atol=1e-6)
    assert answer["fields"].shape == (ROWS, fields)
    assert names(answer["fields"]) == list(features.field_names)


def test_gated_terms_add_up_to_the_logit(exported, explained, features, samples):
    model = scrambled(FM(features, dim=4, interactions=PLAN, crossed=True))
    answer = explained(exported(model))
    assert answer["gated_terms"].shape == (ROWS, 2)
    assert names(answer["interactions"]) == ["inner(user*item)", "inner(user*age*price)"]
    linear = model.get_layer("linear")(inputs_of(model, samples)).numpy()[:, 0]
    logit = np.log(answer["score"] / (1 - answer["score"]))
    np.testing.assert_allclose(linear + answer["gated_terms"].sum(axis=1), logit, atol=1e-4)
    gated = [layer for layer in model.layers if isinstance(layer, GatedInteraction)]
    assert all(np.ptp(answer["gated_terms"][:, i]) > 0 for i in range(len(gated)))


def test_weights_of_mians_modules(exported, explained, features, samples):
    model = scrambled(MIAN(features, dim=4, heads=2))
    answer = explained(exported(model))
    expected = Explainer(model, features)(inputs_of(model, samples))
    for name in (f"attention_{module}" for module in ("behaviors", "user", "context", "global")):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-6)
    assert names(answer["user_fields"]) == ["user", "age"]
    assert names(answer["context_fields"]) == ["device"]
    assert names(answer["parts"])[0] == "e_i"


def test_metadata_hold_the_names_along_the_axes(autoint, features):
    proto = (autoint.version / "saved_model.pb").read_bytes()
    saved_model = saved_model_pb2.SavedModel.FromString(proto)
    outputs = saved_model.meta_graphs[0].signature_def["explain"].outputs
    dims = outputs["attention"].tensor_shape.dim
    fields = ",".join(features.field_names)
    assert [dim.name for dim in dims] == ["", "", "", fields, fields]


def test_the_model_and_its_size_stay_as_they_were(exported, features):
    model = AutoInt(features, dim=4, layers=1, head_dim=4)
    version = exported(model)
    stored = {
        tuple(shape)
        for name, shape in tf.train.list_variables(f"{version}/variables/variables")
        if name.startswith("variables_of_model")
    }
    assert stored == {tuple(weight.shape) for weight in model.weights}
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


def test_models_with_neither_have_no_such_signature(exported, features):
    version = exported(FM(features, dim=4))
    assert set(tf.saved_model.load(version).signatures) == {
        "serving_default",
        "rank",
        "serialized_examples",
        "transform_features",
    }


@pytest.mark.filterwarnings(r"ignore:Layer \w+ does not have a `quantize`")
def test_a_quantized_model_that_was_loaded_exports_with_its_attention(
    exported, explained, features, samples, tmp_path, monkeypatch
):
    # Keras collects garbage with each weight that it drops: all that other tests have left.
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    model = scrambled(AutoInt(features, dim=4, layers=2, head_dim=4, heads=2))
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    answer = explained(exported(model))
    inputs = inputs_of(model, samples)
    np.testing.assert_allclose(answer["score"], model.predict(inputs, verbose=0)[:, 0], atol=1e-6)
    expected = Explainer(model, features)(inputs)
    np.testing.assert_allclose(answer["attention"], expected["attention"], atol=1e-6)
