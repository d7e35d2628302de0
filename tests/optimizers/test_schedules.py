"""The warm-up, before a constant and before another schedule; saved and loaded."""

import keras
import pytest

from ctr_keras.optimizers import SparseAdam, WarmUp

pytestmark = pytest.mark.backend

FALLING = keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5, staircase=True)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(1.0, [0.25, 0.5, 0.75, 1, 1, 1, 1]), (FALLING, [0.25, 0.5, 0.75, 1, 1, 1, 0.5])],
)
def test_rates_grow_before_the_schedule_begins(rate, expected):
    schedule = WarmUp(rate, steps=4)
    assert [float(schedule(step)) for step in range(7)] == expected
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(SparseAdam(schedule)))
    again = WarmUp.from_config(optimizer.get_config()["learning_rate"]["config"])
    assert [float(again(step)) for step in range(7)] == expected
