"""Adagrad, gradient descent and FTRL that update rows."""

from typing import Any

import keras
from keras import ops

from ctr_keras.optimizers.rows import RowWise


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdagrad(RowWise, keras.optimizers.Adagrad):
    """Adagrad that updates the rows of a table that a batch has read.

    A row without a gradient does not move in dense Adagrad either, so the result is the same (but
    for weight decay, which acts on the rows that are read).

    Args:
        learning_rate: float or schedule. Defaults to `0.001`.
        initial_accumulator_value: float. What sums of squares start with. Defaults to `0.1`.
        epsilon: float. Added to sums of squares. Defaults to `1e-7`.
        weight_decay: float or None. As in `SparseAdam`. Defaults to `None`.
        name: str. Defaults to `"sparse_adagrad"`.
        **kwargs: as in `SparseAdam`.

    Raises:
        ValueError: for an option that is not taken.

    Example:

    >>> SparseAdagrad(0.01).learning_rate.dtype
    'float32'

    References:
        [Adagrad](https://jmlr.org/papers/v12/duchi11a.html).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        name: str = "sparse_adagrad",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=epsilon,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        accumulator = slots[0] + ops.square(gradient)
        return weight - rate * gradient / ops.sqrt(accumulator + self.epsilon), accumulator


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseSGD(RowWise, keras.optimizers.SGD):
    """Gradient descent that updates the rows of a table that a batch has read.

    Without momentum the result is that of dense gradient descent. With it, a row that no batch
    reads rests and keeps its momentum until it is read again.

    Args:
        learning_rate: float or schedule. Defaults to `0.01`.
        momentum: float. Share of the last movement that is kept. Defaults to `0.0`.
        nesterov: bool. Whether momentum looks ahead. Defaults to `False`.
        weight_decay: float or None. As in `SparseAdam`. Defaults to `None`.
        name: str. Defaults to `"sparse_sgd"`.
        **kwargs: as in `SparseAdam`.

    Raises:
        ValueError: for an option that is not taken.

    Example:

    >>> SparseSGD(0.01, momentum=0.9).momentum
    0.9
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        name: str = "sparse_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        if not slots:
            return (weight - rate * gradient,)
        momentum = self.momentum * slots[0] - rate * gradient
        moved = self.momentum * momentum - rate * gradient if self.nesterov else momentum
        return weight + moved, momentum


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseFtrl(RowWise, keras.optimizers.Ftrl):
    """FTRL-proximal that updates the rows of a table that a batch has read.

    A row without a gradient does not move in dense FTRL either once it has been read (its start is
    replaced by what its state says), so the result is the same for all rows that were read.

    Args:
        learning_rate: float or schedule. Defaults to `0.001`.
        learning_rate_power: float, not positive. How the rate falls with sums of squares. Defaults
            to `-0.5`.
        initial_accumulator_value: float. What sums of squares start with. Defaults to `0.1`.
        l1_regularization_strength: float. Defaults to `0.0`.
        l2_regularization_strength: float. Defaults to `0.0`.
        beta: float. The paper's beta. Defaults to `0.0`.
        weight_decay: float or None. As in `SparseAdam`. Defaults to `None`.
        name: str. Defaults to `"sparse_ftrl"`.
        **kwargs: as in `SparseAdam`; `l2_shrinkage_regularization_strength` is refused, too.

    Raises:
        ValueError: for an option that is not taken.

    Example:

    >>> SparseFtrl(0.05, l1_regularization_strength=0.1).beta
    0.0

    References:
        [Ad click prediction](https://research.google/pubs/pub41159/), Algorithm 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        name: str = "sparse_ftrl",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            learning_rate_power=learning_rate_power,
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            beta=beta,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        accumulator, linear = slots
        grown = accumulator + ops.square(gradient)
        root, grown_root = (ops.power(a, -self.learning_rate_power) for a in (accumulator, grown))
        linear = linear + gradient - (grown_root - root) / rate * weight
        l1 = self.l1_regularization_strength
        l2 = self.l2_regularization_strength + self.beta / (2 * rate)
        weight = (ops.clip(linear, -l1, l1) - linear) / (grown_root / rate + 2 * l2)
        return weight, grown, linear
