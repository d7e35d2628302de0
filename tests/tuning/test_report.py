"""What a study says of its trials."""

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from ctr_keras.tuning import Choice, Range
from ctr_keras.tuning.report import REASON, describe, importance_of

SPACE = {"rate": Range(1e-3, 1.0, log=True), "dim": Choice([4, 8]), "seedless": Range(0, 9)}


def trial(draw, **given):
    params = {
        "rate": 10 ** draw.uniform(-3, 0),
        "dim": str(draw.choice([4, 8])),
        "seedless": int(draw.integers(10)),
    }
    distributions = {name: of.distribution() for name, of in SPACE.items()}
    value = np.log10(params["rate"]) ** 2 + 0.01 * (params["dim"] == "4")
    given = {"value": value, **given}
    return create_trial(params=params, distributions=distributions, **given)


def test_importance_is_that_of_what_makes_the_difference():
    draw = np.random.default_rng(0)
    trials = [trial(draw) for _ in range(200)]
    trials += [trial(draw, value=None, state=TrialState.FAIL) for _ in range(5)]
    importance = importance_of(trials, minimizes=True)
    assert sum(importance.values()) == pytest.approx(1)
    assert importance["rate"] > 0.9
    assert importance_of(trials[:1], minimizes=True) == {}


def test_a_trial_is_one_line():
    draw = np.random.default_rng(0)
    assert describe(trial(draw, value=0.25), "auc").startswith("trial -1: auc 0.25000; rate=0.0814")
    failed = {"value": None, "state": TrialState.FAIL, "user_attrs": {REASON: "ValueError: x"}}
    assert describe(trial(draw, **failed), "auc").startswith(
        "trial -1: failed: ValueError: x; rate="
    )
