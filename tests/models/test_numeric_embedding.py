"""Models whose numbers are embedded by waves or by buckets, learned or in order."""

import keras
import numpy as np
import pytest

from ctr_keras import load_model
from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers import FieldEmbedding
from ctr_keras.models import MODELS, build_model, check_arguments, model_arguments, transfer
from tests.models.variants import VARIANTS, features_of
from tests.packed import packed_inputs

ONE_EACH = dict(VARIANTS.values())
EMBED = {
    of.family: name for name, of in MODELS.items() if "numeric_embedding" in model_arguments(name)
}


@pytest.mark.parametrize("name", EMBED.values())
def test_a_model_of_each_family_embeds_numbers_so(name):
    model = build_model(name, features_of(name), **ONE_EACH[name], numeric_embedding="periodic")
    embeddings = [of for of in flat_layers(model) if isinstance(of, FieldEmbedding)]
    assert "periodic" in {of.numeric for of in embeddings}
    after = build_model(name, features_of(name), **ONE_EACH[name])
    assert not any(hasattr(of, "numbers") for of in flat_layers(after))


def model_of(features, numeric):
    return build_model("DeepFM", features, dim=4, hidden=[3], numeric_embedding=numeric)


def test_the_table_is_quantized_next_to_numbers_that_are_not():
    features = FeatureSet(
        Categorical("a"), Numeric("n"), label=Label("y"), vocabulary_sizes={"a": 3}
    )
    model = model_of(features, "periodic")
    with pytest.warns(UserWarning, match="Embedding does not have a `quantize`"):
        model.quantize("int8")
    embedding = model.get_layer("embedding")
    assert embedding.quantization_mode == "int8"
    assert {weight.dtype for weight in embedding.numeric_weights} == {"float32"}
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("embedding").quantization_mode == "int8"


def test_numbers_in_buckets_are_embedded_in_their_order(tmp_path):
    features = FeatureSet(
        Categorical("a"),
        Numeric("n", scale="boundaries", boundaries=[1, 2, 5]),
        label=Label("y"),
    ).fit({"a": ["x", "y", "z"], "n": [0.0, 1.0, 7.0]})
    model = model_of(features, "ordered")
    assert model.get_layer("embedding").bucket_steps.buckets == (4,)
    inputs = packed_inputs(features, 16)
    scores = model.predict(inputs, verbose=0)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(inputs, verbose=0), scores)
    grown = transfer(model, features, features)
    np.testing.assert_allclose(grown.predict(inputs, verbose=0), scores, rtol=1e-6)
    with pytest.warns(UserWarning, match="Embedding does not have a `quantize`"):
        model.quantize("int8")
    assert model.get_layer("embedding").quantization_mode == "int8"
    np.testing.assert_allclose(model.predict(inputs, verbose=0), scores, atol=0.01)


def test_a_model_without_numbers_says_so():
    without = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
    with pytest.raises(ValueError, match="DeepFM embeds no numbers here: numeric_embedding=auto"):
        model_of(without, "autodis")
    with pytest.raises(ValueError, match="embeds no numbers in buckets here: numeric_embedding=or"):
        model_of(without, "ordered")
    with pytest.raises(ValueError, match="LR has no argument 'numeric_embedding'"):
        check_arguments("LR", {"numeric_embedding": "periodic"})
    with pytest.raises(
        ValueError, match="must be 'linear', 'periodic', 'autodis' or 'ordered', got 'waves'"
    ):
        check_arguments("FM", {"numeric_embedding": "waves"})
