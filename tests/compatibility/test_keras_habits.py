"""What users of Keras do with any model, done with those of this library and `SparseAdam`."""

import hashlib

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.layers import FieldEmbedding, RowTrainer, feature_inputs
from ctr_keras.models import FM, DeepFM
from ctr_keras.models.base import CTRModel
from ctr_keras.optimizers import SparseAdam
from tests.packed import FEW_STEPS, labels, packed_inputs
from tests.parameters import first_of
from tests.processes import in_another_process

pytestmark = pytest.mark.backend

FEATURES = FeatureSet(
    Categorical("a"),
    Categorical("b"),
    Categorical("c", vocabulary_of="a"),
    label=Label("y"),
    vocabulary_sizes={"a": 6, "b": 4},
)
INPUTS, CLICKS = packed_inputs(FEATURES, 12), labels(12)
IS_JAX = keras.backend.backend() == "jax"
COMPILED = {"run_eagerly": False, "jit_compile": IS_JAX}
EAGER = {"run_eagerly": True, "jit_compile": False}


def compiled(model=None, **options):
    model = model or FM(FEATURES, dim=2)
    options = {"optimizer": SparseAdam(0.05), **FEW_STEPS, **options}
    model.compile(loss=options.pop("loss", "binary_crossentropy"), **options)
    return model


def fitted(*arguments, model=None, compile_options=None, **options):
    """The weights after `fit` from weights that are always the same."""
    keras.utils.set_random_seed(0)
    model = compiled(model() if model else None, **(compile_options or {}))
    data = arguments or (INPUTS, CLICKS)
    model.fit(*data, **{"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **options})
    return weights(model)


def weights(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def assert_same(found, expected, tolerance=1e-6):
    for mine, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, its, atol=tolerance, rtol=1e-5)


def test_sample_weights_of_zero_leave_rows_out():
    weight = np.repeat([1.0, 0.0], 6).astype("float32")[:, None]
    halves = fitted(batch_size=12, sample_weight=weight, epochs=1)
    scaled = {name: value[:6] for name, value in INPUTS.items()}
    # The loss is a mean over all rows of the batch: half as much weight is half the gradient.
    half = np.full((6, 1), 0.5, "float32")
    assert_same(
        halves, fitted(scaled, CLICKS[:6], sample_weight=half, batch_size=6, epochs=1), 1e-4
    )


def test_class_weights_are_sample_weights():
    weight = np.where(CLICKS == 1, 3.0, 0.5).astype("float32")
    by_class = fitted(class_weight={0: 0.5, 1: 3.0})
    assert_same(by_class, fitted(sample_weight=weight))
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(by_class, fitted(), strict=True))


def test_eager_is_compiled():
    eager, compiled = (fitted(compile_options=one, epochs=1) for one in (EAGER, COMPILED))
    assert_same(eager, compiled)


def test_several_steps_in_one_execution():
    assert_same(fitted(compile_options=COMPILED | {"steps_per_execution": 3}), fitted())


def test_batches_of_one_and_partial_ones():
    one = fitted(batch_size=1, epochs=1)
    by_hand = compiled_from_seed()
    for row in range(12):
        by_hand.train_on_batch({"categorical": INPUTS["categorical"][[row]]}, CLICKS[[row]])
    assert_same(one, weights(by_hand))
    partial = fitted(batch_size=5, epochs=1)
    by_hand = compiled_from_seed()
    for rows in (slice(0, 5), slice(5, 10), slice(10, 12)):
        by_hand.train_on_batch({"categorical": INPUTS["categorical"][rows]}, CLICKS[rows])
    assert_same(partial, weights(by_hand))


def compiled_from_seed():
    keras.utils.set_random_seed(0)
    return compiled()


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return {"categorical": INPUTS["categorical"][rows]}, CLICKS[rows]


def test_reads_a_tf_dataset_and_a_pydataset():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, CLICKS)).batch(4)
    expected = fitted()
    assert_same(fitted(dataset, batch_size=None), expected)
    assert_same(fitted(Batches(), batch_size=None), expected)


def test_reads_a_data_frame():
    pandas = pytest.importorskip("pandas")
    names = ["a", "b", "c"]
    frame = pandas.DataFrame(INPUTS["categorical"], columns=names).astype("int32")
    clicks = pandas.Series(CLICKS[:, 0])
    assert_same(fitted({"categorical": frame}, clicks), fitted())


def test_a_frozen_layer_stays_and_the_rest_learns():
    model = compiled_from_seed()
    model.get_layer("embedding").trainable = False
    compiled(model)
    before = {weight.path: ops.convert_to_numpy(weight) for weight in model.weights}
    model.fit(INPUTS, CLICKS, verbose=0)
    moved = {w.path for w in model.weights if (ops.convert_to_numpy(w) != before[w.path]).any()}
    assert "embedding/table" not in moved
    assert moved


