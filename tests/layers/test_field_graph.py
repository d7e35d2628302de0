"""FieldGraph and AttentionalLogit against loops over fields."""

import numpy as np
import pytest

from ctr_keras.layers import AttentionalLogit, FieldGraph
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
INPUTS = np.random.default_rng(0).normal(size=(5, FIELDS, DIM)).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def edges_of(weights, row):
    edges = np.zeros((len(row), len(row)))
    for i in range(len(row)):
        others = [j for j in range(len(row)) if j != i]
        scores = [row[i] @ weights["from/kernel"] + row[j] @ weights["to/kernel"] for j in others]
        powers = np.exp([max(score[0], 0.01 * score[0]) for score in scores])
        edges[i, others] = powers / powers.sum()
    return edges


def gru(weights, message, state):
    inside = message @ weights["cell/kernel"] + weights["cell/bias"][0]
    before = state @ weights["cell/recurrent_kernel"] + weights["cell/bias"][1]
    (z, r, h), (z_before, r_before, h_before) = np.split(inside, 3), np.split(before, 3)
    update = sigmoid(z + z_before)
    return update * state + (1 - update) * np.tanh(h + sigmoid(r + r_before) * h_before)


def reference(weights, inputs, recurrent):
    rows = []
    for row in inputs:
        edges, states = edges_of(weights, row), row
        for sent, received, bias in zip(
            weights["sent"], weights["received"], weights["bias"], strict=True
        ):
            after = []
            for i in range(len(row)):
                heard = sum(edges[i, j] * (states[j] @ sent[j]) for j in range(len(row)))
                message = heard @ received[i] + bias
                moved = gru(weights, message, states[i]) if recurrent else message + states[i]
                after.append(moved + row[i])
            states = np.array(after)
        rows.append(states)
    return np.array(rows)


@pytest.mark.parametrize("recurrent", [True, False])
def test_layer_contract(recurrent):
    cell = {
        "cell/kernel": (DIM, 3 * DIM),
        "cell/recurrent_kernel": (DIM, 3 * DIM),
        "cell/bias": (2, 3 * DIM),
    }
    run_layer_test(
        FieldGraph,
        {"steps": 2, "recurrent": recurrent},
        INPUTS,
        weight_shapes={
            "from/kernel": (DIM, 1),
            "to/kernel": (DIM, 1),
            "sent": (2, FIELDS, DIM, DIM),
            "received": (2, FIELDS, DIM, DIM),
            "bias": (2, DIM),
            **(cell if recurrent else {}),
        },
        reference=lambda weights, inputs: reference(weights, inputs, recurrent),
        compare_xla=recurrent,
        bad_shapes=[(None, DIM), (None, None, DIM), (None, 1, DIM)],
    )


def test_a_graph_without_messages_adds_the_embeddings_each_step():
    layer = FieldGraph(steps=2, recurrent=False)
    layer.build(INPUTS.shape)
    layer.sent.assign(0 * layer.sent)
    np.testing.assert_allclose(layer(INPUTS), 3 * INPUTS, 1e-6)


def test_edges_are_those_of_the_reference():
    layer = FieldGraph()
    _, edges = layer(INPUTS, return_attention_scores=True)
    weights = {"from/kernel": layer.from_field.kernel, "to/kernel": layer.to_field.kernel}
    weights = {name: np.array(kernel) for name, kernel in weights.items()}
    np.testing.assert_allclose(edges, [edges_of(weights, row) for row in INPUTS], 1e-5, 1e-6)
    states, spec = layer.compute_output_spec(INPUTS, return_attention_scores=True)
    assert (states.shape, spec.shape) == (INPUTS.shape, edges.shape)


def votes(weights, inputs):
    rows = []
    for row in inputs:
        counts = sigmoid(row.reshape(-1) @ weights["counts/kernel"])
        votes = [field @ weights["votes/kernel"][:, 0] for field in row]
        rows.append([sum(counts * votes) + weights["bias"][0]])
    return np.array(rows)


def test_layer_contract_of_the_logit():
    run_layer_test(
        AttentionalLogit,
        {},
        INPUTS,
        weight_shapes={
            "votes/kernel": (DIM, 1),
            "counts/kernel": (FIELDS * DIM, FIELDS),
            "bias": (1,),
        },
        reference=votes,
        compare_xla=False,
        bad_shapes=[(None, DIM), (None, None, DIM)],
    )


def test_less_than_one_step_is_refused():
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        FieldGraph(0)
