"""FieldEmbedding against loops in NumPy, and what must hold of id 0 whatever the weights."""

import keras
import numpy as np
import pytest

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.layers import FieldEmbedding, feature_inputs
from ctr_keras.testing import run_layer_test
from tests.packed import packed_inputs

pytestmark = pytest.mark.backend

DIM = 4
FEATURES = FeatureSet(
    Crossed("user", "bucket", hash_buckets=3),
    Numeric("price"),
    MultiValued("genres", max_length=3),
    Categorical("user", min_count=2),
    Sequence("history", vocabulary_of="item", max_length=2),
    Numeric("bucket", scale="boundaries", boundaries=(1, 5)),
    Categorical("item", oov_buckets=2),
    Numeric("age"),
    label=Label("click"),
    vocabulary_sizes={"genres": 4, "user": 5, "item": 3},
)

PLAIN = FeatureSet(MultiValued("tags", max_length=3), label=Label("click"))
WEIGHTED = FeatureSet(
    MultiValued("tags", max_length=3, weight_separator=":"),
    label=Label("click"),
    vocabulary_sizes={"tags": 4},
)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def packed(rows=6, seed=0):
    inputs = packed_inputs(FEATURES, rows, seed)
    inputs["categorical"][0, 1] = inputs["crossed"][1] = 0  # missing
    inputs["genres"][0] = [3, 5, 0]
    inputs["genres"][1] = 0
    inputs["genres"][2] = [3, 0, 0]
    return inputs


def reference(weights, inputs):
    rows = []
    for row in range(len(inputs["categorical"])):

        def look_up(index):
            return weights["table"][index] if index else np.zeros(DIM)

        fields = [look_up(index) for index in inputs["categorical"][row]]
        for column, value in enumerate(inputs["numeric"][row]):
            fields.append(value * weights["numeric_vectors"][column])
        actual = [look_up(index) for index in inputs["genres"][row] if index]
        fields.append(sum(actual) / len(actual) if actual else np.zeros(DIM))
        fields += [look_up(index) for index in inputs["crossed"][row]]
        rows.append(fields)
    return np.array(rows)


ORDER = ("user", "bucket", "item", "price", "age", "genres", "user_x_bucket")


def embedding(**arguments):
    layer = FieldEmbedding(FEATURES, DIM, embeddings_initializer="random_normal", **arguments)
    layer.build({name: (None, *shape) for name, shape in FEATURES.packed_shapes.items()})
    return layer


def test_layer_contract():
    shapes = {name: (None, *shape) for name, shape in FEATURES.packed_shapes.items()}
    run_layer_test(
        FieldEmbedding,
        {"features": FEATURES, "dim": DIM, "embeddings_initializer": "random_normal"},
        packed(),
        weight_shapes={"table": (FEATURES.id_count, DIM), "numeric_vectors": (2, DIM)},
        reference=reference,
        bad_shapes=[
            shapes | {"categorical": (None, 2)},
            shapes | {"genres": (None,)},
            {name: shape for name, shape in shapes.items() if name != "crossed"},
        ],
    )


def weighted_sums(table, inputs):
    """The sum of a row's vectors and of their weights."""
    for ids, weights in zip(inputs["tags"], inputs["tags_weights"], strict=True):
        vector, total = np.zeros(DIM), 0.0
        for index, weight in zip(ids, weights, strict=True):
            if index:
                vector += weight * table[index]
                total += weight
        yield vector, total


