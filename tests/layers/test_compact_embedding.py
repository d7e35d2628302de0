"""CompactEmbedding against a FieldEmbedding whose other dimensions are masked."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.layers import CompactEmbedding, FieldEmbedding
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

DIM = 4
FEATURES = FeatureSet(
    Crossed("user", "item", hash_buckets=3),
    Numeric("price"),
    MultiValued("genres", max_length=3),
    Categorical("user"),
    Categorical("item", oov_buckets=2),
    Categorical("seen", vocabulary_of="item"),
    Numeric("age"),
    label=Label("click"),
    vocabulary_sizes={"genres": 4, "user": 5, "item": 3},
)
ROWS = {name: len(ids) for name, ids in FEATURES.id_ranges.items()}
SHAPES = {name: (None, *shape) for name, shape in FEATURES.packed_shapes.items()}
# genres keeps all, user nothing; item and seen share a table.
KEPT = {
    "user_x_item": [0, 3],
    "price": [2],
    "user": [],
    "item": [1, 2],
    "seen": [1, 2],
    "age": [0, 1, 3],
}
WIDTHS = {
    1: {"numeric_vectors": (1, 1)},
    2: {"table": (1 + ROWS["item"] + ROWS["user_x_item"], 2)},
    3: {"numeric_vectors": (1, 3)},
    4: {"table": (1 + ROWS["genres"], 4)},
}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def packed(rows=6):
    """Every column's ids are of its own vocabulary, or 0."""
    draw = np.random.default_rng(0)

    def ids(name, *shape):
        return draw.choice([0, *FEATURES.id_ranges[name]], shape).astype("int32")

    return {
        "categorical": np.stack([ids(name, rows) for name in ("user", "item", "item")], axis=1),
        "numeric": draw.normal(size=(rows, 2)).astype("float32"),
        "crossed": ids("user_x_item", rows, 1),
        "genres": ids("genres", rows, 3),
    }


def reference(weights, inputs):
    ranges = FEATURES.id_ranges
    first_row = {"genres": 1, "item": 1, "user_x_item": 1 + ROWS["item"]}

    def row_of(vocabulary, index):
        table = weights["width_4/table" if vocabulary == "genres" else "width_2/table"]
        if index == 0:
            return np.zeros(table.shape[1])
        return table[index - ranges[vocabulary].start + first_row[vocabulary]]

    output = np.zeros((len(inputs["numeric"]), 7, DIM))
    for row, fields in enumerate(output):
        price, age = inputs["numeric"][row]
        genres = [row_of("genres", index) for index in inputs["genres"][row] if index]
        fields[1, [1, 2]] = row_of("item", inputs["categorical"][row, 1])
        fields[2, [1, 2]] = row_of("item", inputs["categorical"][row, 2])
        fields[3, [2]] = price * weights["width_1/numeric_vectors"][0]
        fields[4, [0, 1, 3]] = age * weights["width_3/numeric_vectors"][0]
        fields[5] = sum(genres) / max(len(genres), 1)
        fields[6, [0, 3]] = row_of("user_x_item", inputs["crossed"][row, 0])
    return output


def test_layer_contract():
    run_layer_test(
        CompactEmbedding,
        {
            "features": FEATURES,
            "dim": DIM,
            "kept": KEPT,
            "embeddings_initializer": keras.initializers.RandomNormal(seed=1),
            "embeddings_regularizer": keras.regularizers.L2(0.01),
        },
        packed(),
        weight_shapes={
            f"width_{width}/{name}": shape
            for width, shapes in WIDTHS.items()
            for name, shape in shapes.items()
        },
        reference=reference,
        bad_shapes=[
            SHAPES | {"categorical": (None, 2)},
            SHAPES | {"genres": (None,)},
            {name: shape for name, shape in SHAPES.items() if name != "crossed"},
        ],
    )


def copied(full, kept):
    """A CompactEmbedding with the weights of a FieldEmbedding."""
    layer = CompactEmbedding(FEATURES, DIM, kept)
    layer.build(SHAPES)
    table, vectors = to_numpy(full.table), to_numpy(full.numeric_vectors)
    for part in layer.tables:
        positions = {name: list(kept.get(name, range(DIM))) for name in part.fields}
        rows = [np.zeros(part.dim)]
        for vocabulary, ids in FEATURES.id_ranges.items():
            if vocabulary in positions:
                rows += [table[index][positions[vocabulary]] for index in ids]
        if len(rows) > 1:
            part.table.assign(rows)
        numeric = [name for name in ("price", "age") if name in positions]
        if numeric:
            rows = [vectors[("price", "age").index(name)][positions[name]] for name in numeric]
            part.numeric_vectors.assign(rows)
    return layer


