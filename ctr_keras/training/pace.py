"""How a run goes through its rows: in how large batches, and how often it is evaluated."""

from typing import NamedTuple

from ctr_keras.training.config import TrainConfig

_BATCHES = (256, 4096)  # the smallest and the largest that "auto" takes
_STEPS = 200  # in a pass, at least, where a batch is above the smallest
_ROUND_ROWS, _ROUNDS = 250_000, 8  # "auto" evaluates after so many rows, so often in a pass at most


class Pace(NamedTuple):
    """What "auto" of `batch_size` and `evaluations_per_epoch` is for a number of rows.

    Attributes:
        batch_size: rows in a step.
        evaluations_per_epoch: rounds in a pass.
        round_steps: steps between two evaluations.
        epoch_steps: steps in a pass.

    Example:

    >>> config = TrainConfig("data", "FM", "run")
    >>> pace_of(config, rows=20_000)
    Pace(batch_size=256, evaluations_per_epoch=1, round_steps=79, epoch_steps=79)
    >>> pace_of(config, rows=600_000)
    Pace(batch_size=2048, evaluations_per_epoch=2, round_steps=147, epoch_steps=293)
    """

    batch_size: int
    evaluations_per_epoch: int
    round_steps: int
    epoch_steps: int

    def rounds(self, epochs: int) -> int:
        """Rounds in so many passes, the last of which may go on into the next pass."""
        return -(-epochs * self.epoch_steps // self.round_steps)


def pace_of(config: TrainConfig, rows: int) -> Pace:
    """The pace of a run on a training split of so many rows.

    Few rows need small batches, as what a table's row learns in a pass is a step each time that it
    is read; many are worth more than one evaluation, as a pass may be too long already.
    """
    batch_size, evaluations = config.batch_size, config.evaluations_per_epoch
    if batch_size == "auto":
        batch_size = _clipped(_power_of_two(rows // _STEPS), *_BATCHES)
    if evaluations == "auto":
        evaluations = _clipped(rows // _ROUND_ROWS, 1, _ROUNDS)
    steps = -(-rows // batch_size)
    rounds = min(evaluations, steps)
    return Pace(batch_size, rounds, -(-steps // rounds), steps)


def _power_of_two(number: int) -> int:
    """The largest that is not above a number."""
    return 1 << max(number.bit_length() - 1, 0)


def _clipped(number: int, least: int, most: int) -> int:
    return min(max(number, least), most)
