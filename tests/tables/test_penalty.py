"""The L2 penalty of the rows that a batch reads: what it is, whoever trains the tables."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.features import (
    Categorical,
    Crossed,
    FeatureSet,
    Label,
    MultiValued,
    Numeric,
    Sequence,
)
from ctr_keras.layers import CompactEmbedding, FieldEmbedding, RowTrainer, feature_inputs
from ctr_keras.models import FM
from ctr_keras.optimizers import (
    DenseAdam,
    SparseAdagrad,
    SparseAdam,
    SparseFtrl,
    SparseSGD,
)
from tests.optimizers.training import BY_ROWS, assert_same, summed, trained, weights
from tests.packed import FEW_STEPS, JIT, labels, packed_inputs
from tests.parameters import first_of

pytestmark = pytest.mark.backend

KERAS = keras.optimizers
LOG = FeatureSet(
    Categorical("user"),
    Numeric("price"),
    Categorical("item"),
    MultiValued("tags", max_length=3),
    Sequence("history", vocabulary_of="item", max_length=4),
    Crossed("user", "item"),
    label=Label("click"),
    vocabulary_sizes={"user": 9, "item": 9, "tags": 9, "user_x_item": 9},
)
L2 = 0.3


class Rows(RowTrainer, keras.Model):
    pass


def pooled(kind, layer):
    """A model of all that a layer reads, each field and each item of a sequence."""
    inputs = feature_inputs(LOG)
    fields, history = layer(inputs)
    vectors = keras.layers.Concatenate(axis=1)([fields, history])
    return kind(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(vectors)))


def moved(kind, optimizer, inputs, l2):
    """The weights of the embedding before and after a step, by name."""
    keras.utils.set_random_seed(1)
    layer = FieldEmbedding(LOG, 3, sequences=["history"], embeddings_initializer=0.5, l2=l2)
    model = pooled(kind, layer)
    model.compile(optimizer, "mse", **FEW_STEPS)
    before = {weight.name: ops.convert_to_numpy(weight).copy() for weight in layer.weights}
    model.fit(inputs, labels(len(inputs["tags"])), verbose=0)
    return before, {weight.name: ops.convert_to_numpy(weight) for weight in layer.weights}


TRAINERS = {
    "by rows": (Rows, lambda: SparseSGD(0.1)),
    "whole": (Rows, lambda: KERAS.SGD(0.1)),
    "whole, without the mixin": (keras.Model, lambda: KERAS.SGD(0.1)),
    "sparse, without the mixin": (keras.Model, lambda: SparseSGD(0.1)),
}


@pytest.mark.filterwarnings("ignore:.*dense gradient")
@pytest.mark.parametrize("trainer", TRAINERS)
def test_distinct_rows_that_are_read_decay_once_and_no_other(trainer):
    kind, optimizer = TRAINERS[trainer]
    inputs = packed_inputs(LOG, rows=4)
    inputs["history"][0] = inputs["categorical"][0, 1]  # an item that is read five times
    inputs["categorical"][1:, 0] = inputs["categorical"][0, 0]
    before, with_penalty = moved(kind, optimizer(), inputs, L2)
    _, without = moved(kind, optimizer(), inputs, 0.0)
    ids = np.concatenate([ids.ravel() for name, ids in inputs.items() if name != "numeric"])
    read = np.unique(ids[ids > 0])
    assert 0 in ids
    assert len(read) < min(len(ids), LOG.id_count - 1)
    decay = np.zeros((LOG.id_count, 1))
    decay[read] = 0.1 * 2 * L2
    np.testing.assert_allclose(
        with_penalty["table"] - without["table"], -decay * before["table"], 1e-4, 1e-6
    )
    vectors = "numeric_vectors"
    np.testing.assert_allclose(
        with_penalty[vectors] - without[vectors], -0.1 * 2 * L2 * before[vectors], 1e-4, 1e-6
    )
    if trainer == "by rows":
        untouched = np.setdiff1d(np.arange(LOG.id_count), read)
        np.testing.assert_array_equal(with_penalty["table"][untouched], before["table"][untouched])


EVERY_ROW = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 3})
PACKED = {"categorical": np.tile(np.arange(1, 5, dtype="int32"), 3)[:, None]}


def after_reading_every_row(optimizer, penalty, compiled=FEW_STEPS):
    """Rows 1 to 4 of both tables after steps that each read all of them."""
    keras.utils.set_random_seed(0)
    model = FM(EVERY_ROW, 2, embeddings_initializer=0.5, **penalty)
    for layer in (model.get_layer("embedding"), model.get_layer("linear").weighting):
        # Row 0 is not read: a dense penalty of it would count in the norm that is clipped.
        layer.table.assign(ops.convert_to_numpy(layer.table) * (np.arange(5) > 0)[:, None])
        layer.table.regularizer = None if penalty else keras.regularizers.L2(L2)
    model.compile(optimizer, "binary_crossentropy", **compiled)
    model.fit(PACKED, labels(12), batch_size=6, epochs=5, shuffle=False, verbose=0)
    return [value[1:] for value in weights(model).values() if len(value) == 5]


PAIRS = {
    "momentum": (SparseSGD, KERAS.SGD, {"momentum": 0.9}),
    "adagrad": (SparseAdagrad, KERAS.Adagrad, {}),
    "adam with decay": (SparseAdam, KERAS.Adam, {"weight_decay": 0.1}),
    "ftrl": (SparseFtrl, KERAS.Ftrl, {"l1_regularization_strength": 0.01}),
    "clipped": (SparseSGD, KERAS.SGD, {"global_clipnorm": 0.05, "use_ema": True}),
    "scaled": (SparseSGD, KERAS.SGD, {"loss_scale_factor": 8.0}),
}


@pytest.mark.parametrize("pair", first_of(PAIRS, 3))
def test_equals_the_dense_penalty_where_every_row_is_read(pair):
    ours, theirs, options = PAIRS[pair]
    penalty = {"embedding_l2": L2, "linear_l2": L2}
    compiled = {"jit_compile": JIT} if pair == "clipped" else FEW_STEPS
    sparse = after_reading_every_row(ours(0.1, **options), penalty, compiled)
    dense = after_reading_every_row(summed(theirs(0.1, **options)), {})
    assert len(sparse) == 2
    for one, other in zip(sparse, dense, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-6)


@BY_ROWS
def test_exact_updates_equal_those_of_whole_tables():
    penalty = {"embedding_l2": L2, "linear_l2": L2}
    sparse = trained(SparseAdam(0.01, exact=True, global_clipnorm=0.05), **penalty)
    dense = trained(DenseAdam(0.01, global_clipnorm=0.05), **penalty)
    assert_same(sparse, dense, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SparseSGD, KERAS.SGD])
def test_the_loss_that_fit_reports_is_without_it(optimizer):
    inputs = packed_inputs(LOG)
    keras.utils.set_random_seed(0)
    model = FM(LOG, embedding_l2=5.0, linear_l2=5.0, embeddings_initializer=0.5, crossed=True)
    model.compile(optimizer(0.0), "binary_crossentropy", **FEW_STEPS)
    assert model.losses == []
    given = {name: inputs[name] for name in inputs if name != "history"}
    (loss,) = model.fit(given, labels(), verbose=0).history["loss"]
    assert loss == pytest.approx(model.evaluate(given, labels(), verbose=0), rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*dense gradient")
def test_what_row_zero_holds_is_not_in_the_penalty():
    inputs = packed_inputs(LOG, rows=4)
    for optimizer in (SparseSGD(0.1, global_clipnorm=1.0), KERAS.SGD(0.1, global_clipnorm=1.0)):
        keras.utils.set_random_seed(0)
        layer = FieldEmbedding(LOG, 3, sequences=["history"], l2=L2)
        model = pooled(Rows, layer)
        values = ops.convert_to_numpy(layer.table).copy()
        values[0] = np.nan
        layer.table.assign(values)
        model.compile(optimizer, "mse", **FEW_STEPS)
        model.fit(inputs, labels(4), verbose=0)
        assert np.isfinite(ops.convert_to_numpy(layer.table)[1:]).all()


def test_a_saved_model_goes_on_with_it(tmp_path):
    inputs = {name: ids for name, ids in packed_inputs(LOG).items() if name != "history"}
    model = FM(LOG, 3, embedding_l2=L2, linear_l2=L2, embeddings_initializer=0.5, crossed=True)
    model.compile(SparseSGD(0.1), "binary_crossentropy", **FEW_STEPS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("embedding").l2 == loaded.get_layer("linear").l2 == L2
    for one in (model, loaded):
        one.fit(inputs, labels(), verbose=0)
    assert_same(loaded, model, rtol=1e-6, atol=1e-8)


def test_compact_tables_have_it():
    inputs = {name: ids for name, ids in packed_inputs(LOG).items() if name != "history"}
    tensors = {name: t for name, t in feature_inputs(LOG).items() if name != "history"}
    results = {}
    for l2 in (0.0, L2):
        keras.utils.set_random_seed(0)
        layer = CompactEmbedding(LOG, 4, {"user": [1]}, embeddings_initializer=0.5, l2=l2)
        flat = keras.layers.Flatten()(layer(tensors))
        model = Rows(tensors, keras.layers.Dense(1)(flat))
        model.compile(SparseSGD(0.1), "mse", **FEW_STEPS)
        model.fit(inputs, labels(), verbose=0)
        results[l2] = [ops.convert_to_numpy(weight) for weight in layer.weights]
    assert len(results[L2]) == 3  # tables of widths 1 and 4, and vectors of the number
    for some, other in zip(results[0.0], results[L2], strict=True):
        assert np.abs(some - other).max() > 1e-3


def test_a_frozen_int8_table_is_left_alone():
    inputs = {name: ids for name, ids in packed_inputs(LOG).items() if name != "history"}
    model = FM(LOG, 3, embedding_l2=L2, linear_l2=L2, crossed=True)
    model.quantize("int8")
    layer = model.get_layer("embedding")
    layer.trainable = False
    before = [ops.convert_to_numpy(weight) for weight in layer.weights]
    model.compile(SparseSGD(0.1), "binary_crossentropy", **FEW_STEPS)
    model.fit(inputs, labels(), verbose=0)
    for some, weight in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), some)


@BY_ROWS
def test_a_regularizer_of_a_whole_table_says_what_it_costs():
    layer = FieldEmbedding(
        LOG, 3, sequences=["history"], embeddings_regularizer=keras.regularizers.L2(L2)
    )
    model = pooled(Rows, layer)
    model.compile(SparseSGD(0.1), "mse", **FEW_STEPS)
    with pytest.warns(UserWarning, match=r"all rows of .*table in every step.* use `l2` \(of mod"):
        model.fit(packed_inputs(LOG), labels(), verbose=0)


def test_a_negative_penalty_is_refused():
    with pytest.raises(ValueError, match=r"l2 must not be negative. Received: -0.1"):
        FieldEmbedding(LOG, 3, l2=-0.1)
