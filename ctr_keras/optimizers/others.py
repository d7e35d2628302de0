"""Adagrad, gradient descent and FTRL that update rows."""

from typing import Any

import keras
from keras import ops

from ctr_keras.optimizers.rows import RowWise
from ctr_keras.types import Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdagrad(RowWise, keras.optimizers.Adagrad):
    """Adagrad that updates the rows of a table that a batch has read.

    A row without a gradient does not move in dense Adagrad either, so the result is the same but
    for weight decay.

    Args:
        *arguments, **options: those of `keras.optimizers.Adagrad`, but for what `SparseAdam`
            refuses. `weight_decay` acts on the rows that are read. The name is `"sparse_adagrad"`
            unless another is given.

    Raises:
        ValueError: for an option that is refused.

    Example:

    >>> SparseAdagrad(0.01).learning_rate.dtype
    'float32'

    References:
        [Adagrad](https://jmlr.org/papers/v12/duchi11a.html).
    """

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
        accumulator = slots[0] + ops.square(gradient)
        return weight - rate * gradient / ops.sqrt(accumulator + self.epsilon), accumulator


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseSGD(RowWise, keras.optimizers.SGD):
    """Gradient descent that updates the rows of a table that a batch has read.

    Without momentum the result is that of dense gradient descent. With it, a row that no batch
    reads rests and keeps its momentum until it is read again.

    Args:
        *arguments, **options: those of `keras.optimizers.SGD`, but for what `SparseAdam`
            refuses. `weight_decay` acts on the rows that are read. The name is `"sparse_sgd"`
            unless another is given.

    Raises:
        ValueError: for an option that is refused.

    Example:

    >>> SparseSGD(0.01, momentum=0.9).momentum
    0.9
    """

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
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
        *arguments, **options: those of `keras.optimizers.Ftrl`, but for what `SparseAdam` refuses
            and `l2_shrinkage_regularization_strength`. `weight_decay` acts on the rows that are
            read. The name is `"sparse_ftrl"` unless another is given.

    Raises:
        ValueError: for an option that is refused.

    Example:

    >>> SparseFtrl(0.05, l1_regularization_strength=0.1).beta
    0.0

    References:
        [Ad click prediction](https://research.google/pubs/pub41159/), Algorithm 1.
    """

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
        accumulator, linear = slots
        grown = accumulator + ops.square(gradient)
        root, grown_root = (ops.power(a, -self.learning_rate_power) for a in (accumulator, grown))
        linear = linear + gradient - (grown_root - root) / rate * weight
        l1 = self.l1_regularization_strength
        l2 = self.l2_regularization_strength + self.beta / (2 * rate)
        weight = (ops.clip(linear, -l1, l1) - linear) / (grown_root / rate + 2 * l2)
        return weight, grown, linear
