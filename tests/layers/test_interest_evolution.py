"""AUGRU and NextBehaviorLoss against loops in NumPy, and the GRU that AUGRU contains."""

import keras
import numpy as np
import pytest

from ctr_keras.layers import AUGRU, NextBehaviorLoss
from ctr_keras.testing import run_layer_test
from tests.layers.test_tanh_attention import to_numpy, vectors, weights_of

pytestmark = pytest.mark.backend

COUNT, DIM, UNITS = 5, 4, 3
PADDED = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], bool)


def scores(rows=6):
    return np.random.default_rng(3).uniform(size=(rows, COUNT)).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(weights, inputs, mask=None):
    """One row and step at a time."""
    kernel, bias = weights["kernel"], weights["bias"]
    recurrent = weights["recurrent/cell/kernel"]
    units = len(recurrent)
    update, reset, changed = (slice(i * units, (i + 1) * units) for i in range(3))
    steps, of_steps = inputs
    states = np.zeros((len(steps), units))
    for row in range(len(steps)):
        h = np.zeros(units)
        for t in range(steps.shape[1]):
            if mask is not None and not mask[row, t]:
                continue
            x = steps[row, t] @ kernel + bias
            u = of_steps[row, t] * sigmoid(x[update] + h @ recurrent[:, update])
            r = sigmoid(x[reset] + h @ recurrent[:, reset])
            c = np.tanh(x[changed] + r * (h @ recurrent[:, changed]))
            h = (1 - u) * h + u * c
        states[row] = h
    return states


def test_layer_contract():
    run_layer_test(
        AUGRU,
        {"units": UNITS, "kernel_initializer": "he_normal", "recurrent_initializer": "he_normal"},
        (vectors(), scores()),
        weight_shapes={
            "kernel": (DIM, 3 * UNITS),
            "bias": (3 * UNITS,),
            "recurrent/cell/kernel": (UNITS, 3 * UNITS),
        },
        reference=reference,
        bad_shapes=[
            ((None, DIM), (None, COUNT)),
            ((None, COUNT, None), (None, COUNT)),
            ((None, COUNT, DIM), (None, COUNT, 1)),
        ],
    )


def test_scores_of_one_are_a_gru_of_keras():
    """Whose gate says how much to keep, where ours says how much to take."""
    layer = AUGRU(UNITS)
    gru = keras.layers.GRU(UNITS, use_cudnn=False)
    expected = layer(vectors(), np.ones((6, COUNT), "float32"))
    gru.build(vectors().shape)
    sign = np.repeat([-1.0, 1, 1], UNITS)
    kernel, bias, recurrent = (to_numpy(weight) for weight in layer.weights)
    gru.set_weights([kernel * sign, recurrent * sign, np.stack([bias * sign, 0 * bias])])
    np.testing.assert_allclose(gru(vectors()), expected, 1e-4, 1e-5)


def test_scores_of_zero_leave_the_state_alone():
    some = scores()
    some[:, 3:] = 0
    layer = AUGRU(UNITS)
    np.testing.assert_allclose(
        layer(vectors(), some), layer(vectors()[:, :3], some[:, :3]), 1e-5, 1e-6
    )
    assert not to_numpy(layer(vectors(), 0 * some)).any()


def test_padding_leaves_the_state_alone():
    layer = AUGRU(UNITS)
    output = to_numpy(layer(vectors(4), scores(4), inputs_mask=PADDED))
    expected = reference(weights_of(layer), (vectors(4), scores(4)), PADDED)
    np.testing.assert_allclose(output, expected, 1e-4, 1e-5)
    assert not output[2].any()


def test_the_order_of_steps_counts():
    layer = AUGRU(UNITS)
    same = np.ones((6, COUNT), "float32")
    difference = to_numpy(layer(vectors(), same)) - to_numpy(layer(vectors()[:, ::-1], same))
    assert np.abs(difference).max() > 0.01


def loss_by_loops(states, behaviors, mask):
    """Equation 7, with means for its sums and the row before for its negatives."""
    of_next, of_other = [], []
    for row in range(len(states)):
        for t in range(states.shape[1] - 1):
            if mask[row, t + 1]:
                score = states[row, t] @ behaviors[row, t + 1]
                of_next.append(np.log(sigmoid(score)))
                if mask[row - 1, t + 1]:
                    score = states[row, t] @ behaviors[row - 1, t + 1]
                    of_other.append(np.log(1 - sigmoid(score)))
    return -np.mean(of_next or [0]) - np.mean(of_other or [0])


def test_layer_contract_of_the_loss():
    run_layer_test(
        NextBehaviorLoss,
        {"weight": 0.5},
        (vectors(), vectors(seed=1)),
        weight_shapes={},
        reference=lambda weights, inputs: inputs[0],
        bad_shapes=[
            ((None, DIM), (None, DIM)),
            ((None, COUNT, DIM), (None, COUNT, DIM + 1)),
        ],
        compare_xla=False,
    )


@pytest.mark.parametrize("mask", [PADDED, np.ones((4, COUNT), bool), np.zeros((4, COUNT), bool)])
def test_the_loss_is_that_of_the_equation(mask):
    states, behaviors = vectors(4), vectors(4, seed=1)
    found = NextBehaviorLoss().loss(states, behaviors, mask)
    np.testing.assert_allclose(found, loss_by_loops(states, behaviors, mask), 1e-5, 1e-6)


def test_training_moves_by_the_loss_and_reports_none():
    """A step of gradient descent on what comes in lowers the loss; its reported value is 0."""
    ids = keras.Input((COUNT,), dtype="int32")
    table = keras.layers.Embedding(6, DIM, embeddings_initializer="he_normal")
    layer = NextBehaviorLoss(0.5)
    model = keras.Model(ids, layer(2.0 * table(ids), table(ids)))
    model.compile(keras.optimizers.SGD(0.5), lambda y, output: 0.0 * keras.ops.mean(output))
    rows = np.array([[1, 2, 1, 2, 1], [3, 4, 3, 4, 3]])

    def loss():
        vectors = table(rows)
        return float(layer.loss(2.0 * vectors, vectors))

    before = loss()
    reported = [float(np.ravel(model.train_on_batch(rows, rows[:, :, None]))[0]) for _ in range(5)]
    np.testing.assert_allclose(reported, 0, atol=1e-6)
    assert loss() < before - 0.05


def test_inference_adds_no_loss():
    layer = NextBehaviorLoss()
    layer(vectors(), vectors(), training=False)
    assert layer.losses == []
    layer(vectors(), vectors(), training=True)
    assert len(layer.losses) == 1


@pytest.mark.parametrize("make", [lambda: AUGRU(0), lambda: NextBehaviorLoss(-1.0)])
def test_bad_arguments_are_refused(make):
    with pytest.raises(ValueError, match="Received: "):
        make()
