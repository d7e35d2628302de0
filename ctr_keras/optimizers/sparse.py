"""Optimizers that update the rows of a table that a batch has read, and no others."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras import tables

# What would have to walk whole tables, would be another method than of the same name, or cannot be
# done to a gradient by rows.
_REFUSED = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "amsgrad",
    "l2_shrinkage_regularization_strength",
)
_TABULATED_STEPS = 20_000  # after so many, bias corrections with usual decays are 1


class _RowWise(keras.optimizers.Optimizer):
    """What makes a Keras optimizer update rows where a gradient is sparse.

    What the optimizer keeps for a table (its "slots") stands side by side in one variable, so that
    a row of it is read and written at once. `_step` says what becomes of some rows.
    """

    def __init__(self, **kwargs: Any) -> None:
        given = [option for option in _REFUSED if kwargs.get(option)]
        if given:
            raise ValueError(f"{type(self).__name__} takes no {', '.join(given)}")
        super().__init__(**kwargs)

    def updates_rows(self, variable: Any) -> bool:
        """Whether a variable is a table that this optimizer updates by rows.

        A frozen one is not, and a penalty on all of a table needs all of its gradient.
        """
        is_table = getattr(variable, "is_table", False) and variable.trainable
        return bool(is_table) and variable.regularizer is None

    def build(self, variables: Any) -> None:
        if self.built:
            return
        self._initializers: dict[int, list[Any]] = {
            index: [] for index, v in enumerate(variables) if self.updates_rows(v)
        }
        super().build(variables)
        self._slots = {
            index: self._add_slots(variables[index], initializers)
            for index, initializers in self._initializers.items()
            if initializers
        }

    def add_variable_from_reference(
        self, reference_variable: Any, name: Any = None, initializer: Any = "zeros"
    ) -> Any:
        """Adds a variable for one of the model; those for a table are added together later."""
        if not self.updates_rows(reference_variable):
            return super().add_variable_from_reference(reference_variable, name, initializer)
        self._initializers[self._get_variable_index(reference_variable)].append(initializer)
        return None

    def _add_slots(self, table: Any, initializers: list[Any]) -> Any:
        rows, dim = table.shape

        def side_by_side(shape: Any, dtype: Any) -> Any:
            del shape
            parts = [keras.initializers.get(one)((rows, dim), dtype) for one in initializers]
            return ops.concatenate(parts, axis=1)

        is_zero = all(initializer == "zeros" for initializer in initializers)
        return self.add_variable(
            (rows, dim * len(initializers)),
            initializer="zeros" if is_zero else side_by_side,
            dtype=table.dtype,
            name=f"{table.path.replace('/', '_')}_slots",
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        kept = 1.0
        if self.weight_decay is not None and self._use_weight_decay(variable):
            kept = 1.0 - rate * self.weight_decay
        if index in self._initializers:
            rows, gradient = self._rows(gradient, variable)
            self._update_rows(variable, index, rows, gradient, rate, kept)
            return
        if self.weight_decay is not None:
            self.assign(variable, ops.convert_to_tensor(variable) * kept)
        super().update_step(gradient, variable, learning_rate)

    def _rows(self, gradient: Any, table: Any) -> tuple[Any, Any]:
        if tables.is_sparse(gradient):
            return tables.sum_rows(gradient, table)
        return ops.arange(table.shape[0], dtype="int32"), ops.cast(gradient, table.dtype)

    def _update_rows(
        self, table: Any, index: int, rows: Any, gradient: Any, rate: Any, kept: Any
    ) -> None:
        weight, slots = self._read(table, index, rows)
        self._write(table, index, rows, self._step(gradient, rate, weight * kept, *slots))

    def _read(self, table: Any, index: int, rows: Any) -> tuple[Any, list[Any]]:
        """Some rows of a table, and of what is kept for it."""
        slots = self._slots.get(index)
        if slots is None:
            return tables.read(table, rows), []
        count = len(self._initializers[index])
        return tables.read(table, rows), ops.split(tables.read(slots, rows), count, axis=1)

    def _write(self, table: Any, index: int, rows: Any, values: Any) -> None:
        weight, *slots = values
        tables.write(table, rows, weight)
        if slots:
            tables.write(self._slots[index], rows, ops.concatenate(slots, axis=1))

    def _apply_weight_decay(self, variables: Any) -> None:
        """Weights decay in `update_step`, where it is known which rows a batch has read."""

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdam(_RowWise, keras.optimizers.Adam):
    """Adam that updates the rows of a table that a batch has read; all else as Keras' Adam does.

    Dense Adam moves every row in every step: a row that no batch reads any more still follows its
    momentum, which takes a walk over all rows. Here such a row rests, and so do its moments, until
    a batch reads it again ("lazy" Adam). Bias correction counts all steps. Weight decay acts on the
    rows that are read.

    With `exact=True` the result is that of dense Adam. Each row remembers when it was updated last,
    and before it is read again the steps that it has missed are made up for at once, which is
    possible in closed form as its gradients were zero: moments decay by powers, and the movements
    are a geometric series with the bias corrections as weights, tabulated once. This equals dense
    Adam up to rounding as long as `epsilon` is small against the square root of a row's velocity
    and the learning rate is constant (else the missed steps are made with the current one). Rows
    that are not read again lag behind until `fit` ends or `catch_up_all` is called. It takes a
    model of this library (`CTRModel`), whose own optimizer it is and not one of a
    `RoutedOptimizer`, no weight decay, and one more number for each row.

    Args:
        learning_rate: float or schedule. Defaults to `0.001`.
        beta_1: float. Decay of the momentum. Defaults to `0.9`.
        beta_2: float. Decay of the velocity. Defaults to `0.999`.
        epsilon: float. Added to the root of the velocity. Defaults to `1e-7`.
        weight_decay: float or None. Share of a weight, times the learning rate, that a step takes
            off. Defaults to `None`.
        exact: bool. Whether to make up for missed steps. Defaults to `False`.
        name: str. Defaults to `"sparse_adam"`.
        **kwargs: other options of Keras' optimizer, which are refused: clipping, averaging,
            accumulating gradients, `loss_scale_factor` and `amsgrad`.

    Raises:
        ValueError: for an option that is not taken.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import FM
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 1000})
    >>> model = FM(features)
    >>> model.compile(SparseAdam(0.001), "binary_crossentropy")

    References:
        [Adam](https://arxiv.org/abs/1412.6980), Algorithm 1, on the rows of a table.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        exact: bool = False,
        name: str = "sparse_adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )
        if exact and self.weight_decay:
            raise ValueError("SparseAdam(exact=True) takes no weight_decay")
        self.exact = exact

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        # By table, the number of the step after which each row is as dense Adam would have it.
        self._updated = {
            index: self.add_variable((size,), dtype="int32", name=f"updated_{index}")
            for index, size in ((i, variables[i].shape[0]) for i in self._slots)
            if self.exact
        }

    def catch_up(self, table: Any, rows: Any) -> None:
        """Makes up for the steps that rows have missed.

        Args:
            table: variable of the model.
            rows: int tensor, each row once.
        """
        index = self._get_variable_index(table)
        if index not in self._updated:
            return
        updated = self._updated[index]
        weight, (momentum, velocity) = self._read(table, index, rows)
        since = tables.read(updated, rows)
        missed = ops.cast(self.iterations, "int32") - since
        missed_steps = ops.cast(missed, weight.dtype)[:, None]
        rate = ops.cast(self.learning_rate, weight.dtype)
        movement = momentum / (ops.sqrt(velocity) + self.epsilon)
        values = (
            weight - rate * self._missed_alpha(since, missed) * movement,
            momentum * self.beta_1**missed_steps,
            velocity * self.beta_2**missed_steps,
        )
        self._write(table, index, rows, values)
        tables.write(updated, rows, since + missed)

    def catch_up_all(self) -> None:
        """Makes up for the missed steps of all rows of all tables."""
        for index in getattr(self, "_updated", {}):
            table = self._trainable_variables[index]
            self.catch_up(table, ops.arange(table.shape[0], dtype="int32"))

    def finalize_variable_values(self, variables: Any) -> None:
        super().finalize_variable_values(variables)
        self.catch_up_all()

    def _missed_alpha(self, since: Any, missed: Any) -> Any:
        """By row, the sum over missed steps of bias correction and decay, (rows, 1).

        With the decay `r` of movements, the sum of `r^j c(s + j)` over `j = 1..k` is
        `H(s) - r^k H(s + k)`, where `H` is the same sum without an end.
        """
        sums = ops.convert_to_tensor(_endless_sums(self.beta_1, self.beta_2))
        begin, end = (ops.minimum(s, _TABULATED_STEPS) for s in (since, since + missed))
        decayed = (self.beta_1 / self.beta_2**0.5) ** ops.cast(missed, sums.dtype)
        return (ops.take(sums, begin) - decayed * ops.take(sums, end))[:, None]

    def _update_rows(
        self, table: Any, index: int, rows: Any, gradient: Any, rate: Any, kept: Any
    ) -> None:
        if not self.exact:
            super()._update_rows(table, index, rows, gradient, rate, kept)
            return
        self.catch_up(table, rows)
        super()._update_rows(table, index, rows, gradient, rate, kept)
        updated = self._updated[index]
        tables.write(updated, rows, tables.read(updated, rows) + 1)

    def _step(self, gradient: Any, rate: Any, weight: Any, *slots: Any) -> tuple[Any, ...]:
        momentum, velocity = slots
        step = ops.cast(self.iterations + 1, weight.dtype)
        alpha = rate * ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        momentum = momentum + (gradient - momentum) * (1 - self.beta_1)
        velocity = velocity + (ops.square(gradient) - velocity) * (1 - self.beta_2)
        return weight - alpha * momentum / (ops.sqrt(velocity) + self.epsilon), momentum, velocity

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "exact": self.exact}


@functools.cache
def _endless_sums(beta_1: float, beta_2: float) -> np.ndarray[Any, Any]:
    """`H(s)` of `SparseAdam._missed_alpha` for `s` up to `_TABULATED_STEPS`."""
    decay = beta_1 / beta_2**0.5
    sums = np.empty(_TABULATED_STEPS + 1)
    sums[-1] = decay / (1 - decay)
    for s in range(_TABULATED_STEPS - 1, -1, -1):
        correction = np.sqrt(1 - beta_2 ** (s + 1)) / (1 - beta_1 ** (s + 1))
        sums[s] = decay * (correction + sums[s + 1])
    return sums.astype("float32")


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdagrad(_RowWise, keras.optimizers.Adagrad):
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
class SparseSGD(_RowWise, keras.optimizers.SGD):
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
class SparseFtrl(_RowWise, keras.optimizers.Ftrl):
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
