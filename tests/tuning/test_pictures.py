"""Pictures of studies: which trials are moved to the edge, and how that shows."""

import numpy as np
import pytest
from optuna.trial import create_trial

from ctr_keras.training import TrainConfig
from ctr_keras.tuning import Choice, Range, TuneConfig
from ctr_keras.tuning.pictures import trials_picture

SPACE = {"learning_rate": Range(1e-4, 1e-2, log=True), "dim": Choice([4, 8])}


def picture(values, monitor="auc"):
    config = TuneConfig(TrainConfig("d", "FM", "o", monitor=monitor), SPACE)
    distributions = {name: of.distribution() for name, of in SPACE.items()}
    params = {"learning_rate": 1e-3, "dim": "4"}
    trials = [create_trial(value=v, params=params, distributions=distributions) for v in values]
    return trials_picture(config, trials, trials[0])


def heights(figure, number):
    """Of the points of the first panel that are drawn as a kind: stopped, stopped and moved, ..."""
    return np.sort(figure.axes[0].collections[number].get_offsets()[:, 1])


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


NEAR = (0.66, 0.655, 0.65, 0.645, 0.64, 0.635, 0.63, 0.625)


def test_values_that_are_not_far_off_stay_where_they_are():
    figure = picture([*NEAR, 0.62, 0.61])
    np.testing.assert_allclose(heights(figure, 2), sorted([*NEAR, 0.62, 0.61]))
    assert not heights(figure, 3).size
    assert "far worse, moved to the edge" not in texts(figure)


@pytest.mark.parametrize("monitor", ["auc", "log_loss"])
def test_values_that_are_far_off_are_triangles_next_to_the_others(monitor):
    sign = 1 if monitor == "auc" else -1
    values = np.array([*NEAR, 0.6, 0.3]) * sign
    figure = picture(values, monitor)
    np.testing.assert_allclose(heights(figure, 2), np.sort(values[:-1]))
    np.testing.assert_allclose(heights(figure, 3), sign * (0.6 - 0.1 * 0.06))
    assert texts(figure)[-1] == "far worse, moved to the edge"
    handle = figure.legends[0].legend_handles[-1]
    assert handle.get_marker() == ("v" if monitor == "auc" else "^")


def test_trials_that_are_all_alike_are_in_the_picture():
    figure = picture([0.6] * 9 + [0.5])
    np.testing.assert_allclose(heights(figure, 2), [0.5] + [0.6] * 9)
