"""SIM, ETA and SDIM: DIN on what they find, sizes, refusals."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import TopBehaviors
from ctr_keras.models import DIN, ETA, SDIM, SIM
from tests.models.sizes import parameter_count, tower
from tests.models.test_interest import FEATURES, SMALL, TABLE, feature_set
from tests.models.test_mian import to_numpy
from tests.packed import called, packed_inputs

LONG = feature_set(length=20)


@pytest.mark.backend
@pytest.mark.parametrize("builder", [SIM, ETA])
def test_a_search_that_takes_all_is_din(builder):
    inputs = packed_inputs(FEATURES, rows=16)
    model, din = builder(FEATURES, **SMALL, count=4), DIN(FEATURES, **SMALL)
    for layer in din.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    np.testing.assert_allclose(called(model, inputs), called(din, inputs), 1e-5)


@pytest.mark.parametrize("builder", [SIM, ETA])
def test_a_search_adds_no_weights_that_learn(builder):
    assert parameter_count(builder, LONG, **SMALL) == parameter_count(DIN, LONG, **SMALL)


def test_sdim_has_a_tower_and_a_table():
    assert parameter_count(SDIM, LONG, **SMALL) == TABLE * 4 + tower(3 * 4 + 2 * 4, 6)


def found_by(model, inputs):
    layer = next(layer for layer in model.layers if isinstance(layer, TopBehaviors))
    (_, history, *_), (found, is_there) = keras.Model(model.input, [layer.input, layer.output])(
        inputs
    )
    return to_numpy(history), to_numpy(found), to_numpy(is_there)


def test_a_hard_search_finds_the_last_of_the_candidates_category():
    inputs = packed_inputs(LONG, rows=64)
    model = SIM(LONG, **SMALL, category="category", count=2)
    history, found, is_there = found_by(model, inputs)
    for row in range(64):
        wanted = inputs["categorical"][row, 1]
        same = (inputs["categories"][row] == wanted) & (inputs["items"][row] != 0)
        places = np.flatnonzero(same)[-2:]
        assert is_there[row].sum() == len(places)
        np.testing.assert_array_equal(found[row, is_there[row]], history[row, places])
    assert 0 < is_there.sum() < 128


def test_hashes_find_the_candidate_itself():
    inputs = packed_inputs(LONG, rows=64)
    inputs["categorical"] = np.maximum(inputs["categorical"], [1, 8, 15])
    inputs["items"][:, 0], inputs["categories"][:, 0] = inputs["categorical"][:, :2].T
    model = ETA(LONG, **SMALL, count=1)
    history, found, _ = found_by(model, inputs)
    np.testing.assert_array_equal(found[:, 0], history[:, 0])


def test_a_behavior_in_no_bucket_has_no_say():
    """With many signs a bucket, only the candidate itself shares one."""
    inputs = packed_inputs(LONG, rows=16)
    model = SDIM(LONG, **SMALL, bits=400, width=100)
    pooled = keras.Model(model.input, model.get_layer("hash_attention").output)
    is_own = (inputs["items"] == inputs["categorical"][:, :1]) & (
        inputs["categories"] == inputs["categorical"][:, 1:2]
    )
    is_own &= inputs["items"] != 0
    assert ((to_numpy(pooled(inputs)) != 0).any(axis=1) == is_own.any(axis=1)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SIM(LONG, category="categry"), "categry'; did you mean 'category'"),
        (lambda: SIM(LONG, category="user"), "a categorical field with a sequence of its own"),
        (lambda: SDIM(LONG, bits=7), "width=3 divides"),
    ],
)
def test_bad_requests_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
