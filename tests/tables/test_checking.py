"""Ids are checked before a backend reads them, however a model is given them."""

import keras
import numpy as np
import pytest

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, MultiValued, Numeric
from ctr_keras.layers import FieldEmbedding, LinearLogit, RowTrainer, feature_inputs
from ctr_keras.models import FM
from ctr_keras.optimizers import SparseAdam
from tests.packed import JIT, packed_inputs
from tests.packed import labels as some_labels

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    Categorical("user"),
    Categorical("item"),
    Crossed("user", "item"),
    Numeric("price"),
    label=Label("click"),
    vocabulary_sizes={"user": 5, "item": 3, "user_x_item": 4},
)
ROWS, BATCH = 10, 4  # the last batch is a partial one
WRONG = {  # what stands in row 6, column 1
    "too large": (FEATURES.id_count, "id 16 of 'item'"),
    "negative": (-1, "id -1 of 'item'"),
    "of another field": (2, "id 2 of 'item'"),
    "beyond int32": (2**32 + 8, "id 4294967304 of 'item'"),
}
RANGE = "ids of 'item' are 7 to 10, 0 is missing; each vocabulary has global ids of its own"


def inputs_with(wrong=None, dtype="int64"):
    inputs = packed_inputs(FEATURES, ROWS)
    inputs["categorical"] = inputs["categorical"].astype(dtype)
    if wrong is not None:
        inputs["categorical"][6, 1] = wrong
    return inputs


def batches(inputs):
    labels = some_labels(ROWS)
    for start in range(0, ROWS, BATCH):
        end = start + BATCH
        yield {name: values[start:end] for name, values in inputs.items()}, labels[start:end]


class Batches(keras.utils.PyDataset):
    def __init__(self, inputs, **options):
        super().__init__(**options)
        self.batches = list(batches(inputs))
        self.ended = 0

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]

    def on_epoch_end(self):
        self.ended += 1


def as_dataset(inputs):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((inputs, some_labels(ROWS))).batch(BATCH)


def as_frames(inputs):
    import pandas as pd

    frames = {name: pd.DataFrame(values) for name, values in inputs.items()}
    return {"x": frames, "y": some_labels(ROWS), "batch_size": BATCH}


def as_arrays(inputs):
    return {"x": inputs, "y": some_labels(ROWS), "batch_size": BATCH}


def as_tensors(inputs):
    return as_arrays({name: keras.ops.convert_to_tensor(v) for name, v in inputs.items()})


WAYS = {
    "arrays": as_arrays,
    "tensors": as_tensors,
    "pandas": as_frames,
    "tf.data": lambda inputs: {"x": as_dataset(inputs)},
    "PyDataset": lambda inputs: {"x": Batches(inputs)},
    "threads": lambda inputs: {"x": Batches(inputs, workers=2)},
    "generator": lambda inputs: {"x": batches(inputs)},
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = FM(FEATURES, dim=2, crossed=True)
    model.compile(SparseAdam(0.1), "binary_crossentropy", jit_compile=JIT)
    return model


@pytest.mark.parametrize("way", WAYS)
def test_right_ids_are_trained_on(model, way):
    given = WAYS[way](inputs_with())
    before = model.get_weights()
    fitted = model.fit(**given, shuffle=False, verbose=0)
    assert np.isfinite(fitted.history["loss"]).all()
    assert all((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))
    assert not isinstance(given["x"], Batches) or given["x"].ended


@pytest.mark.parametrize("way", WAYS)
def test_one_wrong_id_is_named_before_it_is_trained_on(model, way):
    inputs = inputs_with(WRONG["too large"][0], "int32")
    row = 6 if way in ("arrays", "tensors", "pandas") else 2  # of the array or the batch
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"id 16 of 'item' in row") as caught:
        model.fit(**WAYS[way](inputs), shuffle=False, verbose=0)
    assert str(caught.value) == (
        f"id 16 of 'item' in row {row} of input 'categorical': {RANGE}: take them from "
        "`features.pack` or prepared data"
    )
    for after, weights in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(after).all()
        assert row == 2 or (after == weights).all()  # a batch of right ids came before


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "method",
    ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch", "call"],
)
def test_every_method_refuses_every_wrong_id(model, method, wrong):
    value, message = WRONG[wrong]
    function = model if method == "call" else getattr(model, method)
    arguments = [some_labels(ROWS)] if method in ("fit", "evaluate", "train_on_batch") else []
    with pytest.raises(ValueError, match=message) as caught:
        function(inputs_with(value), *arguments)
    assert RANGE in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", ["arrays", "tf.data"])
def test_validation_data_are_checked(model, way):
    good, bad = (WAYS[way](inputs_with(wrong, "int32")) for wrong in (None, -1))
    validation = (bad["x"], bad["y"]) if way == "arrays" else bad["x"]
    with pytest.raises(ValueError, match="id -1 of 'item'"):
        model.fit(**good, validation_data=validation, verbose=0)


def test_a_stream_is_checked_as_it_comes_and_not_read_ahead(model):
    given = []

    def stream():
        while True:
            given.append(1)
            yield next(batches(inputs_with()))

    model.fit(stream(), steps_per_epoch=2, epochs=2, verbose=0)
    assert len(given) < 40  # Keras prefetches some


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("categorical", np.full((ROWS, 2), 1.7), "input 'categorical' is float64, but must be int"),
        ("categorical", np.full((ROWS, 2), True), "input 'categorical' is bool, but must be int"),
        ("categorical", np.full((ROWS, 2), "a"), "input 'categorical' is str32, but must be int"),
        ("categorical", np.ones((ROWS, 3), int), r"must be \(batch, 2\). Received: \(10, 3\)"),
        ("crossed", np.ones((ROWS, 1, 1), int), r"must be \(batch, 1\). Received: \(10, 1, 1\)"),
        ("numeric", np.full((ROWS, 1), "3.5"), "input 'numeric' is str96, but must be numbers"),
    ],
)
def test_what_would_be_cast_or_cut_in_silence_is_refused(model, name, values, message):
    inputs = inputs_with() | {name: values}
    embedding = FieldEmbedding(FEATURES, 2)
    embedding(inputs_with())
    for given in (model.predict, embedding):
        with pytest.raises(ValueError, match=message) as caught:
            given(inputs)
        assert "\n" not in str(caught.value)


