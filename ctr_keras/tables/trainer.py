"""The mixin that gives a Keras model the training step of this room."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from ctr_keras.keras_internals import flat_layers
from ctr_keras.tables import lags, penalties_left_to, train_step, updates_rows
from ctr_keras.tables.checking import CheckedInputs


def _caught_up(name: str) -> Callable[..., Any]:
    """Keras' method of a name, before which all rows catch up."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        self.catch_up()
        return getattr(super(RowTrainer, self), name)(*arguments, **options)

    return method


class RowTrainer(CheckedInputs):
    """Makes a Keras model's `fit` train only the rows of tables that a batch reads.

    It stands before the model's class: functional models, `Sequential` and subclasses with a
    `call` of their own take it alike. It takes one of `ctr_keras.optimizers`' sparse optimizers,
    alone or in a `RoutedOptimizer`.

    With `SparseAdam(exact=True)`, rows that no batch reads lag behind for a while. They catch up
    before anyone looks: before validation, callbacks' `on_epoch_end`, and all methods that
    evaluate, predict, save, export, or get and set weights. Who reads the variables themselves
    between two batches calls `catch_up` first.

    Ids are checked before they reach the backend, in `fit`, `evaluate`, `predict`, their likes for
    a batch, and eager calls: one that is not of its field is a ValueError that names field, row and
    the ids there are. Generators' batches that lie on a device are checked in the first one only.

    Example:

    A model with a `call` of its own:

    >>> import numpy as np
    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.layers import FieldEmbedding
    >>> from ctr_keras.optimizers import SparseAdam
    >>> features = FeatureSet(Categorical("c"), label=Label("y"), vocabulary_sizes={"c": 9})
    >>> class Classifier(RowTrainer, keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embedding = FieldEmbedding(features, dim=4)
    ...         self.score = keras.layers.Dense(1, activation="sigmoid")
    ...
    ...     def call(self, inputs):
    ...         return self.score(self.embedding(inputs)[:, 0])
    >>> inputs, labels = {"categorical": np.array([[3], [5]])}, np.array([[0.0], [1.0]])
    >>> model = Classifier()
    >>> model.compile(SparseAdam(0.1, exact=True), "binary_crossentropy")
    >>> history = model.fit(inputs, labels, epochs=9, verbose=0).history["loss"]
    >>> history[-1] < history[0]
    True

    A functional one, and a `Sequential`:

    >>> from ctr_keras.layers import feature_inputs
    >>> class Functional(RowTrainer, keras.Model):
    ...     pass
    >>> class Stack(RowTrainer, keras.Sequential):
    ...     pass
    >>> tensors = feature_inputs(features)
    >>> vectors = keras.layers.Flatten()(FieldEmbedding(features, dim=4)(tensors))
    >>> functional = Functional(tensors, keras.layers.Dense(1, activation="sigmoid")(vectors))
    >>> stack = Stack(
    ...     [
    ...         FieldEmbedding(features, dim=4),
    ...         keras.layers.Flatten(),
    ...         keras.layers.Dense(1, activation="sigmoid"),
    ...     ]
    ... )
    >>> for model in (functional, stack):
    ...     model.compile(SparseAdam(0.1), "binary_crossentropy")
    ...     model.fit(inputs, labels, verbose=0).epoch
    [0]
    [0]
    """

    optimizer: Any
    trainable_variables: Sequence[Any]
    train_function: Any
    test_function: Any
    predict_function: Any

    @functools.wraps(keras.Model.fit)
    def fit(  # type: ignore[override]
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        callbacks = _after_catching_up(self, callbacks)
        return super().fit(  # type: ignore[misc]
            x, y, batch_size, epochs, verbose, callbacks, *arguments, **options
        )

    def make_train_function(self, force: bool = False) -> None:
        _check_training(self)
        # Keras leaves it to the first step, which TensorFlow traces again if it makes variables.
        if self.built and not self.optimizer.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)
        super().make_train_function(force)  # type: ignore[misc]
        self.train_function = _keeping_state(self, self.train_function)

    def make_test_function(self, force: bool = False) -> None:
        super().make_test_function(force)  # type: ignore[misc]
        self.test_function = _keeping_state(self, self.test_function)

    def make_predict_function(self, force: bool = False) -> None:
        super().make_predict_function(force)  # type: ignore[misc]
        self.predict_function = _keeping_state(self, self.predict_function)

    def train_step(self, *arguments: Any) -> Any:
        with penalties_left_to(self.optimizer):
            return train_step(self, super().train_step, *arguments)  # type: ignore[misc]

    def catch_up(self) -> None:
        """Makes up for the steps that rows have missed, so that all weights are exact."""
        if not lags(getattr(self, "optimizer", None)):
            return
        if keras.backend.backend() == "jax":  # whose trainer keeps the variables' values meanwhile
            self.jax_state_sync()  # type: ignore[attr-defined]
        self.optimizer.catch_up_all()

    evaluate = _caught_up("evaluate")
    predict = _caught_up("predict")
    test_on_batch = _caught_up("test_on_batch")
    predict_on_batch = _caught_up("predict_on_batch")
    save = _caught_up("save")
    save_own_variables = _caught_up("save_own_variables")  # of all ways to save but `.h5`
    export = _caught_up("export")
    get_weights = _caught_up("get_weights")
    set_weights = _caught_up("set_weights")
    load_weights = _caught_up("load_weights")
    get_state_tree = _caught_up("get_state_tree")


