"""Runs a combination end to end: train, see to the callback, quantize, save, load, compare."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import keras
import numpy as np

from tests.compatibility.axes import MODES, OPTIMIZERS, SCALE, Combination
from tests.models.variants import FEATURES, INT8_TOLERANCES, build, features_of
from tests.packed import called, inputs_of, labels, packed_inputs

RATE = 0.01
ROWS = 8
# Of scores: how exactly another runtime computes in a precision what Keras does.
TOLERANCE = {"float32": 1e-5, "int8": 1e-3, "mixed_bfloat16": 2e-2, "mixed_float16": 2e-3}
# Of scores, int8 against float32; Keras 3.12 rounds what goes into dense layers as well.
QUANTIZED = 0.01 if hasattr(keras.quantizers, "Int8QuantizationConfig") else 0.02
# Attention over fields after a few large steps: .0111 was seen.
QUANTIZED_OF = {**INT8_TOLERANCES, "AutoInt": 0.02}


def run(combination: Combination, folder: pathlib.Path) -> None:
    """Runs a combination.

    Args:
        combination: values of all axes.
        folder: an empty one.

    Raises:
        Exception: what refuses the combination.
        AssertionError: where something was accepted and went wrong.
    """
    keras.utils.set_random_seed(0)
    trial = Trial(combination, folder)
    with _policy("float32" if trial.is_quantized else combination.precision):
        model = CALLBACKS[combination.callback](trial)
        if trial.is_quantized:
            expected = trial.scores(model)
            model.quantize("int8")
            tolerance = QUANTIZED_OF.get(combination.model, QUANTIZED)
            np.testing.assert_allclose(trial.scores(model), expected, atol=tolerance)
        SAVES[combination.save](trial, model)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Trial:
    """A combination with its data, and the steps that callbacks and formats are tried with."""

    def __init__(self, combination: Combination, folder: pathlib.Path) -> None:
        self.combination = combination
        self.folder = folder
        self.is_quantized = combination.precision == "int8"
        self.rate: object = RATE  # or a schedule
        self.inputs = packed_inputs(FEATURES, ROWS)
        self.labels = labels(ROWS, count=len(features_of(combination.model).tasks))

    def compiled(self) -> keras.Model:
        """A new model, compiled with a new optimizer."""
        model = build(self.combination.model)
        optimizer = OPTIMIZERS[self.combination.optimizer](self.rate)
        if (
            self.combination.precision == "mixed_float16"
            and "Scale" not in type(optimizer).__name__
        ):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, SCALE)
        model.compile(optimizer, "binary_crossentropy", **MODES[self.combination.mode])
        self.inputs = inputs_of(model, self.inputs)
        return model

    def fitted(self, *callbacks: keras.callbacks.Callback, validate=False):
        """A model after two epochs of a step each, and the history."""
        model = self.compiled()
        before = weights(model)
        data = (self.inputs, self.labels) if validate else None
        history = self.fit(model, *callbacks, epochs=2, validation_data=data)
        after = weights(model)
        assert all(np.isfinite(value).all() for value in after), "weights are not finite"
        moved = [(old != new).any() for old, new in zip(before, after, strict=True)]
        assert any(moved), "no weight has moved"
        return model, history

    def fit(self, model, *callbacks, **options):
        """What `fit` returns; all losses are finite."""
        history = model.fit(
            *(self.inputs, self.labels),
            **{"batch_size": ROWS, "shuffle": False, "verbose": 0},
            callbacks=list(callbacks),
            **options,
        ).history
        assert np.isfinite(history["loss"]).all(), history
        return history

    def loss(self, model) -> float:
        return model.evaluate(self.inputs, self.labels, batch_size=ROWS, verbose=0)

    def scores(self, model) -> np.ndarray:
        is_eager = self.combination.mode == "eager"
        scores = np.array(model(self.inputs) if is_eager else called(model, self.inputs))
        assert np.isfinite(scores).all(), "scores are not finite"
        return scores

    def assert_scores(self, scores, model) -> None:
        """Checks scores of a saved form against the model's."""
        tolerance = TOLERANCE[self.combination.precision]
        np.testing.assert_allclose(scores, self.scores(model), atol=tolerance)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def assert_same_weights(model, expected, tolerance=0.0) -> None:
    for weight, value in zip(model.weights, expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=tolerance, rtol=0, err_msg=weight.path)


def rates(optimizer) -> list[float]:
    """The learning rate, or those of all optimizers of one that has several.

    The callbacks of Keras 3.12 reach the first of several alone.
    """
    optimizers = getattr(optimizer, "optimizers", [optimizer])
    optimizers = optimizers if hasattr(keras.optimizers, "MultiOptimizer") else [optimizer]
    return [float(optimizer.learning_rate) for optimizer in optimizers]


# Callbacks: each returns a trained model.


def _learning_rate_scheduler(trial):
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1))
    model, _ = trial.fitted(callback)
    np.testing.assert_allclose(rates(model.optimizer), RATE / 2, 1e-6)
    return model


