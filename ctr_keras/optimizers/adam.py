"""Adam that updates rows."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras import tables
from ctr_keras.optimizers.rows import RowWise

_TABULATED_STEPS = 20_000  # after so many, bias corrections with usual decays are 1


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdam(RowWise, keras.optimizers.Adam):
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
