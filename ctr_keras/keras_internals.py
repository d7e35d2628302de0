"""The only file that touches what Keras does not promise to keep.

When a release of Keras moves one of these names, tests/test_keras_internals.py says which.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from ctr_keras.types import Tensor, Variable

Call: TypeAlias = Any  # of a layer or operation: `operation`, `input_tensors`, `outputs`


def position(optimizer: keras.optimizers.Optimizer, variable: Variable) -> int:
    """The position of a variable among those that an optimizer was built with.

    The variable may be the backend's own, which TensorFlow hands to `update_step`.
    """
    return int(optimizer._get_variable_index(variable))


def is_known(optimizer: keras.optimizers.Optimizer, variable: Variable) -> bool:
    """Whether an optimizer was built with a variable; Keras raises for one that is not known."""
    return optimizer._var_key(variable) in optimizer._trainable_variables_indices


def built_with(optimizer: keras.optimizers.Optimizer) -> list[Variable]:
    """The variables that an optimizer was built with."""
    return list(optimizer._trainable_variables)


def decays(optimizer: keras.optimizers.Optimizer, variable: Variable) -> bool:
    """Whether an optimizer's weight decay acts on a variable."""
    return optimizer.weight_decay is not None and optimizer._use_weight_decay(variable)


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """A model's layers and all that are inside of them."""
    return list(model._flatten_layers(include_self=False))


def call_of(tensor: Tensor) -> Call:
    """The call of a layer or operation that made a symbolic tensor."""
    operation, place, _ = tensor._keras_history
    return operation._inbound_nodes[place]


def run_graph(model: keras.Model, inputs: Mapping[str, Tensor], call: Callable[..., Any]) -> Any:
    """The output of a functional model whose layers and operations are called by `call`.

    Args:
        model: keras.Model, of one output.
        inputs: dict. Values of the inputs, by name.
        call: a function of a layer and its arguments, in the place of calling the layer. What it
            gives need not be a tensor.
    """
    values = [inputs[tensor.name] for tensor in model.inputs]
    return model._run_through_graph(values, lambda layer: functools.partial(call, layer))


def named_layers(layer: keras.layers.Layer, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """The layers inside a layer by their path in it, such as `attention/query`."""
    found: dict[str, keras.layers.Layer] = {}
    for inside in layer._layers:
        path = f"{prefix}{inside.name}"
        found |= {path: inside, **named_layers(inside, f"{path}/")}
    return found


def mark_quantized(layer: keras.layers.Layer) -> None:
    """Lets Keras refuse to quantize a layer once more."""
    layer._is_quantized = True


class FinishesBuild(keras.layers.Layer):
    """A layer that is called after its `build`, while it can still be changed."""

    def _post_build(self) -> None:
        super()._post_build()
        self.finish_build()

    def finish_build(self) -> None:
        """Called once all weights are made."""
        raise NotImplementedError


class DecaysInUpdateStep(keras.optimizers.Optimizer):
    """An optimizer whose `update_step` is what applies weight decay."""

    def _apply_weight_decay(self, variables: Sequence[Variable]) -> None:
        pass


def averages(optimizer: keras.optimizers.Optimizer) -> list[Variable]:
    """The averages of the variables that an optimizer was built with, if it has `use_ema`."""
    return list(optimizer._model_variables_moving_average)


class AveragesByRows(keras.optimizers.Optimizer):
    """An optimizer that averages some variables itself, if it has `use_ema`."""

    def updates_rows(self, variable: Variable) -> bool:
        """Whether a variable is one of those."""
        raise NotImplementedError

    def _update_model_variables_moving_average(
        self, trainable_variables: Sequence[Variable]
    ) -> None:
        for variable, average in zip(trainable_variables, averages(self), strict=True):
            if not self.updates_rows(variable):
                share = self.ema_momentum * ops.cast(self.iterations > 0, variable.dtype)
                average.assign(share * average + (1 - share) * variable)


class HandsGradientsOn(keras.optimizers.Optimizer):
    """An optimizer that hands all gradients of a step on, instead of an `update_step` for each."""

    def _backend_apply_gradients(
        self, grads: Sequence[Tensor], trainable_variables: Sequence[Variable]
    ) -> None:
        self.hand_on(grads, trainable_variables)

    def hand_on(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> None:
        """Applies gradients to variables; those without a gradient are not among them."""
        raise NotImplementedError


def take_gradients_as_they_are(optimizer: keras.optimizers.Optimizer) -> None:
    """For one replica on TensorFlow, whose gradients are sums already.

    Keras has them summed over all replicas, by an operation with a gradient of its own. TensorFlow
    keeps that for good, and with it the traced step and the variables in it, so that the memory of
    a model that is trained would stay taken when the model is gone.
    """
    whole = getattr(optimizer, "inner_optimizer", optimizer)  # below a loss scale
    for one in (whole, *getattr(whole, "optimizers", ())):
        one._all_reduce_sum_gradients = list


# Of Keras' trainer on JAX. A batch is inputs, labels and sample weights.


def loss_and_updates(
    model: keras.Model,
    trainable: Sequence[Tensor],
    others: Sequence[Tensor],
    metrics: Sequence[Tensor],
    batch: tuple[Any, ...],
    optimizer_variables: Sequence[Tensor],
) -> Any:
    """The loss of a training batch as a function of a model's state.

    Returns:
        The loss to differentiate, and (loss, predictions, other variables, metrics' variables).
    """
    return model.compute_loss_and_updates(
        trainable, others, metrics, *batch, training=True, optimizer_variables=optimizer_variables
    )


def logs_and_metrics(
    model: keras.Model,
    metrics: Sequence[Tensor],
    loss: Tensor,
    batch: tuple[Any, ...],
    predictions: Tensor,
) -> Any:
    """What a training step logs, and the metrics' variables after a batch."""
    x, y, weight = batch
    return model._update_metrics_variables(metrics, loss, x, y, predictions, weight)
