"""Models of every kind with `RowTrainer`, and exact weights wherever someone looks."""

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import FieldEmbedding, RowTrainer, feature_inputs
from ctr_keras.models import FM
from ctr_keras.models.base import CTRModel
from ctr_keras.optimizers import RoutedOptimizer, SparseAdam, SparseSGD
from tests.optimizers.training import BY_ROWS, FEATURES, assert_same, batches, summed
from tests.packed import FEW_STEPS, JIT

pytestmark = pytest.mark.backend

BACKEND = keras.backend.backend()
OPTIMIZERS = keras.optimizers
TOLERANCE = {"rtol": 2e-4, "atol": 2e-6}
BATCHES = list(batches(8))
ONE_FIELD = FeatureSet(Categorical("c"), label=Label("y"), vocabulary_sizes={"c": 9})


def together(parts):
    """Inputs and labels of batches as one data set."""
    inputs, labels = zip(*parts, strict=True)
    return {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}, (
        np.concatenate(labels)
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="what TensorFlow traces")
@pytest.mark.parametrize(
    "optimizer",
    [SparseAdam, lambda: RoutedOptimizer(OPTIMIZERS.SGD(0.1), {"table": SparseAdam()})],
)
def test_a_model_that_was_trained_leaves_the_memory_with_its_step(optimizer):
    model = FM(ONE_FIELD, dim=2)
    model.compile(optimizer(), "binary_crossentropy", jit_compile=False)
    model.train_on_batch({"categorical": np.array([[2], [3]])}, np.array([[0.0], [1.0]]))
    table = weakref.ref(model.get_layer("embedding").table.value.handle)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert table() is None


def exact_adam():
    return SparseAdam(0.02, epsilon=1e-9, exact=True)


def dense_adam():
    return summed(OPTIMIZERS.Adam(0.02, epsilon=1e-9))


def compiled(optimizer, model=None, how=FEW_STEPS):
    if model is None:
        keras.utils.set_random_seed(4)
        model = FM(FEATURES, dim=4, embeddings_initializer="random_normal")
    model.compile(optimizer, "binary_crossentropy", **how)
    return model