def test_two_heads_share_a_table():
    """A functional model of one's own: two tasks, one table that is looked up twice."""

    def two_heads():
        inputs = feature_inputs(FEATURES)
        fields = FieldEmbedding(FEATURES, 2, name="embedding")
        flat = keras.layers.Flatten()(fields(inputs))
        heads = {
            name: keras.layers.Dense(1, "sigmoid", name=name)(keras.layers.Dense(3)(flat))
            for name in ("click", "buy")
        }
        return CTRModel(inputs, heads)

    loss = {"click": "binary_crossentropy", "buy": "mse"}
    options = {"loss": loss, "loss_weights": {"click": 1.0, "buy": 0.5}}
    both = (INPUTS, {"click": CLICKS, "buy": 1 - CLICKS})
    trained = fitted(*both, model=two_heads, compile_options=options)
    by_adam = options | {"optimizer": keras.optimizers.Adam(0.0)}
    untrained = fitted(*both, model=two_heads, compile_options=by_adam)
    for mine, start in zip(trained, untrained, strict=True):
        assert (mine != start).any()


@keras.saving.register_keras_serializable(package="tests")
class TwoTowers(RowTrainer, keras.Model):
    """A subclass with a `call`: one layer, and so one table, for users and for items."""

    def __init__(self, **options):
        super().__init__(**options)
        self.fields = FieldEmbedding(FEATURES, 2)

    def build(self, input_shape):
        self.fields.build(input_shape["left"])

    def call(self, inputs):
        left, right = self.fields(inputs["left"]), self.fields(inputs["right"])
        return ops.sigmoid(ops.sum(left * right, axis=(1, 2)))[:, None]


def test_towers_share_a_table(tmp_path):
    inputs = {"left": INPUTS, "right": {"categorical": INPUTS["categorical"][::-1].copy()}}
    keras.utils.set_random_seed(0)
    model = compiled(TwoTowers())
    first, last = (
        model.fit(inputs, CLICKS, epochs=9, verbose=0).history["loss"][at] for at in (0, -1)
    )
    assert last < first
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0), 1e-6
    )


@keras.saving.register_keras_serializable(package="tests")
class Halved(CTRModel):
    """A subclass of the functional model with a loss of its own."""

    def compute_loss(self, *arguments, **options):
        return super().compute_loss(*arguments, **options) / 2


def test_a_functional_subclass_has_its_own_loss(tmp_path):
    def halved():
        model = FM(FEATURES, dim=2)
        return Halved(model.inputs, model.outputs)

    sgd = {"optimizer": keras.optimizers.SGD(0.2)}
    found = fitted(model=halved, compile_options=sgd, epochs=1)
    sgd = {"optimizer": keras.optimizers.SGD(0.1)}
    assert_same(found, fitted(compile_options=sgd, epochs=1))
    model = halved()
    model.save(tmp_path / "model.keras")
    assert isinstance(keras.saving.load_model(tmp_path / "model.keras"), Halved)


def test_a_clone_is_of_the_class_and_learns_by_itself():
    model = compiled_from_seed()
    clone = keras.models.clone_model(model)
    assert type(clone) is CTRModel
    clone.set_weights(model.get_weights())
    before = weights(model)
    compiled(clone).fit(INPUTS, CLICKS, verbose=0)
    assert_same(weights(model), before, 0)
    assert any((a != b).any() for a, b in zip(weights(clone), before, strict=True))


@pytest.mark.parametrize("exact", first_of([True, False]))
def test_a_backup_goes_on_bit_for_bit(tmp_path, exact):
    class Killed(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(epochs=4, callbacks=(), **options):
        keras.utils.set_random_seed(0)
        # Without dropout, whose seed Keras does not back up.
        model = DeepFM(FEATURES, dim=2, hidden=[3], dropout=0.0)
        compiled(model, optimizer=SparseAdam(exact=exact))
        options = {"batch_size": 4, "shuffle": False, "verbose": 0}
        model.fit(INPUTS, CLICKS, epochs=epochs, callbacks=list(callbacks), **options)
        return weights(model)

    whole = fit()
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(callbacks=[backup, Killed()])
    resumed = fit(callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
    assert_same(resumed, whole, 1e-6 if exact else 0)


def digest():
    """Of the weights of a model with dropout after `fit` with shuffling."""
    model = {"model": lambda: DeepFM(FEATURES, dim=2, hidden=[4], hidden_dropout=0.5)}
    trained = fitted(shuffle=True, **model)
    return hashlib.sha256(b"".join(weight.tobytes() for weight in trained)).hexdigest()


@pytest.mark.own_draws
def test_the_same_seed_gives_the_same_bits_in_another_process():
    assert in_another_process(digest) == digest()


def test_keras_tuner_finds_its_way(tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")

    def build(choices):
        rate = choices.Choice("rate", [1e-6, 0.1])
        return compiled(FM(FEATURES, dim=2), optimizer=SparseAdam(rate))

    tuner = keras_tuner.GridSearch(build, "loss", directory=tmp_path)
    tuner.search(INPUTS, CLICKS, epochs=5, verbose=0)
    assert tuner.get_best_hyperparameters()[0].get("rate") == 0.1
    (best,) = tuner.get_best_models(1)
    assert best.evaluate(INPUTS, CLICKS, verbose=0) < 0.7


def test_optuna_finds_its_way():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def loss(trial):
        rate = trial.suggest_categorical("rate", [1e-6, 0.1])
        keras.utils.set_random_seed(0)
        model = compiled(FM(FEATURES, dim=2), optimizer=SparseAdam(rate))
        return model.fit(INPUTS, CLICKS, epochs=5, verbose=0).history["loss"][-1]

    sampler = optuna.samplers.GridSampler({"rate": [1e-6, 0.1]})
    study = optuna.create_study(sampler=sampler)
    study.optimize(loss, n_trials=2)
    assert study.best_params == {"rate": 0.1}
