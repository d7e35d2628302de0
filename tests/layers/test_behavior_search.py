"""SimHash, TopBehaviors and HashAttention against loops in NumPy."""

import numpy as np
import pytest

from ctr_keras.layers import HashAttention, SimHash, TopBehaviors
from ctr_keras.testing import run_layer_test
from tests.layers.test_tanh_attention import to_numpy, vectors

pytestmark = pytest.mark.backend

COUNT, DIM, BITS = 5, 4, 6
PADDED = np.array([[1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)


def drawn(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def signs_by_loops(weights, inputs):
    outputs = np.zeros((*inputs.shape[:-1], BITS))
    for place in np.ndindex(*outputs.shape):
        along = inputs[place[:-1]] @ weights["directions"][:, place[-1]]
        outputs[place] = 1 if along >= 0 else -1
    return outputs


def top_by_loops(scores, behaviors, count, mask=None):
    outputs = np.zeros((len(scores), min(count, COUNT), DIM))
    for row, of_row in enumerate(scores):
        places = [t for t in range(COUNT) if mask is None or mask[row, t]]
        best = sorted(places, key=lambda t, of_row=of_row: -of_row[t])[:count]
        for place, t in enumerate(sorted(best)):
            outputs[row, place] = behaviors[row, t]
    return outputs


def collisions_by_loops(inputs, width, mask=None):
    candidate, signs, behaviors = inputs
    outputs = np.zeros((len(candidate), behaviors.shape[2]))
    groups = candidate.shape[1] // width
    for row in range(len(candidate)):
        for group in range(groups):
            bits = slice(group * width, (group + 1) * width)
            total = np.zeros(behaviors.shape[2])
            for t in range(behaviors.shape[1]):
                if mask is not None and not mask[row, t]:
                    continue
                if (np.sign(candidate[row, bits]) == np.sign(signs[row, t, bits])).all():
                    total += behaviors[row, t]
            length = np.linalg.norm(total)
            outputs[row] += total / length / groups if length else 0
    return outputs


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_layer_contract_of_signs():
    run_layer_test(
        SimHash,
        {"bits": BITS, "seed": 1},
        np.round(8 * vectors()) / 8,  # which half precision keeps
        weight_shapes={"directions": (DIM, BITS)},
        reference=signs_by_loops,
        bad_shapes=[(None,), (None, None)],
        compare_xla=False,
    )


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
@pytest.mark.parametrize("count", [2, 9])
def test_layer_contract_of_the_best(count):
    run_layer_test(
        TopBehaviors,
        {"count": count, "check_ids": True},
        (drawn(6, COUNT), vectors()),
        weight_shapes={},
        reference=lambda weights, inputs: top_by_loops(*inputs, count),
        bad_shapes=[((None, COUNT, 1), (None, COUNT, DIM)), ((None, None), (None, None, DIM))],
        compare_xla=count == 2,
    )


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_layer_contract_of_collisions():
    run_layer_test(
        HashAttention,
        {"width": 2},
        (drawn(6, BITS), drawn(6, COUNT, BITS, seed=4), vectors()),
        weight_shapes={},
        reference=lambda weights, inputs: collisions_by_loops(inputs, 2),
        bad_shapes=[
            ((None, 5), (None, COUNT, 5), (None, COUNT, DIM)),
            ((None, BITS), (None, COUNT, 4), (None, COUNT, DIM)),
            ((None, BITS), (None, BITS), (None, COUNT, DIM)),
        ],
        compare_xla=False,
    )


def test_the_most_recent_of_equals_are_taken_in_order():
    history = np.arange(6.0).reshape(1, 6, 1)
    scores = np.array([[1.0, 2, 1, 2, 1, 1]])
    np.testing.assert_array_equal(TopBehaviors(3)(scores, history)[0, :, 0], [1, 3, 5])


def test_what_is_masked_is_never_taken():
    scores, history = drawn(4, COUNT), vectors(4)
    output, mask = TopBehaviors(3)(scores, history, PADDED, return_mask=True)
    np.testing.assert_array_equal(to_numpy(mask).sum(axis=1), [3, 1, 0, 3])
    for row, kept in enumerate(to_numpy(mask)):
        expected = top_by_loops(scores, history, 3, PADDED)[row]
        np.testing.assert_allclose(to_numpy(output)[row, kept], expected[: kept.sum()], 1e-6)
        assert not to_numpy(output)[row, ~kept].any()


def test_a_wrong_id_passes_though_it_is_not_taken():
    scores, history = np.array([[2.0, 1.0], [1.0, 2.0]]), vectors(2, count=2)
    history[0, 1] = np.nan
    assert np.isfinite(to_numpy(TopBehaviors(1)(scores, history))).all()
    output = to_numpy(TopBehaviors(1, check_ids=True)(scores, history))
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1]).all()


def test_masked_behaviors_fall_into_no_bucket():
    inputs = (drawn(4, BITS), drawn(4, COUNT, BITS, seed=4), vectors(4))
    expected = collisions_by_loops(inputs, 1, PADDED)
    np.testing.assert_allclose(HashAttention(1)(*inputs, PADDED), expected, 1e-5, 1e-6)


def test_signs_agree_as_the_angle_says():
    angle = np.pi / 3
    pair = np.array([[1, 0], [np.cos(angle), np.sin(angle)]], "float32")
    one, other = to_numpy(SimHash(20_000, seed=0)(pair))
    np.testing.assert_allclose((one == other).mean(), 1 - 1 / 3, atol=0.01)


@pytest.mark.parametrize("layer_class", [SimHash, TopBehaviors, HashAttention])
def test_bad_arguments_are_refused(layer_class):
    with pytest.raises(ValueError, match=r"must be at least 1\. Received: 0"):
        layer_class(0)
