"""A tower a task."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.layers.mlp import MLP
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class TaskTowers(ConfiguredLayer):
    """Towers of the same widths side by side, one for each of several tasks.

    Args:
        tasks: int. How many.
        units: list of int. Widths of a tower's hidden layers.
        dropout, normalization, order: as in `MLP`.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        training: bool. Whether dropout is on and batch statistics are used.

    Input shape:
        `(batch, dim)`, the same for all tasks, or `(batch, tasks, dim)`.

    Output shape:
        `(batch, tasks, units[-1])`.

    Example:

    >>> import numpy as np
    >>> tuple(TaskTowers(tasks=2, units=[8, 4])(np.ones((5, 6), "float32")).shape)
    (5, 2, 4)

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, Figure 1.
    """

    def __init__(
        self,
        tasks: int,
        units: Sequence[int],
        *,
        dropout: float = 0.0,
        normalization: str | None = None,
        order: str = "before",
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if tasks < 1:
            raise ValueError(f"tasks must be at least 1. Received: {tasks}")
        self.tasks = tasks
        self.units = tuple(units)
        self.dropout = dropout
        self.normalization = normalization
        self.order = order
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) not in (2, 3) or tuple(input_shape[1:-1]) not in ((), (self.tasks,)):
            raise ValueError(
                f"input must be (batch, dim) or (batch, {self.tasks}, dim). Received: {input_shape}"
            )
        self.towers = tuple(tower_inside(self, f"task_{task}") for task in range(self.tasks))
        for tower in self.towers:
            tower.build((input_shape[0], input_shape[-1]))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        is_shared = len(inputs.shape) == 2
        read = [inputs] * self.tasks if is_shared else ops.unstack(inputs, axis=1)
        outputs = [
            tower(of, training=training) for tower, of in zip(self.towers, read, strict=True)
        ]
        return ops.stack(outputs, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.tasks, self.units[-1])


def tower_inside(layer: Any, name: str) -> MLP:
    """A tower with the settings of a layer that it is inside of; not yet built."""
    return MLP(
        layer.units,
        dropout=layer.dropout,
        normalization=layer.normalization,
        order=layer.order,
        kernel_initializer=layer.kernel_initializer.clone(),
        kernel_regularizer=layer.kernel_regularizer,
        dtype=layer.dtype_policy,
        name=name,
    )
