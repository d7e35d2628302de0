"""How a run goes through its rows: in how large batches, and how often it is evaluated."""

from typing import NamedTuple

from ctr_keras.training.config import TrainConfig

_BATCHES = (256, 4096)  # the smallest and the largest that "auto" takes
_STEPS = 200  # in a pass, at least, where a batch is above the smallest
_ROUND_ROWS, _ROUNDS = 250_000, 8  # "auto" evaluates after so many rows, so often in a pass at most
_PATIENCE_STEPS, _PATIENCE = 500, (5, 20)  # steps, and the least and most evaluations


class Pace(NamedTuple):
    """What "auto" of `batch_size`, `evaluations_per_epoch` and `patience` is for a number of rows.

    Attributes:
        batch_size: rows in a step.
        evaluations_per_epoch: rounds in a pass.
        round_steps: steps between two evaluations.
        epoch_steps: steps in a pass.
        patience: evaluations without a better one after which a run stops.

    Example:

    >>> config = TrainConfig("data", "FM", "run")
    >>> pace_of(config, rows=20_000)
    Pace(batch_size=256, evaluations_per_epoch=1, round_steps=79, epoch_steps=79, patience=7)
    >>> pace_of(config, rows=600_000)
    Pace(batch_size=2048, evaluations_per_epoch=2, round_steps=147, epoch_steps=293, patience=5)
    """

    batch_size: int
    evaluations_per_epoch: int
    round_steps: int
    epoch_steps: int
    patience: int

    def rounds(self, epochs: int) -> int:
        """Rounds in so many passes, the last of which may go on into the next pass."""
        return -(-epochs * self.epoch_steps // self.round_steps)


def pace_of(config: TrainConfig, rows: int) -> Pace:
    """The pace of a run on a training split of so many rows.

    Few rows need small batches, as what a table's row learns in a pass is a step each time that it
    is read; many are worth more than one evaluation, as a pass may be too long already. In a pass
    over few rows a model changes less than evaluations on few rows differ by chance, so that its
    best round may come long after another good one.
    """
    batch_size, evaluations = config.batch_size, config.evaluations_per_epoch
    if batch_size == "auto":
        batch_size = _clipped(_power_of_two(rows // _STEPS), *_BATCHES)
    if evaluations == "auto":
        evaluations = _clipped(rows // _ROUND_ROWS, 1, _ROUNDS)
    steps = -(-rows // batch_size)
    rounds = min(evaluations, steps)
    round_steps = -(-steps // rounds)
    patience = config.patience
    if patience == "auto":
        patience = _clipped(-(-_PATIENCE_STEPS // round_steps), *_PATIENCE)
    return Pace(batch_size, rounds, round_steps, steps, patience)


def _power_of_two(number: int) -> int:
    """The largest that is not above a number."""
    return 1 << max(number.bit_length() - 1, 0)


def _clipped(number: int, least: int, most: int) -> int:
    return min(max(number, least), most)