def test_values_count_by_their_weights():
    def reference(weights, inputs):
        sums = weighted_sums(weights["table"], inputs)
        return np.array([[vector / (total or 1.0)] for vector, total in sums])

    inputs = packed_inputs(WEIGHTED, 6)
    inputs["tags"][:3] = [[1, 4, 2], [3, 0, 0], [0, 0, 0]]
    inputs["tags_weights"][:3] = [[0.5, 2, 1e-3], [7, 0, 0], [0, 0, 0]]
    run_layer_test(
        FieldEmbedding,
        {"features": WEIGHTED, "dim": DIM, "embeddings_initializer": 0.1},
        inputs,
        weight_shapes={"table": (WEIGHTED.id_count, DIM)},
        reference=reference,
    )
    layer = FieldEmbedding(WEIGHTED, DIM, combiner="sum", embeddings_initializer=0.1)
    summed = to_numpy(layer(inputs))[:, 0]
    expected = [vector for vector, _ in weighted_sums(to_numpy(layer.table), inputs)]
    np.testing.assert_allclose(summed, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("combiner", ["mean", "sum"])
def test_weights_of_one_change_no_bit(combiner):
    inputs = packed_inputs(WEIGHTED, 32)
    inputs["tags_weights"][:] = 1.0  # of padding, too
    plain = FeatureSet(*PLAIN.features, label=PLAIN.label, vocabulary_sizes={"tags": 4})
    vectors = []
    for features in (WEIGHTED, plain):
        keras.utils.set_random_seed(0)
        layer = FieldEmbedding(features, DIM, combiner=combiner, embeddings_initializer="normal")
        vectors.append(to_numpy(layer(inputs)))
    np.testing.assert_array_equal(*vectors)


def test_values_of_weight_zero_are_a_zero_vector():
    inputs = {"tags": np.array([[1, 2, 0]]), "tags_weights": np.zeros((1, 3), "float32")}
    layer = FieldEmbedding(WEIGHTED, DIM, embeddings_initializer="ones")
    np.testing.assert_array_equal(to_numpy(layer(inputs)), np.zeros((1, 1, DIM)))


def test_a_weighted_mean_has_room_in_float16():
    inputs = {"tags": np.array([[2, 3, 0]]), "tags_weights": np.float32([[3e8, 1e8, 0]])}
    layer = FieldEmbedding(WEIGHTED, DIM, embeddings_initializer="ones", dtype="mixed_float16")
    np.testing.assert_allclose(to_numpy(layer(inputs)), np.ones((1, 1, DIM)), rtol=1e-3)


@pytest.mark.own_draws  # none of which is close to 0
@pytest.mark.parametrize("numeric", ["periodic", "autodis"])
def test_numbers_are_embedded_as_by_the_layer_of_that_name(numeric):
    whole, part = embedding(numeric=numeric), embedding(numeric=numeric, fields=["age", "user"])
    for of_whole, of_part in zip(whole.numeric_weights, part.numeric_weights, strict=True):
        of_part.assign(to_numpy(of_whole)[1:])
    inputs = packed()
    inputs["numeric"][0] = np.nan
    missing = inputs | {"numeric": np.nan_to_num(inputs["numeric"])}
    fields = to_numpy(whole(inputs))
    np.testing.assert_array_equal(fields, to_numpy(whole(missing)))
    np.testing.assert_allclose(fields[:, 3:5], to_numpy(whole.numbers(missing["numeric"])))
    np.testing.assert_allclose(to_numpy(part(inputs))[:, 1], fields[:, 4], rtol=1e-6)
    again = FieldEmbedding.from_config(whole.get_config())
    assert again.numeric == numeric


@pytest.mark.own_draws
@pytest.mark.parametrize("fields", [None, ["bucket", "user"]])
def test_steps_are_added_to_numbers_in_buckets_alone(fields):
    plain, ordered = (embedding(fields=fields, numeric=n) for n in ("linear", "ordered"))
    for name in ("table", "numeric_vectors"):
        if hasattr(plain, name):
            getattr(ordered, name).assign(to_numpy(getattr(plain, name)))
    inputs = packed()
    place = ordered.field_names.index("bucket")
    ids = inputs["categorical"][:, 1]
    assert 0 in ids  # missing
    buckets = np.where(ids, ids - FEATURES.id_ranges["bucket"].start + 1, 0)
    expected = to_numpy(plain(inputs)).copy()
    expected[:, place] += to_numpy(ordered.bucket_steps(buckets[:, None]))[:, 0]
    fields = to_numpy(ordered(inputs))
    np.testing.assert_allclose(fields, expected, rtol=1e-6)
    of_buckets = ordered.vectors_of("bucket")
    known = buckets > 0
    np.testing.assert_allclose(of_buckets[buckets[known] - 1], fields[known, place], rtol=1e-6)
    assert not fields[0, place].any()
    assert FieldEmbedding.from_config(ordered.get_config()).numeric == "ordered"


@pytest.mark.parametrize("wrong", [-1, 1, FEATURES.id_count])  # of no field, or of another
def test_check_ids_turns_a_wrong_bucket_into_nan_where_there_are_steps(wrong):
    layer = embedding(numeric="ordered", check_ids=True)
    inputs = packed()
    inputs["categorical"][2, 1] = wrong
    output = to_numpy(layer(inputs))
    assert np.isnan(output[2, FEATURES.field_names.index("bucket")]).all()
    assert np.isfinite(np.delete(output, 2, axis=0)).all()


def test_fields_come_in_the_order_of_the_feature_set():
    assert FEATURES.field_names == ORDER
    layer = embedding()
    layer.table.assign(np.arange(FEATURES.id_count)[:, None] * np.ones(DIM))
    layer.numeric_vectors.assign(np.ones((2, DIM)))
    inputs = {
        "categorical": np.array([[7, 14, 16]]),
        "numeric": np.array([[0.25, 0.5]], "float32"),
        "crossed": np.array([[21]]),
        "genres": np.array([[3, 5, 0]]),
        "history": np.array([[15, 15]]),
    }
    assert to_numpy(layer(inputs))[0, :, 0].tolist() == [7, 14, 16, 0.25, 0.5, 4, 21]


@pytest.mark.parametrize("row_zero", [1e6, np.inf, np.nan])
def test_id_zero_is_a_zero_vector_whatever_its_row_holds(row_zero):
    layer = embedding()
    table = to_numpy(layer.table).copy()
    expected = to_numpy(layer(packed()))
    table[0] = row_zero
    layer.table.assign(table)
    np.testing.assert_array_equal(layer(packed()), expected)
    assert not expected[0, 1].any()
    assert not expected[1, 6].any()  # crossed
    assert not expected[1, 5].any()  # a list of padding


def test_row_zero_never_learns():
    inputs = feature_inputs(FEATURES)
    layer = FieldEmbedding(FEATURES, DIM, embeddings_initializer="random_normal")
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    before = to_numpy(layer.table).copy()
    batch = packed()
    model.train_on_batch(batch, np.ones((6, 7, DIM)))
    changed = (to_numpy(layer.table) != before).any(axis=1)
    fields = [ids for name, ids in batch.items() if name not in ("numeric", "history")]
    seen = np.unique(np.concatenate([ids.ravel() for ids in fields]))
    assert set(np.flatnonzero(changed)) == set(seen) - {0}


def test_multi_valued_is_the_mean_of_actual_values():
    layer = embedding()
    inputs = packed(rows=3)
    inputs["genres"] = np.array([[4, 4, 4], [4, 0, 0], [0, 4, 0]])
    output = to_numpy(layer(inputs))[:, 5]
    np.testing.assert_allclose(output, np.tile(to_numpy(layer.table)[4], (3, 1)), 1e-6)


def test_numeric_is_linear_in_the_value():
    layer = embedding()
    inputs = packed()
    once = to_numpy(layer(inputs))[:, 3:5]
    inputs["numeric"] = 2 * inputs["numeric"]
    np.testing.assert_allclose(to_numpy(layer(inputs))[:, 3:5], 2 * once, 1e-6)
    inputs["numeric"] = 0 * inputs["numeric"]
    assert not to_numpy(layer(inputs))[:, 3:5].any()


def test_sequences_share_the_table():
    layer = embedding(sequences=["history"])
    inputs = packed(rows=3)
    inputs["history"] = np.array([[16, 0], [17, 17], [0, 0]], "int32")
    fields, history = layer(inputs)
    np.testing.assert_array_equal(fields, embedding_of(layer, inputs))
    assert tuple(history.shape) == (3, 2, DIM)
    np.testing.assert_array_equal(to_numpy(history)[1, 1], to_numpy(layer.table)[17])
    assert not to_numpy(history)[0, 1].any()
    symbolic = layer(feature_inputs(FEATURES))
    assert [tensor.shape for tensor in symbolic] == [(None, 7, DIM), (None, 2, DIM)]


def embedding_of(layer, inputs):
    """What the layer's weights give where there are no sequences."""
    again = embedding()
    again.set_weights(layer.get_weights())
    return again(inputs)


@pytest.mark.parametrize(
    "names", [["item", "price"], ["user_x_bucket"], ["genres", "user"], ["age", "bucket"]]
)
def test_some_fields_have_a_table_of_their_rows_only(names):
    whole, part = embedding(), embedding(fields=names)
    used = {FEATURES.vocabulary_name(FEATURES[name]) for name in names} & set(FEATURES.id_ranges)
    kept = [0, *sorted(i for name in used for i in FEATURES.id_ranges[name])]
    table = to_numpy(whole.table)[kept]
    assert part.table.shape == table.shape
    part.table.assign(table)
    numeric = [i for i, name in enumerate(["price", "age"]) if name in names]
    if numeric:
        part.numeric_vectors.assign(to_numpy(whole.numeric_vectors)[numeric])
    inputs = packed()
    expected = to_numpy(whole(inputs))[:, [i for i, n in enumerate(ORDER) if n in names]]
    np.testing.assert_array_equal(part(inputs), expected)
    only_needed = {name: inputs[name] for name in part._input_names}
    np.testing.assert_array_equal(part(only_needed), expected)


def test_a_sequence_shares_the_rows_of_its_item():
    layer = embedding(fields=["item"], sequences=["history"])
    assert layer.table.shape == (1 + 2 + 3, DIM)
    inputs = packed()
    inputs["history"][:, 0] = inputs["categorical"][:, 2]
    fields, history = (to_numpy(output) for output in layer(inputs))
    np.testing.assert_array_equal(history[:, 0], fields[:, 0])
    assert fields.any()


def test_combiner_sum():
    mean, total = embedding(), embedding(combiner="sum")
    total.set_weights(mean.get_weights())
    inputs = packed()
    count = np.maximum((inputs["genres"] > 0).sum(axis=1), 1)[:, None]
    np.testing.assert_allclose(
        to_numpy(total(inputs))[:, 5], to_numpy(mean(inputs))[:, 5] * count, 1e-6
    )


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_numbers_start_as_the_rows_of_the_table(mode):
    features = FeatureSet(
        Categorical("c"),
        *(Numeric(f"n{i}") for i in range(40)),
        label=Label("y"),
        vocabulary_sizes={"c": 2000},
    )
    initializer = keras.initializers.VarianceScaling(2.0, mode, "uniform")
    layer = FieldEmbedding(features, 32, embeddings_initializer=initializer)
    layer.build({"categorical": (None, 1), "numeric": (None, 40)})
    rows, vectors = (to_numpy(weight) for weight in (layer.table, layer.numeric_vectors))
    assert abs(vectors.std() / rows.std() - 1) < 0.05
    assert (vectors != rows[:40]).any()  # and are not drawn with the same seed


def test_check_ids_turns_an_unknown_id_into_nan():
    layer = embedding(check_ids=True)
    inputs = packed()
    assert np.isfinite(to_numpy(layer(inputs))).all()
    inputs["categorical"][2, 0] = FEATURES.id_count
    inputs["categorical"][3, 0] = -1
    output = to_numpy(layer(inputs))
    assert np.isnan(output[2, 0]).all()
    assert np.isnan(output[3, 0]).all()
    assert np.isfinite(np.delete(output, [2, 3], axis=0)).all()


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="looks into a compiled graph")
def test_mixed_precision_casts_the_looked_up_rows_not_the_table():
    layer = embedding(dtype="mixed_bfloat16")
    batch = packed()
    assert layer(batch).dtype in (keras.ops.zeros((), "bfloat16").dtype, "bfloat16")
    if keras.backend.backend() == "jax":
        import jax

        values = [weight.value for weight in layer.weights]
        program = jax.make_jaxpr(lambda inputs: layer.stateless_call(values, [], inputs)[0])(batch)
        assert f"bf16[{FEATURES.id_count},{DIM}]" not in str(program)
    else:
        import tensorflow as tf

        graph = tf.function(layer).get_concrete_function(batch).graph
        outputs = [output for node in graph.get_operations() for output in node.outputs]
        half = [tuple(x.shape) for x in outputs if x.dtype == "bfloat16" and x.shape.rank]
        assert (FEATURES.id_count, DIM) not in half


