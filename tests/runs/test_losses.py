"""The loss of pairs within a group, against loops in NumPy."""

import keras
import numpy as np
import pytest

from ctr_keras.runs import PairwiseLoss

pytestmark = pytest.mark.backend

LABELS = np.array([1, 0, 0, 1, 1, 0, 1], "float32")
GROUPS = np.array([0, 0, 0, 1, 0, 1, 2], "float32")
SCORES = np.array([0.3, 0.6, 0.2, 0.7, 0.9, 0.1, 0.5], "float32")
WEIGHTS = np.array([1, 2, 0, 3, 0.5, 1, 4], "float32")


def given(rows=slice(None)):
    return np.stack([LABELS, GROUPS], axis=1)[rows], SCORES[rows, None]


def by_loops(weights):
    logits = np.log(SCORES) - np.log(1 - SCORES)
    costs = -np.where(LABELS == 1, np.log(SCORES), np.log(1 - SCORES))
    pairs = [
        (i, j)
        for i in range(len(LABELS))
        for j in range(len(LABELS))
        if GROUPS[i] == GROUPS[j] and LABELS[i] > LABELS[j]
    ]
    assert len(pairs) == 5
    mean = np.mean([weights[i] * np.log1p(np.exp(logits[j] - logits[i])) for i, j in pairs])
    return np.mean(weights * costs) + 0.7 * mean


@pytest.fixture
def loss():
    return PairwiseLoss(keras.losses.BinaryCrossentropy(), weight=0.7)


def test_it_is_the_mean_over_rows_and_over_pairs(loss):
    assert float(loss(*given())) == pytest.approx(by_loops(np.ones(7)), rel=1e-5)


def test_a_pair_weighs_as_its_clicked_row(loss):
    assert float(loss(*given(), WEIGHTS)) == pytest.approx(by_loops(WEIGHTS), rel=1e-5)


def test_without_a_pair_it_is_the_loss_of_rows(loss):
    rows = keras.losses.BinaryCrossentropy()
    expected = rows(LABELS[-2:, None], SCORES[-2:, None])
    assert float(loss(*given(slice(-2, None)))) == pytest.approx(float(expected), rel=1e-6)


def test_it_is_saved_with_a_model(loss, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", loss, jit_compile=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").loss
    assert float(loaded(*given())) == float(loss(*given()))