def test_an_input_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"input 'numeric' is missing. Received: categorical"):
        FieldEmbedding(FEATURES, 2)({"categorical": np.zeros((2, 2), int)})


def test_one_row_and_one_column_without_its_axis(model):
    inputs = {name: values[:1] for name, values in inputs_with().items()}
    flat = inputs | {"crossed": inputs["crossed"][:, 0], "numeric": inputs["numeric"][:, 0]}
    another = FM(FEATURES, dim=2, crossed=True)  # or Keras on TensorFlow traces both ranks in one
    another.set_weights(model.get_weights())
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(another.predict(flat, verbose=0), expected, 1e-6)


class Own(RowTrainer, keras.Model):
    """A model with a `call`, and so without inputs before it is built."""

    def __init__(self):
        super().__init__()
        self.linear = LinearLogit(FEATURES)

    def call(self, inputs):
        return keras.ops.sigmoid(self.linear(inputs))


def test_a_subclass_is_checked_from_its_first_batch_on():
    model = Own()
    model.compile("sgd", "binary_crossentropy", jit_compile=JIT)
    with pytest.raises(ValueError, match="id -1 of 'item'"):
        model.fit(inputs_with(-1), some_labels(ROWS), verbose=0)
    model.fit(inputs_with(), some_labels(ROWS), verbose=0)


def test_a_list_of_inputs_is_checked_in_the_order_of_the_model():
    class Model(RowTrainer, keras.Model):
        pass

    inputs = feature_inputs(FEATURES)
    model = Model([*inputs.values()], FieldEmbedding(FEATURES, 2)(inputs))
    assert model.predict([inputs_with()[name] for name in inputs], verbose=0).any()
    with pytest.raises(ValueError, match="id -1 of 'item'"):
        model.predict([inputs_with(-1)[name] for name in inputs], verbose=0)


@pytest.fixture(scope="module")
def weighted():
    tags = MultiValued("tags", max_length=3, weight_separator=":")
    features = FeatureSet(tags, label=Label("click"), vocabulary_sizes={"tags": 5})
    return FM(features, dim=2), packed_inputs(features, ROWS)


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf])
@pytest.mark.parametrize("way", ["arrays", "tf.data", "generator"])
def test_a_wrong_weight_is_named(weighted, way, wrong):
    model, inputs = weighted
    weights = inputs["tags_weights"].copy()
    weights[1, 2] = wrong
    message = f"^weight {wrong} of 'tags' in row 1 of input 'tags_weights' is not a finite number"
    with pytest.raises(ValueError, match=message):
        model.predict(WAYS[way](inputs | {"tags_weights": weights})["x"], verbose=0)


def test_inputs_of_another_kind_and_the_same_name_are_no_ids():
    """Such as strings, or numbers that a layer turns into ids first."""

    class Model(RowTrainer, keras.Model):
        pass

    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 8})
    given = keras.Input((1,), name="categorical")  # float32
    ids = keras.ops.cast(given * 10, "int32")
    model = Model({"categorical": given}, FieldEmbedding(features, 2)({"categorical": ids}))
    assert model.predict({"categorical": np.array([[0.5]])}, verbose=0).any()


def test_a_layer_alone_refuses_wrong_ids_in_an_eager_call_and_not_in_a_graph():
    layer = FieldEmbedding(FEATURES, 2)
    with pytest.raises(ValueError, match="id 16 of 'item'"):
        layer(inputs_with(16))
    assert layer(feature_inputs(FEATURES)).shape == (None, 4, 2)


def test_on_jax_negative_ids_do_not_count_from_the_end():
    if keras.backend.backend() != "jax":
        pytest.skip("TensorFlow raises, or gives zeros")
    import jax

    layer = FieldEmbedding(FEATURES, 2, embeddings_initializer="ones")
    layer(inputs_with())
    for wrong in (-1, 16):
        output = np.array(jax.jit(layer)(inputs_with(wrong, "int32")))
        assert np.isnan(output[6, 1]).all()
        assert np.isfinite(np.delete(output, 6, axis=0)).all()


class WrongFirst(Batches):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.batches = self.batches[1:]


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_trained_model_goes_on_after_a_wrong_id(model, method):
    """Keras on JAX has taken the weights out of the model when a batch is asked for."""
    inputs = inputs_with()
    model.fit(inputs, some_labels(ROWS), verbose=0)
    before, scores = model.get_weights(), model.predict(inputs, verbose=0)
    with pytest.raises(ValueError, match="id 16 of 'item'"):
        getattr(model, method)(WrongFirst(inputs_with(16)), verbose=0)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), scores)
    model.fit(inputs, some_labels(ROWS), verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras on TensorFlow takes no such")
def test_a_dataset_without_shapes_is_checked(model):
    import tensorflow as tf

    data = list(batches(inputs_with(16)))
    types = tf.nest.map_structure(lambda values: values.dtype, data[0])
    dataset = tf.data.Dataset.from_generator(lambda: iter(data), output_types=types)
    with pytest.raises(ValueError, match="id 16 of 'item' in row 2"):
        model.fit(dataset, verbose=0)