@pytest.mark.parametrize(
    ("features", "shape"),
    [
        (FeatureSet(Numeric("n"), label=Label("y"), vocabulary_sizes={}), (6, 1, DIM)),
        (FeatureSet(MultiValued("m"), label=Label("y"), vocabulary_sizes={"m": 3}), (6, 1, DIM)),
    ],
)
def test_any_kind_of_feature_alone(features, shape):
    inputs = {
        name: np.ones((6, *width), "float32" if name == "numeric" else "int32")
        for name, width in features.packed_shapes.items()
    }
    layer = FieldEmbedding(features, DIM)
    assert tuple(layer(inputs).shape) == shape
    assert len(layer.weights) == 1


def test_loading_refuses_nothing_it_wrote():
    layer = embedding(name="fields")
    again = FieldEmbedding.from_config(layer.get_config())
    assert again.features == FEATURES
    assert again.name == "fields"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim must be at least 1. Received: 0"),
        ({"features": FeatureSet(Sequence("s"), label=Label("y"))}, "only sequences"),
        ({"fields": []}, "no field to embed"),
        ({"fields": ["item", "zip"]}, "unknown field 'zip'; available: user, bucket"),
        ({"sequences": ["item"]}, "unknown sequence 'item'; available: history"),
        ({"combiner": "max"}, "combiner must be one of mean, sum. Received: 'max'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FieldEmbedding(**{"features": FEATURES, "dim": 4} | arguments)


def test_unknown_vocabulary_sizes_are_refused_when_building():
    features = FeatureSet(Categorical("c"), label=Label("y"))
    with pytest.raises(ValueError, match="vocabulary sizes"):
        FieldEmbedding(features, 4).build({"categorical": (None, 1)})


def test_feature_inputs_are_named_as_packed():
    inputs = feature_inputs(FEATURES)
    assert {name: tensor.shape[1:] for name, tensor in inputs.items()} == FEATURES.packed_shapes
    assert all(tensor.name == name for name, tensor in inputs.items())
    assert {name for name, tensor in inputs.items() if tensor.dtype == "float32"} == {"numeric"}


@pytest.mark.parametrize(
    "initializer", ["glorot_uniform", keras.initializers.RandomNormal(stddev=0.5, seed=3), "ones"]
)
def test_large_tables_are_drawn_in_pieces_like_small_ones(initializer, monkeypatch):
    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 4000})
    inputs = {"categorical": (None, 1)}

    def table():
        keras.utils.set_random_seed(1)
        layer = FieldEmbedding(features, dim=4, embeddings_initializer=initializer)
        layer.build(inputs)
        return keras.ops.convert_to_numpy(layer.table)

    whole = table()
    monkeypatch.setattr("ctr_keras.layers.field_embedding._ROWS_AT_ONCE", 1000)
    pieces = table()
    assert pieces.shape == whole.shape
    assert pieces.dtype == whole.dtype
    np.testing.assert_allclose(pieces.std(), whole.std(), rtol=0.05)
    np.testing.assert_allclose(pieces.min(), whole.min(), rtol=0.2)
    np.testing.assert_array_equal(pieces, table())  # of one seed
    assert initializer == "ones" or len(np.unique(pieces)) > 0.99 * pieces.size


