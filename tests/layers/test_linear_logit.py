"""LinearLogit against a sum of weights in NumPy."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.layers import LinearLogit
from ctr_keras.testing import run_layer_test
from tests.packed import packed_inputs

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    Categorical("user"),
    Categorical("item"),
    Numeric("price"),
    Numeric("age"),
    MultiValued("genres", max_length=3),
    Crossed("user", "item", hash_buckets=3),
    label=Label("click"),
    vocabulary_sizes={"user": 4, "item": 3, "genres": 3},
)
SHAPES = {name: (None, *shape) for name, shape in FEATURES.packed_shapes.items()}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def packed(rows=6):
    inputs = packed_inputs(FEATURES, rows)
    inputs["categorical"][0, 1] = inputs["crossed"][1, 0] = 0  # missing
    inputs["genres"][0] = [10, 12, 0]
    inputs["genres"][1] = 0
    return inputs


def reference(weights, inputs):
    table, numeric = weights["weighting/table"][:, 0], weights["weighting/numeric_vectors"][:, 0]
    rows = []
    for row in range(len(inputs["numeric"])):
        ids = [*inputs["categorical"][row], *inputs["crossed"][row]]
        logit = sum(table[index] for index in ids if index)
        logit += sum(numeric[i] * value for i, value in enumerate(inputs["numeric"][row]))
        genres = [table[index] for index in inputs["genres"][row] if index]
        logit += sum(genres) / max(len(genres), 1)
        logit += weights["bias"][0] if "bias" in weights else 0.0
        rows.append([logit])
    return np.array(rows)


@pytest.mark.parametrize("use_bias", [True, False])
def test_layer_contract(use_bias):
    shapes = {"weighting/table": (FEATURES.id_count, 1), "weighting/numeric_vectors": (2, 1)}
    run_layer_test(
        LinearLogit,
        {
            "features": FEATURES,
            "use_bias": use_bias,
            "initializer": keras.initializers.RandomNormal(stddev=0.5, seed=1),
            "regularizer": keras.regularizers.L2(0.01),
        },
        packed(),
        weight_shapes=shapes | ({"bias": (1,)} if use_bias else {}),
        reference=reference,
        compare_xla=use_bias,
        bad_shapes=[SHAPES | {"categorical": (None, 3)}, SHAPES | {"numeric": (None,)}],
    )


def test_what_is_missing_weighs_nothing():
    layer = LinearLogit(FEATURES, initializer="ones")
    inputs = {name: np.zeros_like(array) for name, array in packed().items()}
    np.testing.assert_array_equal(layer(inputs), np.zeros((6, 1)))
    layer.bias.assign([0.5])
    np.testing.assert_array_equal(layer(inputs), np.full((6, 1), 0.5))
    inputs["categorical"][:, 0] = 3
    np.testing.assert_array_equal(layer(inputs), np.full((6, 1), 1.5))


def test_it_is_the_weights_times_the_encoded_row():
    # x has a one for each id and the value of each number: <w, x> + b as in the papers.
    layer = LinearLogit(FEATURES, initializer="he_normal")
    inputs = packed()
    inputs["genres"][:, 1:] = 0
    output = to_numpy(layer(inputs))
    table, numeric = (to_numpy(weight)[:, 0] for weight in layer.weighting.weights)
    ids = np.concatenate([inputs[n] for n in ("categorical", "crossed", "genres")], axis=1)
    one_hot = np.eye(FEATURES.id_count)[ids].sum(axis=1)
    one_hot[:, 0] = 0
    encoded = np.concatenate([one_hot, inputs["numeric"]], axis=1)
    expected = encoded @ np.concatenate([table, numeric])
    np.testing.assert_allclose(output[:, 0], expected, 1e-5, 1e-6)


def test_regularizer_reaches_the_table():
    layer = LinearLogit(FEATURES, initializer="ones", regularizer=keras.regularizers.L2(0.5))
    layer.build(SHAPES)
    assert [float(to_numpy(loss)) for loss in layer.losses] == [0.5 * FEATURES.id_count]


def test_features_as_a_dict():
    layer = LinearLogit(FEATURES.to_dict())
    assert layer.features == FEATURES