@pytest.mark.parametrize(
    "kept",
    [
        KEPT,
        {},
        {"user": [0], "price": [3], "age": [1], "genres": [2]},
        {name: [2] for name in FEATURES.field_names} | {"user": []},
    ],
)
def test_it_is_the_full_embedding_masked(kept):
    full = FieldEmbedding(FEATURES, DIM, embeddings_initializer="random_normal")
    full.build(SHAPES)
    mask = np.zeros((7, DIM))
    for field, name in enumerate(FEATURES.field_names):
        mask[field, list(kept.get(name, range(DIM)))] = 1
    output = copied(full, kept)(packed())
    np.testing.assert_allclose(output, to_numpy(full(packed())) * mask, 1e-6)
    assert ((to_numpy(output) != 0).any(axis=0) == mask).all()


def test_only_what_is_kept_is_stored():
    layer = CompactEmbedding(FEATURES, DIM, KEPT)
    layer.build(SHAPES)
    kept_values = 2 * (ROWS["item"] + ROWS["user_x_item"]) + 4 * ROWS["genres"] + 1 + 3
    padding_rows = 2 + 4
    assert layer.count_params() == kept_values + padding_rows
    assert ROWS["user"] == 6
    with_user = CompactEmbedding(FEATURES, DIM, KEPT | {"user": [2]})
    with_user.build(SHAPES)
    assert with_user.count_params() == layer.count_params() + 1 + 6


def test_a_field_that_keeps_nothing_is_zero():
    output = to_numpy(CompactEmbedding(FEATURES, DIM, {"user": []})(packed()))
    assert not output[:, 0].any()
    assert output[:, 1:].any(axis=(0, 2)).all()


def test_fields_that_share_a_vocabulary_share_their_rows():
    layer = CompactEmbedding(FEATURES, DIM, KEPT)
    inputs = packed()
    inputs["categorical"][:, 2] = inputs["categorical"][:, 1]
    output = to_numpy(layer(inputs))
    np.testing.assert_array_equal(output[:, 1], output[:, 2])
    assert output[:, 1].any()


def test_regularizer_reaches_every_table():
    layer = CompactEmbedding(
        FEATURES,
        DIM,
        KEPT,
        embeddings_initializer="ones",
        embeddings_regularizer=keras.regularizers.L2(0.5),
    )
    layer.build(SHAPES)
    losses = sorted(float(to_numpy(loss)) for loss in layer.losses)
    assert losses == sorted(0.5 * np.prod(WIDTHS[width]["table"]) for width in (2, 4))


def test_tables_do_not_start_equal():
    kept = {"user": [0, 1, 2], "item": [0, 1], "seen": [0, 1]}
    layer = CompactEmbedding(
        FEATURES, DIM, kept, embeddings_initializer=keras.initializers.RandomNormal()
    )
    layer.build(SHAPES)
    corners = [float(to_numpy(table.table)[1, 0]) for table in layer.tables]
    assert len(set(corners)) == len(corners) == 3


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"zip": [0]}, "unknown field 'zip'; available: .* Received: {'zip'"),
        ({"user": [1, 0]}, r"'user' must keep rising positions below 4. Received: \(1, 0\)"),
        ({"user": [0, 0]}, r"rising positions below 4. Received: \(0, 0\)"),
        ({"user": [4]}, r"rising positions below 4. Received: \(4,\)"),
        ({"user": [-1]}, r"rising positions below 4. Received: \(-1,\)"),
        ({"item": [0]}, r"'item' and 'seen' share .* Received: \(0,\) and \(0, 1, 2, 3\)"),
        (dict.fromkeys(FEATURES.field_names, ()), "no field keeps anything. Received"),
    ],
)
def test_bad_positions_are_refused(kept, message):
    with pytest.raises(ValueError, match=message):
        CompactEmbedding(FEATURES, DIM, kept)