def layer_of(values, **options):
    """A built layer of one feature whose table holds the values, and the rows' ids."""
    features = FeatureSet(
        Categorical("a"), label=Label("y"), vocabulary_sizes={"a": len(values) - 2}
    )
    layer = FieldEmbedding(features, values.shape[1], **options)
    layer.build({"categorical": (None, 1)})
    layer.set_weights([values])
    return layer, {"categorical": np.arange(len(values))[:, None]}


def test_quantized_rows_keep_their_own_precision(monkeypatch):
    monkeypatch.setattr("ctr_keras.layers.field_embedding._ROWS_AT_ONCE", 3)
    values = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    values *= np.array([1, 1e-6, 1e3, 0, 1, 1e-3, 1, 1e-30], "float32")[:, None]
    layer, inputs = layer_of(values)
    layer.quantize("int8")
    vectors = to_numpy(layer(inputs))[1:, 0]
    half_a_step = np.abs(values[1:]).max(axis=1, keepdims=True) / 127 / 2
    assert (np.abs(vectors - values[1:]) <= 1.001 * half_a_step).all()
    assert (vectors[2] == 0).all()
    assert layer.table.shape == (8, 5)
    assert {weight.name: str(weight.dtype) for weight in layer.weights} == {
        "table": "int8",
        "table_scale": "float32",
    }
    assert not layer.trainable_weights
    assert layer.quantization_mode == "int8"


