"""Batches and evaluations that a run chooses by its rows."""

import pytest

from ctr_keras.training import TrainConfig
from ctr_keras.training.pace import pace_of


def config(**settings):
    return TrainConfig("data", "FM", "run", **settings)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1, (256, 1, 1)),
        (102_399, (256, 1, 400)),
        (102_400, (512, 1, 200)),
        (499_999, (2048, 1, 245)),
        (500_000, (2048, 2, 123)),
        (10**6, (4096, 4, 62)),
        (10**8, (4096, 8, 3052)),
    ],
)
def test_batches_and_evaluations_grow_with_the_rows(rows, expected):
    assert pace_of(config(), rows)[:3] == expected


@pytest.mark.parametrize(
    ("rows", "patience"),
    [(1, 20), (6_400, 20), (8_000, 16), (25_600, 5), (10**6, 9), (10**8, 5)],
)
def test_patience_is_of_500_steps(rows, patience):
    assert pace_of(config(), rows).patience == patience


def test_what_is_set_stays():
    assert pace_of(config(batch_size=100), 10**6) == (100, 4, 2500, 10_000, 5)
    assert pace_of(config(evaluations_per_epoch=3), 1000) == (256, 3, 2, 4, 20)
    assert pace_of(config(patience=1), 1000).patience == 1


@pytest.mark.parametrize(
    ("evaluations", "round_steps", "rounds"), [(4, 1, 12), (60, 1, 12), (3, 2, 6), (1, 4, 3)]
)
def test_three_passes_are_three_passes(evaluations, round_steps, rounds):
    """However many evaluations a pass is to have; its last round may reach into the next."""
    pace = pace_of(config(evaluations_per_epoch=evaluations), 1000)
    assert pace.round_steps == round_steps
    assert pace.rounds(3) == rounds
    assert 12 <= pace.rounds(3) * round_steps < 12 + round_steps