class Onlooker(keras.callbacks.Callback):
    """Notes the weights that it finds, between two batches through the model's methods."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            self.seen += [self.model.predict(BATCHES[0][0], verbose=0), *self.model.get_weights()]

    def on_epoch_end(self, epoch, logs=None):
        self.seen += [ops.convert_to_numpy(weight) for weight in self.model.weights]

    on_train_end = lambda self, logs=None: self.on_epoch_end(0)  # noqa: E731


def fitted(optimizer, folder):
    """What validation and callbacks have seen of a `fit`, and the weights that it leaves."""
    model, onlooker = compiled(optimizer, how={"jit_compile": JIT}), Onlooker()
    inputs, labels = together(BATCHES)
    history = model.fit(
        inputs,
        labels,
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_data=together(batches(8, seed=1)),
        callbacks=[
            onlooker,
            *(
                keras.callbacks.ModelCheckpoint(
                    folder / f"{name}.weights.h5", save_weights_only=True, save_freq=frequency
                )
                for name, frequency in (("{epoch}", "epoch"), ("{epoch}-{batch}", 5))
            ),
            keras.callbacks.BackupAndRestore(folder, save_freq=3, delete_checkpoint=False),
            keras.callbacks.EarlyStopping(
                "loss", mode="max", patience=9, restore_best_weights=True
            ),
        ],
        verbose=0,
    ).history
    assert history["loss"][0] > history["loss"][1]  # so that the first epoch is "best"
    seen = {"validation": history["val_loss"], "callback": onlooker.seen}
    saved = FM(FEATURES, dim=4)
    for file in folder.glob("*.weights.h5"):
        saved.load_weights(file)
        seen[file.name] = saved.get_weights()
    assert len(seen) == 2 + (2 + 3 + 1)
    return seen | {"best": [ops.convert_to_numpy(weight) for weight in model.weights]}


def assert_seen_alike(found, expected):
    assert found.keys() == expected.keys()
    for place, values in found.items():
        for ours, theirs in zip(values, expected[place], strict=True):
            np.testing.assert_allclose(ours, theirs, **TOLERANCE, err_msg=place)


def test_validation_and_callbacks_see_what_dense_training_shows(tmp_path):
    (tmp_path / "exact").mkdir()
    (tmp_path / "dense").mkdir()
    assert_seen_alike(
        fitted(exact_adam(), tmp_path / "exact"), fitted(dense_adam(), tmp_path / "dense")
    )


def loaded(path):
    return keras.saving.load_model(path, compile=False).get_weights()


def looks(folder):
    """All ways to look at a model after single steps, each of which gives arrays."""
    (inputs, labels), file = BATCHES[0], folder / "model.keras"
    ways = {
        "get_weights": lambda model: model.get_weights(),
        "evaluate": lambda model: [model.evaluate(inputs, labels, verbose=0)],
        "predict": lambda model: [model.predict(inputs, verbose=0)],
        "test_on_batch": lambda model: [model.test_on_batch(inputs, labels)],
        "predict_on_batch": lambda model: [model.predict_on_batch(inputs)],
        "save": lambda model: [model.save(file), *loaded(file)][1:],
        "save_model": lambda model: [keras.saving.save_model(model, file), *loaded(file)][1:],
        "state": lambda model: keras.tree.flatten(
            model.get_state_tree("numpy_array")["trainable_variables"]
        ),
    }

    def weights_file(model):
        model.save_weights(folder / "w.weights.h5")
        other = FM(FEATURES, dim=4)
        other.load_weights(folder / "w.weights.h5")
        return other.get_weights()

    def exported(model):
        import tensorflow as tf

        model.export(folder / "exported", verbose=False)
        server = tf.saved_model.load(folder / "exported")
        return [server.serve(inputs)]

    ways["save_weights"] = weights_file
    if BACKEND == "tensorflow":
        ways["export"] = exported
    return ways


def test_after_single_steps_all_methods_see_what_dense_training_shows(tmp_path):
    exact, dense = compiled(exact_adam()), compiled(dense_adam())
    for number, (way, look) in enumerate(looks(tmp_path).items()):
        for model in (exact, dense):
            model.train_on_batch(*BATCHES[number % len(BATCHES)])
        assert_seen_alike({way: look(exact)}, {way: look(dense)})


def test_weights_that_are_set_do_not_make_up_for_earlier_steps():
    exact, dense = compiled(exact_adam()), compiled(dense_adam())
    start = exact.get_weights()
    for model in (exact, dense):
        for batch in BATCHES[:3]:
            model.train_on_batch(*batch)
        model.set_weights(start)
        model.train_on_batch(*BATCHES[3])
    exact.catch_up()
    assert_same(exact, dense, **TOLERANCE)


def test_a_list_of_callbacks_is_taken_as_it_is():
    model, seen = compiled(SparseAdam(0.05, exact=True)), Onlooker()
    given = keras.callbacks.CallbackList([seen], add_history=True, model=model)
    model.fit(*together(BATCHES[:2]), batch_size=8, callbacks=given, verbose=0)
    assert seen.seen
    assert model.history.epoch == [0]


# Kinds of models.


@keras.saving.register_keras_serializable("test_trainer")
class Subclass(RowTrainer, keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.embedding = FieldEmbedding(ONE_FIELD, 4, embeddings_initializer="random_normal")
        self.score = keras.layers.Dense(1, activation="sigmoid")

    def build(self, shape):  # so that Keras can load it
        self.embedding.build(shape)
        self.score.build((None, 4))

    def call(self, inputs):
        return self.score(self.embedding(inputs)[:, 0])


@keras.saving.register_keras_serializable("test_trainer")
class Functional(RowTrainer, keras.Model):
    pass


@keras.saving.register_keras_serializable("test_trainer")
class Stack(RowTrainer, keras.Sequential):
    pass


def functional():
    tensors = feature_inputs(ONE_FIELD)
    vectors = FieldEmbedding(ONE_FIELD, 4, embeddings_initializer="random_normal")(tensors)
    vectors = keras.layers.Flatten()(vectors)
    return Functional(tensors, keras.layers.Dense(1, activation="sigmoid")(vectors))


def stack():
    return Stack(
        [
            FieldEmbedding(ONE_FIELD, 4, embeddings_initializer="random_normal"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


KINDS = {"subclass": Subclass, "functional": functional, "sequential": stack}
STEPS = [({"categorical": np.array([[row], [row], [row + 1]])}, np.ones((3, 1))) for row in (2, 5)]


def trained(kind, optimizer):
    """A model of a kind, from an unbuilt one on, where it is one."""
    keras.utils.set_random_seed(3)
    model = compiled(optimizer, KINDS[kind]())
    model.fit(*together(STEPS), batch_size=3, epochs=2, shuffle=False, verbose=0)
    return model


def assert_goes_on_from_a_file(model, path):
    model.save(path)
    again = keras.saving.load_model(path)
    assert type(again) is type(model)
    for one in (model, again):
        one.fit(*STEPS[1], verbose=0)
    assert_seen_alike({"again": again.get_weights()}, {"again": model.get_weights()})


@pytest.mark.parametrize("kind", KINDS)
@BY_ROWS
def test_every_kind_of_model_trains_the_rows_that_are_read_alone(kind, tmp_path):
    model, start = trained(kind, SparseAdam(0.02)), trained(kind, SparseSGD(0.0))
    moved = model.get_weights()[0] != start.get_weights()[0]
    np.testing.assert_array_equal(np.flatnonzero(moved.any(axis=1)), [2, 3, 5, 6])
    assert_goes_on_from_a_file(model, tmp_path / "model.keras")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_trains_exactly(kind, tmp_path):
    model = trained(kind, exact_adam())
    assert_seen_alike(
        {kind: model.get_weights()}, {kind: trained(kind, dense_adam()).get_weights()}
    )
    assert_goes_on_from_a_file(model, tmp_path / "model.keras")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX traces once")
@pytest.mark.parametrize("make", [SparseAdam, exact_adam, keras.optimizers.Adam])
def test_a_step_is_traced_once(make):
    traced = []

    class Counted(Functional):
        def train_step(self, data):
            traced.append(data)
            return super().train_step(data)

    model = functional()
    model = compiled(make(), Counted(model.input, model.output), how={"jit_compile": JIT})
    model.fit(*together(STEPS), batch_size=3, verbose=0)
    assert len(traced) == 1


def test_a_table_that_no_batch_reads_stays():
    class Idle(Subclass):
        def build(self, shape):
            super().build(shape)
            self.idle = FieldEmbedding(ONE_FIELD, 4)
            self.idle.build(shape)

    model = compiled(SparseAdam(0.05), Idle())
    model.build({"categorical": (None, 1)})
    before = ops.convert_to_numpy(model.idle.table)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")
        model.fit(*STEPS[0], verbose=0)
    np.testing.assert_array_equal(model.idle.table, before)


@pytest.mark.parametrize("after_a_builder", [False, True])
def test_a_ctr_model_with_a_call_is_referred_to_the_mixin(after_a_builder):
    if after_a_builder:
        FM(ONE_FIELD)
    with pytest.raises(TypeError, match=r"write `class Mine\(RowTrainer, keras\.Model\)`"):

        class Mine(CTRModel):
            def call(self, inputs):
                return inputs


def test_a_ctr_model_has_functional_subclasses_and_its_old_name():
    class Mine(CTRModel):
        pass

    model = FM(ONE_FIELD)
    assert Mine(model.input, model.output).output_shape == (None, 1)
    assert keras.saving.get_registered_name(CTRModel) == "ctr_keras>CTRModel"


# Models without the mixin.


def plain(optimizer, model):
    """A model without the mixin after a step of `fit`."""
    model = keras.Model(model.input, model.output)
    model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
    model.fit(*STEPS[0], verbose=0)
    return model


@pytest.mark.skipif(BACKEND != "tensorflow", reason="gradients are dense on JAX without the mixin")
@pytest.mark.parametrize(
    "optimizer",
    [exact_adam, lambda: RoutedOptimizer("adam", {"table": exact_adam()})],
    ids=["alone", "routed"],
)
def test_exact_without_the_mixin_is_refused(optimizer):
    with pytest.raises(ValueError, match=r"exact=True .*RowTrainer, keras\.Model.*do without"):
        plain(optimizer(), FM(ONE_FIELD))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a loop of TensorFlow's")
def test_exact_in_a_loop_of_ones_own_is_refused():
    import tensorflow as tf

    model, optimizer = FM(ONE_FIELD), exact_adam()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(STEPS[0][0]))
    gradients = tape.gradient(loss, model.trainable_variables)
    with pytest.raises(ValueError, match="rows that have not caught up"):
        optimizer.apply(gradients, model.trainable_variables)


AROUND = {
    "alone": lambda optimizer: optimizer,
    "routed": lambda optimizer: RoutedOptimizer("sgd", {".": optimizer}),
}
if hasattr(OPTIMIZERS, "MultiOptimizer"):  # in later versions of Keras
    AROUND["multi"] = lambda one: OPTIMIZERS.MultiOptimizer(OPTIMIZERS.OptimizerMap(one))


def trained_twice(optimizer):
    model = plain(optimizer, FM(ONE_FIELD))
    model.compile(optimizer, "mse")
    model.fit(*STEPS[0], verbose=0)


@pytest.mark.skipif(BACKEND != "jax", reason="gradients are sparse on TensorFlow without the mixin")
@pytest.mark.parametrize("around", AROUND)
def test_a_dense_gradient_without_the_mixin_is_warned_of_once(around):
    with pytest.warns(UserWarning, match=r"dense gradient.*`class Model\(RowTrainer") as warned:
        trained_twice(AROUND[around](SparseAdam(0.05)))
    assert len([one for one in warned if "dense gradient" in str(one.message)]) == 1


@pytest.mark.parametrize("change", ["frozen", "penalized", "mixin"])
def test_there_is_no_warning_where_a_dense_gradient_is_right(change):
    model = FM(ONE_FIELD)
    for layer in (model.get_layer("embedding"), model.get_layer("linear").weighting):
        layer.trainable = change != "frozen"
        layer.table.regularizer = keras.regularizers.L2(0.1) if change == "penalized" else None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*dense gradient.*")
        if change == "mixin":
            compiled(SparseAdam(0.05), model).fit(*STEPS[0], verbose=0)
        else:
            plain(SparseAdam(0.05), model)


# What Keras' `fit` can do.


def as_by_keras(build, *data, how=FEW_STEPS, **options):
    """The weights after `fit` with `SparseSGD`, which are those after Keras' SGD."""
    results = []
    for optimizer in (SparseSGD(0.5), OPTIMIZERS.SGD(0.5)):
        keras.utils.set_random_seed(4)
        model = build()
        model.compile(optimizer, "binary_crossentropy", **how)
        model.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0, **options)
        results.append(model.get_weights())
    assert_seen_alike({"weights": results[0]}, {"weights": results[1]})
    return np.concatenate([weights.ravel() for weights in results[0]])