def test_quantized_ids_are_zero_or_nan_as_those_of_float():
    values = np.ones((4, 2), "float32")
    layer, _ = layer_of(values, check_ids=True)
    layer.quantize("int8")
    vectors = to_numpy(layer({"categorical": np.array([[0], [3], [4], [-1]])}))[:, 0, 0]
    np.testing.assert_array_equal(vectors, [0, 1, np.nan, np.nan])


def test_what_diverged_stays_nan_when_it_is_quantized():
    values = np.ones((4, 2), "float32")
    values[2, 1] = np.nan
    layer, inputs = layer_of(values)
    with np.errstate(invalid="ignore"):
        layer.quantize("int8")
    assert np.isnan(to_numpy(layer(inputs))[:, 0, 0]).tolist() == [False, False, True, False]


def test_a_quantized_layer_is_a_quantized_one_by_config():
    layer, inputs = layer_of(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    layer.quantize("int8")
    again = FieldEmbedding.from_config(layer.get_config())
    again.build({"categorical": (None, 1)})
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs), layer(inputs))
    by_policy, _ = layer_of(np.ones((6, 3), "float32"))
    by_policy.dtype_policy = "int8_from_float32"
    np.testing.assert_allclose(by_policy(inputs)[1:], 1.0, 1e-6)


@pytest.mark.parametrize(
    ("dim", "mode", "error", "message"),
    [
        (1, "int8", NotImplementedError, "stays float32: a scale a row takes more than a row of"),
        (2, "int4", NotImplementedError, "can be quantized to int8 only, not by int4, and stays"),
    ],
)
def test_what_stays_float_says_so(dim, mode, error, message):
    layer, _ = layer_of(np.ones((3, dim), "float32"))
    with pytest.raises(error, match=message):
        layer.quantize(mode)
    assert layer.quantization_mode is None


def test_classes_below_and_numbers_alone_stay_float():
    class Below(FieldEmbedding):
        pass

    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 2})
    below = Below(features, 2, name="below")
    below.build({"categorical": (None, 1)})
    with pytest.raises(NotImplementedError, match="'below' stays float32: Below is a class"):
        below.quantize("int8")
    below.quantize("int8", type_check=False)
    numbers = FieldEmbedding(FeatureSet(Numeric("n"), label=Label("y")), 2)
    numbers.build({"numeric": (None, 1)})
    with pytest.raises(NotImplementedError, match="stays float32: no table"):
        numbers.quantize("int8")
