"""Experts that several tasks share, or have to themselves, weighed by a gate a task."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.layers.base import ConfiguredLayer, exact_softmax
from ctr_keras.layers.task_towers import tower_inside
from ctr_keras.types import Initializer, Regularizer, Shape, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class GatedExperts(ConfiguredLayer):
    """What each of several tasks takes from shared experts and from its own.

    An expert is a tower. Task `k`, with input `x_k`, takes

        sum_e softmax(W_k x_k)_e E_e(.)

    over its own experts, which read `x_k`, and the shared ones, which read the shared input. With
    shared experts alone and one input for all this is MMoE; with a task's own, a level of PLE (CGC,
    customized gate control), which hands on a shared vector, too, of a gate over all experts.

    Args:
        tasks: int. How many.
        units: list of int. Widths of an expert's hidden layers.
        shared_experts: int. Defaults to `1`.
        task_experts: int. Of each task. Defaults to `0`.
        hands_on: bool. Whether the output ends with a shared vector, for a next level. Defaults to
            `False`.
        dropout, normalization, order: of the experts, as in `MLP`.
        kernel_initializer: initializer of experts and gates. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernels of experts and gates. Defaults to `None`.
        **kwargs: name, dtype and what else `keras.layers.Layer` takes.

    Call arguments:
        inputs: tensor.
        training: bool. Whether dropout is on and batch statistics are used.
        return_gates: bool. Whether to return the gates as well. Defaults to `False`.

    Input shape:
        `(batch, dim)`, the same for all; or `(batch, tasks + 1, dim)` as a level hands it on, the
        shared input last.

    Output shape:
        `(batch, tasks, units[-1])`, with `hands_on` `(batch, tasks + 1, units[-1])`.

    Returns:
        The output, and with `return_gates` the softmax of each task, a list of
        `(batch, task_experts + shared_experts)`; with `hands_on` the shared gate follows, over the
        experts of all tasks and the shared ones.

    Raises:
        ValueError: if a task has no expert.

    Example:

    >>> import numpy as np
    >>> layer = GatedExperts(tasks=2, units=[8, 4], shared_experts=3)
    >>> tuple(layer(np.ones((5, 6), "float32")).shape)
    (5, 2, 4)

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, Equations 5 to 7; Tang et al., Progressive Layered Extraction,
        RecSys 2020, Equations 1 to 6.
    """

    def __init__(
        self,
        tasks: int,
        units: Sequence[int],
        *,
        shared_experts: int = 1,
        task_experts: int = 0,
        hands_on: bool = False,
        dropout: float = 0.0,
        normalization: str | None = None,
        order: str = "before",
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(shared_experts, task_experts) < 0 or not shared_experts + task_experts:
            raise ValueError(
                "each task needs an expert, shared or its own. Received: "
                f"shared_experts={shared_experts}, task_experts={task_experts}"
            )
        self.tasks = tasks
        self.units = tuple(units)
        self.shared_experts = shared_experts
        self.task_experts = task_experts
        self.hands_on = hands_on
        self.dropout = dropout
        self.normalization = normalization
        self.order = order
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) not in (2, 3) or tuple(input_shape[1:-1]) not in (
            (),
            (self.tasks + 1,),
        ):
            raise ValueError(
                f"input must be (batch, dim) or (batch, {self.tasks + 1}, dim). Received: "
                f"{input_shape}"
            )
        own, shared = self.task_experts, self.shared_experts
        shape = (input_shape[0], input_shape[-1])
        names = [f"task_{task}_expert_{i}" for task in range(self.tasks) for i in range(own)]
        names += [f"shared_expert_{i}" for i in range(shared)]
        widths = [own + shared] * self.tasks + [len(names)] * self.hands_on
        self.experts = tuple(tower_inside(self, name) for name in names)
        self.gates = tuple(self._gate(index, width) for index, width in enumerate(widths))
        for layer in (*self.experts, *self.gates):
            layer.build(shape)

    def experts_of(self, task: int) -> list[str]:
        """Names of the experts that a task's gate mixes, in its order."""
        names = [expert.name for expert in self.experts]
        return [name for name in names if name.startswith((f"task_{task}_", "shared_"))]

    def _gate(self, index: int, experts: int) -> keras.layers.Dense:
        return keras.layers.Dense(
            experts,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=f"gate_{index}",
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, return_gates: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        tasks, shared = self.tasks, self.tasks  # the shared input and experts come after the tasks'
        read = [inputs] * (tasks + 1) if len(inputs.shape) == 2 else ops.unstack(inputs, axis=1)
        owners = [*np.repeat(range(tasks), self.task_experts), *[shared] * self.shared_experts]
        found = [
            (owner, expert(read[owner], training=training))
            for owner, expert in zip(owners, self.experts, strict=True)
        ]
        gates = [exact_softmax(gate(read[index])) for index, gate in enumerate(self.gates)]
        outputs = []
        for index, gate in enumerate(gates):
            taken = [of for owner, of in found if owner in (index, shared) or index == shared]
            outputs.append(ops.einsum("be,bed->bd", gate, ops.stack(taken, axis=1)))
        output = ops.stack(outputs, axis=1)
        return (output, gates) if return_gates else output

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.tasks + self.hands_on, self.units[-1])
