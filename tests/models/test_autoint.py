"""AutoInt and AutoInt+: sizes, identities, learning."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric, Sequence
from ctr_keras.metrics import auc
from ctr_keras.models import AutoInt, AutoIntPlus, build_model
from tests.packed import JIT, packed_inputs


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def feature_set(categorical, numeric=0, size=2):
    names = [f"c{i}" for i in range(categorical)]
    return FeatureSet(
        *(Categorical(name) for name in names),
        *(Numeric(f"n{i}") for i in range(numeric)),
        label=Label("click"),
        vocabulary_sizes=dict.fromkeys(names, size),
    )


CRITEO = feature_set(26, 13)
SMALL = FeatureSet(
    Categorical("user"),
    Numeric("price"),
    MultiValued("genres", max_length=2),
    Sequence("history", vocabulary_of="user", max_length=3),
    label=Label("click"),
    vocabulary_sizes={"user": 3, "genres": 2},
)


def packed(features, rows=8, seed=0):
    sequences = {feature.name for feature in features.sequences}
    inputs = packed_inputs(features, rows, seed)
    return {name: values for name, values in inputs.items() if name not in sequences}


def dense_parameters(model):
    """Parameters without embeddings, those of numeric fields being embeddings, too."""
    return model.count_params() - model.get_layer("embedding").count_params()


@pytest.mark.parametrize(
    ("fields", "paper", "official"),
    [
        ((26, 13), 39_361, 40_513),  # Criteo
        ((23, 0), 38_337, 39_489),  # Avazu
        ((10, 3), 37_697, 38_849),  # KDD12
        ((6, 1), 37_313, 38_465),  # MovieLens-1M
    ],
)
def test_parameter_counts_of_table_3(fields, paper, official):
    features = feature_set(*fields)
    assert dense_parameters(AutoInt(features)) == paper
    assert dense_parameters(AutoInt(features, variant="official")) == official


@pytest.mark.parametrize(
    ("fields", "tower"),
    [((26, 13), 410_801), ((23, 0), 308_401), ((10, 3), 244_401), ((6, 1), 206_001)],
)
def test_parameter_count_of_the_deep_tower(fields, tower):
    features = feature_set(*fields)
    both = dense_parameters(AutoIntPlus(features, hidden=[400, 400], normalization=None))
    assert both - dense_parameters(AutoInt(features)) == tower


def test_embeddings_are_counted_apart():
    embedding = AutoInt(CRITEO, dim=8).get_layer("embedding")
    assert embedding.count_params() == (CRITEO.id_count + 13) * 8


@pytest.mark.parametrize("builder", [AutoInt, AutoIntPlus])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_output_is_a_probability_of_the_logit(builder, variant):
    model = builder(SMALL, dim=4, layers=2, head_dim=3, variant=variant)
    logits = keras.Model(model.input, [model.get_layer("logit").output, model.output])
    logit, score = (to_numpy(output) for output in logits(packed(SMALL)))
    assert score.shape == (8, 1)
    assert model.layers[-1].name == "score"
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-logit)), 1e-5)
    assert np.unique(score).size > 1


def test_sequences_are_no_inputs():
    assert sorted(tensor.name for tensor in AutoInt(SMALL).inputs) == [
        "categorical",
        "genres",
        "numeric",
    ]


def test_field_order_matters_to_the_model():
    # An interacting layer is equivariant; flattening and the last layer are not.
    features = feature_set(3, size=4)
    model = AutoInt(features, dim=4, layers=1, variant="official")
    after_embedding = keras.Model(model.get_layer("embedding").output, model.output)
    vectors = np.random.default_rng(0).normal(size=(8, 3, 4)).astype("float32")
    straight, turned = (to_numpy(after_embedding(x)) for x in (vectors, vectors[:, ::-1].copy()))
    assert (np.abs(straight - turned) > 1e-6).any()


def test_no_layers_is_logistic_regression_on_embeddings():
    model = AutoInt(SMALL, dim=4, layers=0)
    inputs = packed(SMALL)
    table, vectors = (to_numpy(w) for w in model.get_layer("embedding").weights)
    table = table * (np.arange(len(table)) > 0)[:, None]
    kernel, bias = (to_numpy(w) for w in model.get_layer("logit").weights)
    genres = table[inputs["genres"]].sum(1) / np.maximum((inputs["genres"] > 0).sum(1), 1)[:, None]
    fields = [table[inputs["categorical"][:, 0]], inputs["numeric"] * vectors[0], genres]
    expected = 1 / (1 + np.exp(-(np.concatenate(fields, axis=1) @ kernel + bias)))
    np.testing.assert_allclose(model(inputs), expected, 1e-5)


def test_the_plus_adds_the_deep_logit_on_the_same_table():
    model = AutoIntPlus(SMALL, dim=4, layers=1, head_dim=3, hidden=[5])
    alone = AutoInt(SMALL, dim=4, layers=1, head_dim=3)
    for name in ("embedding", "interacting_0"):
        alone.get_layer(name).set_weights(model.get_layer(name).get_weights())
    alone.get_layer("logit").set_weights(model.get_layer("attention_logit").get_weights())
    parts = keras.Model(model.input, [model.get_layer(n).output for n in ("logit", "deep_logit")])
    logit, deep = (to_numpy(output) for output in parts(packed(SMALL)))
    attention = keras.Model(alone.input, alone.get_layer("logit").output)(packed(SMALL))
    np.testing.assert_allclose(logit - to_numpy(attention), deep, rtol=1e-4, atol=1e-6)
    assert np.abs(deep).max() > 0
    tables = [layer for layer in model.layers if type(layer).__name__ == "FieldEmbedding"]
    assert len(tables) == 1


@pytest.mark.backend
def test_official_initializers():
    keras.utils.set_random_seed(3)
    authors = {"variant": "official", "hidden": [400, 400], "normalization": None}
    draws = [AutoIntPlus(CRITEO, **authors) for _ in range(10)]

    def values(layer, index):
        weights = [model.get_layer(layer).weights[index] for model in draws]
        return np.concatenate([to_numpy(weight).ravel() for weight in weights])

    assert abs(values("embedding", 0).std() / 0.01 - 1) < 0.05
    assert abs(values("attention_logit", 0).std() / np.sqrt(2 / 2497) - 1) < 0.05
    assert abs(values("deep", 0).std() / np.sqrt(2 / (39 * 16 + 400)) - 1) < 0.01
    assert abs(values("deep", 3).std() / np.sqrt(2 / 800) - 1) < 0.1  # biases are drawn, too
    assert 0.3 < values("attention_logit", 1).std() < 2.0
    assert values("deep_logit", 1).std() > 0.3


def test_the_residual_is_what_the_ablation_leaves_out():
    without = AutoInt(CRITEO, residual="none")
    assert dense_parameters(without) == 39_361 - (16 * 64 + 2 * 64 * 64)
    inputs = packed(CRITEO)
    for layer in without.layers:
        if layer.name.startswith("interacting"):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    attended = keras.Model(without.input, without.get_layer("interacting_2").output)
    assert not to_numpy(attended(inputs)).any()  # with a residual of the input it would not be 0
    plus = AutoIntPlus(SMALL, dim=8, layers=2, head_dim=4, residual="identity")
    kinds = [plus.get_layer(f"interacting_{index}").residual for index in range(2)]
    assert kinds == ["identity", "identity"]


@pytest.mark.backend
def test_dropouts_are_on_in_training_only():
    arguments = {"dim": 4, "layers": 1}
    for builder, name in [
        (AutoInt, "attention_dropout"),
        (AutoInt, "embedding_dropout"),
        (AutoIntPlus, "hidden_dropout"),
    ]:
        model = builder(SMALL, **arguments, **{name: 0.5})
        model.get_layer("embedding").set_weights(
            [100 * weight for weight in model.get_layer("embedding").get_weights()]
        )
        inputs = packed(SMALL)
        first, again = (to_numpy(model(inputs, training=False)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        dropped = to_numpy(model(inputs, training=True))
        assert (dropped != first).any(), name


def xor(rows, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (rows, 2))
    ids = np.array([2, 5])[None] + bits  # 1 and 4 are the OOV ids of two fields of two values
    return {"categorical": ids.astype("int32")}, (bits[:, :1] ^ bits[:, 1:]).astype("float32")


@pytest.mark.backend
@pytest.mark.parametrize("layers", [0, 1])
def test_attention_learns_what_a_linear_model_cannot(layers):
    keras.utils.set_random_seed(1)
    model = AutoInt(feature_set(2), dim=8, layers=layers, head_dim=8)
    model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy", jit_compile=JIT)
    model.fit(*xor(2000, 0), batch_size=100, epochs=8, verbose=0)
    inputs, labels = xor(1000, 1)
    reached = auc(labels, model.predict(inputs, verbose=0))
    if layers:
        assert reached > 0.99
    else:
        assert 0.3 < reached < 0.78  # at best three of the four cells in the right order


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("AutoInt", {"layers": -1}, "layers must not be negative. Received: -1"),
        ("AutoInt", {"variant": "deepctr"}, "variant must be one of paper, official"),
        ("AutoIntPlus", {"residual": "no"}, "residual must be one of projection, identity, none"),
    ],
)
def test_bad_requests_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, SMALL, **arguments)