class _CatchUp(keras.callbacks.Callback):
    """Stands before all other callbacks, so that they find exact weights."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.catch_up()


def _after_catching_up(model: Any, callbacks: Any) -> Any:
    """The callbacks of `fit`, one or several or none, with ours before them."""
    first = _CatchUp()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        first.set_model(model)
        callbacks.callbacks.insert(0, first)
        return callbacks
    return [first, *(keras.tree.flatten(callbacks) if callbacks else ())]


def _keeping_state(model: Any, function: Any) -> Any:
    """A step of Keras' loops; where it raises on JAX, such as for a wrong id, the model goes on.

    Keras on JAX takes the values out of a model's variables for as long as a loop runs, and leaves
    the variables empty if the loop's batch cannot be had.
    """
    if keras.backend.backend() != "jax" or hasattr(function, "keeps_state"):
        return function

    def step(state: Any, data: Any) -> Any:
        try:
            return function(state, data)
        except StopIteration:
            raise
        except Exception:
            holders = [model.trainable_variables, model.non_trainable_variables]
            if len(state) == 4:  # of training
                holders.append(model.optimizer.variables)
            if len(state) > 2:  # not of prediction
                holders.append(model.metrics_variables)
            for variables, values in zip(holders, state, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)
            raise

    step.keeps_state = True  # type: ignore[attr-defined]
    return step


def _check_training(model: Any) -> None:
    """Checks that the optimizer can train the model's tables.

    Keras' Adafactor cannot: on TensorFlow it mixes up rows that a batch reads twice, elsewhere its
    two factors, about `epsilon_1` each for rows without a gradient, have a product of zero, and the
    update is NaN.
    """
    for layer in flat_layers(model):
        if hasattr(layer, "check_trainable"):
            layer.check_trainable()
    scaled = getattr(model.optimizer, "inner_optimizer", None)  # by Keras, for mixed_float16
    if any(updates_rows(scaled, variable) for variable in model.trainable_variables):
        raise ValueError(
            "a sparse optimizer cannot undo the loss scale of mixed_float16: "
            "use mixed_bfloat16, or one of Keras' optimizers (`table_updates=dense`)"
        )
    has_table = any(getattr(variable, "is_table", False) for variable in model.trainable_variables)
    if has_table and isinstance(scaled or model.optimizer, keras.optimizers.Adafactor):
        raise ValueError(
            "Adafactor cannot train tables, as its update of rows without a gradient is NaN: use "
            "DenseAdam or a sparse optimizer, or Adafactor in a RoutedOptimizer for all else"
        )
