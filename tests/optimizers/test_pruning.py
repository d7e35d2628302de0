"""PruningOptimizer: how much is zero and when, of which variables, and that it stays."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.models import DeepFM
from ctr_keras.optimizers import PruningOptimizer, RoutedOptimizer, SparseAdam
from tests.packed import FEW_STEPS

pytestmark = pytest.mark.backend


def resting(values, steps, sparsity=0.5, **options):
    """Weights that nothing but pruning moves, after some steps."""
    weights = keras.Variable(np.array(values, "float32"), name="kernel")
    optimizer = PruningOptimizer(keras.optimizers.SGD(0.0), {"kernel$": sparsity}, **options)
    for _ in range(steps):
        optimizer.apply([ops.ones(weights.shape)], [weights])
    return ops.convert_to_numpy(weights)


def test_the_share_of_zeros_grows_as_the_papers_schedule_says():
    drawn = np.random.default_rng(0).normal(size=1000)
    for steps in (9, 10):
        weights = resting(drawn, steps, sparsity=0.9, damping=0.01)
        pruned = steps - steps % 10
        assert np.sum(weights == 0) == int(1000 * 0.9 * (1 - 0.01 ** (pruned / 100)))
        assert np.abs(drawn[weights == 0]).max(initial=0) <= np.abs(weights[weights != 0]).min()


def test_nothing_is_pruned_before_the_start_and_all_shares_are_bounds():
    values = [1.0, -2.0, 2.0, 3.0, 2.0]
    assert resting(values, 3, damping=0.0, start=3, every=1).tolist() == values
    assert resting(values, 4, damping=0.0, start=3, every=1).tolist() == [0.0, *values[1:]]
    assert resting(values, 1, sparsity=1.0, damping=0.0, every=1).tolist() == [0.0] * 3 + [3, 0]


def test_a_weight_that_outgrows_others_comes_back():
    weights = keras.Variable([1.0, 2.0], name="kernel")
    optimizer = PruningOptimizer(keras.optimizers.SGD(1.0), {"kernel": 0.5}, damping=0.0, every=2)
    seen = []
    for _ in range(4):
        optimizer.apply([ops.convert_to_tensor([-3.0, 0.0])], [weights])
        seen.append(ops.convert_to_numpy(weights).tolist())
    assert seen == [[4.0, 2.0], [7.0, 0.0], [10.0, 0.0], [13.0, 0.0]]


FEATURES = FeatureSet(
    *(Categorical(name) for name in "abc"),
    label=Label("y"),
    vocabulary_sizes=dict.fromkeys("abc", 6),
)


def trained(optimizer):
    draw = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = DeepFM(FEATURES, dim=4, hidden=[8], normalization=None, dropout=0.0)
    model.compile(optimizer, "binary_crossentropy", **FEW_STEPS)
    ids = 2 + 7 * np.arange(3) + draw.integers(0, 6, (80, 3))
    model.fit({"categorical": ids}, draw.integers(0, 2, (80, 1)), 20, epochs=2, verbose=0)
    return model


def test_kernels_and_tables_of_a_model_are_pruned_and_saved_with_their_zeros(tmp_path):
    shares = {"^deep/.*kernel$": 0.75, "^embedding/table$": 0.5}
    adams = RoutedOptimizer(SparseAdam(0.1), {"^linear": SparseAdam(0.01)})
    model = trained(PruningOptimizer(adams, shares, damping=0.0, every=4))
    loaded = keras.saving.load_model(_saved(model, tmp_path / "model.keras"))
    for one in (model, loaded):
        zeros = {v.path: float(np.mean(v.numpy() == 0)) for v in one.trainable_variables}
        found = {path: share for path, share in zeros.items() if share}
        assert found.pop("linear/weighting/table") < 0.2  # what no row has
        assert found.pop("deep/dense_0/bias", 0) < 0.5
        assert found == {"deep/dense_0/kernel": 0.75, "embedding/table": 0.5}
    assert loaded.optimizer.get_config() == model.optimizer.get_config()


def _saved(model, path):
    model.save(path)
    return path


def test_a_share_beyond_all_or_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"kernel must be from 0 to 1. Received: 1\.5"):
        PruningOptimizer("sgd", {"kernel": 1.5})
    with pytest.raises(ValueError, match="'tower' is found in none of the variables: embedding/"):
        trained(PruningOptimizer(SparseAdam(0.1), {"tower": 0.5}))