def _reduce_on_plateau(trial):
    """No loss is better by a hundred."""
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100)
    model, _ = trial.fitted(plateau)
    np.testing.assert_allclose(rates(model.optimizer), RATE / 2, 1e-6)
    return model


def _schedule(trial):
    """Two steps, or one where two optimizers take turns."""
    trial.rate = keras.optimizers.schedules.ExponentialDecay(RATE, decay_steps=1, decay_rate=0.5)
    model, _ = trial.fitted()
    for rate in rates(getattr(model.optimizer, "inner_optimizer", model.optimizer)):
        assert any(np.isclose(rate, RATE / 2**steps) for steps in (1, 2)), rate
    return model


def _model_checkpoint(trial):
    path = trial.folder / "checkpoint.keras"
    model, _ = trial.fitted(keras.callbacks.ModelCheckpoint(path))
    saved = keras.saving.load_model(path)
    np.testing.assert_allclose(trial.scores(saved), trial.scores(model), atol=1e-6)
    return model


def _tensorboard(trial):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    model, history = trial.fitted(keras.callbacks.TensorBoard(trial.folder / "logs"))
    events = event_accumulator.EventAccumulator(str(trial.folder / "logs" / "train"))
    events.Reload()
    written = [
        tensor_util.make_ndarray(event.tensor_proto) for event in events.Tensors("epoch_loss")
    ]
    np.testing.assert_allclose(written, history["loss"], 1e-6)
    return model


class _FirstIsBest(keras.callbacks.Callback):
    """Says that the first epoch was the best, and remembers its weights."""

    def on_epoch_end(self, epoch, logs):
        logs["quality"] = -epoch
        if epoch == 0:
            self.weights = weights(self.model)


def _early_stopping(trial):
    """The best weights are back, and their loss is what validation has said."""
    first = _FirstIsBest()
    stop = keras.callbacks.EarlyStopping("quality", mode="max", restore_best_weights=True)
    model, history = trial.fitted(first, stop, validate=True)
    assert_same_weights(model, first.weights)
    np.testing.assert_allclose(trial.loss(model), history["val_loss"][0], 1e-5)
    return model


def _backup_and_restore(trial):
    """A second model goes on where the first one was after an epoch."""
    folder = trial.folder / "backup"
    backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    model = trial.compiled()
    trial.fit(model, backup, epochs=1)
    trial.fit(model, epochs=2, initial_epoch=1)
    resumed = trial.compiled()
    history = trial.fit(resumed, keras.callbacks.BackupAndRestore(folder), epochs=2)
    assert len(history["loss"]) == 1, "the first epoch was trained again"
    assert_same_weights(resumed, weights(model), 1e-6)
    return resumed


CALLBACKS: dict[str, Callable[[Trial], keras.Model]] = {
    "LearningRateScheduler": _learning_rate_scheduler,
    "ReduceLROnPlateau": _reduce_on_plateau,
    "schedule": _schedule,
    "ModelCheckpoint": _model_checkpoint,
    "TensorBoard": _tensorboard,
    "EarlyStopping": _early_stopping,
    "BackupAndRestore": _backup_and_restore,
}


# Saved forms: each is loaded again and scores as the model does.


def _weights(trial, model):
    path = trial.folder / "model.weights.h5"
    model.save_weights(path)
    other = trial.compiled()
    if trial.is_quantized:
        other.quantize("int8")
    other.load_weights(path)
    trial.assert_scores(trial.scores(other), model)


def _keras(trial, model):
    model.save(trial.folder / "model.keras")
    loaded = keras.saving.load_model(trial.folder / "model.keras")
    trial.assert_scores(trial.scores(loaded), model)


def _saved_model(trial, model):
    import tensorflow as tf

    model.export(trial.folder / "saved_model", verbose=False)
    loaded = tf.saved_model.load(str(trial.folder / "saved_model"))
    trial.assert_scores(loaded.serve(trial.inputs).numpy(), model)


def _checkpoint(trial, model):
    """With the optimizer: the next step is the same."""
    import tensorflow as tf

    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(trial.folder / "c")
    other = trial.compiled()
    other.optimizer.build(other.trainable_variables)
    if trial.is_quantized:
        other.quantize("int8")
    restored = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    restored.assert_existing_objects_matched()
    trial.assert_scores(trial.scores(other), model)
    if not trial.is_quantized:
        for one in (model, other):
            one.train_on_batch(trial.inputs, trial.labels)
        assert_same_weights(other, weights(model), 1e-7)


def _onnx(trial, model):
    import onnxruntime

    path = str(trial.folder / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    trial.assert_scores(session.run(None, trial.inputs)[0], model)


def _litert(trial, model):
    from ai_edge_litert.interpreter import Interpreter

    path = str(trial.folder / "model.tflite")
    model.export(path, format="litert", verbose=False)
    runner = Interpreter(path).get_signature_runner()
    (scores,) = runner(**trial.inputs).values()
    trial.assert_scores(scores, model)


SAVES: dict[str, Callable[[Trial, keras.Model], None]] = {
    "weights": _weights,
    ".keras": _keras,
    "SavedModel": _saved_model,
    "Checkpoint": _checkpoint,
    "ONNX": _onnx,
    "LiteRT": _litert,
}
