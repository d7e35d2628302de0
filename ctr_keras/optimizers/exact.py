"""What dense Adam does with rows that are not read, made up for at once before they are.

**Decay** leaves the share `exp(-c k^1.5)` of a row `k` steps after it was read last, for
`c = -log(1 - table_decay)`. A row that is read `n` times in an epoch of `S` steps rests some
`S / n` of them each time, so that `exp(-c S^1.5 / sqrt(n))` is left of it in the epoch. With `k`
for `k^1.5` all rows would forget alike, as by weight decay of whole tables; with `k^2` the exponent
would fall with `n`, as a prior of one width has it.

In `k` steps without an update that leaves `d^k w` of a row's weight `w`, with `d` for the share
that they leave on average; its average `a` with momentum `b` becomes

    b^k a + (1 - b) d S w    with S = b^(k-1) + b^(k-2) d + ... + d^(k-1)
                                    = d^(k-1) (1 - r^k) / (1 - r)    for r = b / d

and the same with `b` and `d` exchanged: the larger of them goes first, so that no power overflows.

**Momentum** goes on, too, with `exact`. A row's gradient is zero in every step that does not read
it, and dense Adam moves it all the same. After step `s` it has weight `w`, momentum `m` and
velocity `v`. Step `s + j`, for `j = 1..k`, is

    m_j = beta_1 m_(j-1)                                       so that m_j = beta_1^j m
    v_j = beta_2 v_(j-1)                                       so that v_j = beta_2^j v
    w_j = w_(j-1) - rate c(s+j) m_j / (sqrt(v_j) + epsilon)

with the bias correction `c(t) = sqrt(1 - beta_2^t) / (1 - beta_1^t)`. Where epsilon is small
against `sqrt(v_j)`, each quotient is the one before times `r = beta_1 / sqrt(beta_2)`: it is
`r^j m / (sqrt(v) + epsilon)`. All k movements then have one direction, and their sum is

    w_k = w - rate A m / (sqrt(v) + epsilon)    with A = r c(s+1) + r^2 c(s+2) + ... + r^k c(s+k)

`A` depends on both `s` and `k`. To need a table of one number only, take the same sum without an
end, `H(s) = r c(s+1) + r^2 c(s+2) + ...`, which is finite for `r < 1` (0.9005 by default) as `c`
tends to 1. Its terms after the k-th are `r^k (r c(s+k+1) + r^2 c(s+k+2) + ...) = r^k H(s+k)`, so

    A = H(s) - r^k H(s+k)

`H` is tabulated from its end: factoring `r` out of its sum gives `H(s) = r (c(s+1) + H(s+1))`, and
where `c` has become 1 it is the geometric series `r + r^2 + ... = r / (1 - r)`.
"""

import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ctr_keras import tables
from ctr_keras.keras_internals import averages, built_with, position
from ctr_keras.optimizers.rows import RowWise
from ctr_keras.types import Array, Tensor, Variable

_TABULATED_STEPS = 20_000  # where c is 1 in float32, with usual decays