def test_weights_of_classes_and_samples_and_steps_per_execution_are_those_of_keras():
    steps = 1 if BACKEND == "torch" else 4  # of which Keras has one there
    options = [
        {"how": {"jit_compile": JIT, "steps_per_execution": steps}},
        {"class_weight": {0: 1.0, 1: 3.0}},
        {"sample_weight": np.linspace(0, 2, 32)},
    ]

    def build():
        return FM(FEATURES, dim=4, embeddings_initializer="random_normal")

    found = [as_by_keras(build, *together(BATCHES[:4]), **one) for one in options]
    assert len({values.tobytes() for values in found}) == 3


def two_towers():
    """Two heads on a table that is read by two layers' calls."""
    tensors = feature_inputs(FEATURES)
    shared = FieldEmbedding(FEATURES, 4, embeddings_initializer="random_normal")
    shifted = {name: ops.where(ids > 1, ids - 1, ids) for name, ids in tensors.items()}
    flat = [keras.layers.Flatten()(shared(one)) for one in (tensors, shifted)]
    heads = {
        name: keras.layers.Dense(1, activation="sigmoid", name=name)(vectors)
        for name, vectors in zip(("click", "buy"), flat, strict=True)
    }
    return Functional(tensors, heads)


def test_heads_and_shared_tables_train_as_in_keras():
    inputs, labels = together(BATCHES[:4])
    as_by_keras(two_towers, inputs, {"click": labels, "buy": 1 - labels})
