"""Averages in the place of weights, and back, bit for bit."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.keras_internals import averages
from ctr_keras.optimizers import DenseAdam, RoutedOptimizer, SparseAdagrad, SparseAdam, averaged
from tests.optimizers.training import BY_ROWS, trained, weights

pytestmark = [pytest.mark.backend, BY_ROWS]

EMA = {"use_ema": True, "ema_momentum": 0.8}
OPTIMIZERS = {
    "sparse": lambda: SparseAdam(0.1, **EMA),
    "dense": lambda: DenseAdam(0.1, **EMA),
    "routed": lambda: RoutedOptimizer(
        SparseAdam(0.1, **EMA), {"table$": SparseAdagrad(0.1, **EMA)}
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_has_the_averages_and_then_its_weights_again(name):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            before = weights(self.model)
            with averaged(self.model):
                seen.append((before, weights(self.model)))
            after = weights(self.model)
            for path, value in before.items():
                np.testing.assert_array_equal(after[path], value)

    model = trained(OPTIMIZERS[name](), callbacks=[Look()])
    (before, inside), ended = seen[0], weights(model)  # `fit` ends with the averages for good
    for path, value in inside.items():
        np.testing.assert_array_equal(ended[path], value)
        assert np.abs(before[path] - value).max() > 1e-4
    parts = getattr(model.optimizer, "optimizers", [model.optimizer])
    assert all(np.isfinite(ops.convert_to_numpy(a)).all() for one in parts for a in averages(one))


def test_without_averages_nothing_happens():
    model = trained(SparseAdam(0.1))
    before = weights(model)
    with averaged(model):
        inside = weights(model)
    for path, value in before.items():
        np.testing.assert_array_equal(inside[path], value)