class CatchesUp(RowWise, keras.optimizers.Adam):
    """Adam by rows that makes up for the steps that a row has missed.

    These are steps of `table_decay` or, if `exact`, of momentum. It does so before the row is read,
    and after the last step of `fit`.
    """

    exact: bool
    table_decay: float

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._last_read = {  # the step, of each row
            key: self.add_variable((variable.shape[0],), dtype="int32", name=f"last_read_{key}")
            for key, variable in ((self._key(variable), variable) for variable in variables)
            if self.table_decay and getattr(variable, "is_table", False)
        }

    @property
    def catches_up(self) -> bool:
        """Whether rows are to catch up before they are read."""
        return self.exact or self.table_decay > 0

    @property
    def lags(self) -> bool:
        return self.catches_up or super().lags

    def _make_up(self, table: Variable, rows: Tensor, since: Tensor, missed: Tensor) -> None:
        if self.exact:
            self._make_up_momentum(table, rows, since, missed)
        elif self.table_decay:
            self._make_up_decay(table, rows, since, missed)
        else:
            super()._make_up(table, rows, since, missed)

    def _make_up_decay(self, table: Variable, rows: Tensor, since: Tensor, missed: Tensor) -> None:
        weight = self._weight(table, rows)
        steps = ops.cast(missed, weight.dtype)[:, None]
        rested = since - tables.read(self._last_read[self._key(table)], rows)
        log_kept = self._log_kept(rested, missed, weight.dtype)
        if self.use_ema:
            log_step = log_kept / ops.maximum(steps, 1.0)
            # As with Keras, an average starts as the weight after the first step.
            starts = ops.cast(ops.logical_and(since == 0, missed > 0), weight.dtype)[:, None]
            start, rest = weight * ops.exp(starts * log_step), steps - starts
            average = tables.read(averages(self)[position(self, table)], rows)
            average = average + starts * (start - average)
            mixed = ops.exp(log_step) * _mixed(self.ema_momentum, log_step, rest)
            average = self.ema_momentum**rest * average + (1.0 - self.ema_momentum) * mixed * start
            tables.write(averages(self)[position(self, table)], rows, average)
        tables.write(table, rows, weight * ops.exp(log_kept))

    def _log_kept(self, rested: Tensor, missed: Tensor | int, dtype: str) -> Tensor:
        """The logarithm of what missed steps leave of rows that have rested before, `(rows, 1)`."""
        before, after = (ops.cast(steps, dtype) ** 1.5 for steps in (rested, rested + missed))
        return math.log1p(-self.table_decay) * (after - before)[:, None]

    def _make_up_momentum(
        self, table: Variable, rows: Tensor, since: Tensor, missed: Tensor
    ) -> None:
        weight, momentum, velocity = self._read(table, rows)
        steps = ops.cast(missed, weight.dtype)[:, None]
        rate = ops.cast(self.learning_rate, weight.dtype)
        movement = momentum / (ops.sqrt(velocity) + self.epsilon)
        values = (
            weight - rate * self._missed_alpha(since, missed) * movement,
            momentum * self.beta_1**steps,
            velocity * self.beta_2**steps,
        )
        self._write(table, rows, values)

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        table = built_with(self)[position(self, variable)]
        if self._key(table) in self._last_read and not self.updates_rows(table):
            self._decay_whole(table, gradient)
        super().update_step(gradient, variable, learning_rate)

    def _decay_whole(self, table: Variable, gradient: Tensor) -> None:
        """Decays a table that is walked whole, such as with Keras on PyTorch: nothing is missed."""
        variable = self._last_read[self._key(table)]
        last_read, step = ops.convert_to_tensor(variable), ops.cast(self.iterations, "int32")
        kept = ops.exp(self._log_kept(step - last_read, 1, table.dtype))
        is_read = ops.any(ops.not_equal(tables.whole(gradient, table), 0), axis=1)
        self.assign(table, ops.where(is_read[:, None], 1.0, kept) * ops.convert_to_tensor(table))
        self.assign(variable, ops.where(is_read, step + 1, last_read))

    def _update_rows(
        self, table: Variable, rows: Tensor, gradient: Tensor, rate: Tensor, kept: Tensor
    ) -> None:
        super()._update_rows(table, rows, gradient, rate, kept)
        if not self.catches_up:
            return
        if self.use_ema:
            self._average(table, rows)
        step = ops.broadcast_to(ops.cast(self.iterations + 1, "int32"), ops.shape(rows))
        tables.write(self._updated[self._key(table)], rows, step)
        if self.table_decay:
            tables.write(self._last_read[self._key(table)], rows, step)

    def _average(self, table: Variable, rows: Tensor) -> None:
        """The step of the averages of rows that have been updated."""
        average, weight = averages(self)[position(self, table)], tables.read(table, rows)
        share = self.ema_momentum * ops.cast(self.iterations > 0, weight.dtype)
        behind = tables.read(average, rows) - weight
        tables.write(average, rows, weight + share * behind)

    def _missed_alpha(self, since: Tensor, missed: Tensor) -> Tensor:
        """`A = H(s) - r^k H(s+k)` by row, for `s` = since and `k` = missed, `(rows, 1)`."""
        sums = ops.convert_to_tensor(_endless_sums(self.beta_1, self.beta_2))
        begin, end = (ops.minimum(s, _TABULATED_STEPS) for s in (since, since + missed))
        decayed = (self.beta_1 / self.beta_2**0.5) ** ops.cast(missed, sums.dtype)
        return (ops.take(sums, begin) - decayed * ops.take(sums, end))[:, None]


def _mixed(momentum: float, log_step: Tensor, steps: Tensor) -> Tensor:
    """`S` for `k` = steps, which is `k b^(k-1)` where `b` and `d` are equal."""
    log_momentum = math.log(momentum)
    log_ratio = -ops.abs(log_step - log_momentum)
    is_one = log_ratio > -1e-6
    log_ratio = ops.where(is_one, -1.0, log_ratio)
    quotients = ops.where(is_one, steps, ops.expm1(steps * log_ratio) / ops.expm1(log_ratio))
    return ops.exp((steps - 1.0) * ops.maximum(log_step, log_momentum)) * quotients


@functools.cache
def _endless_sums(beta_1: float, beta_2: float) -> Array:
    """`H(s)` for `s` up to `_TABULATED_STEPS`."""
    decay = beta_1 / beta_2**0.5
    sums = np.empty(_TABULATED_STEPS + 1)
    sums[-1] = decay / (1 - decay)
    for s in range(_TABULATED_STEPS - 1, -1, -1):
        correction = np.sqrt(1 - beta_2 ** (s + 1)) / (1 - beta_1 ** (s + 1))
        sums[s] = decay * (correction + sums[s + 1])
    return sums.astype("float32")
