"""PairAttention against a loop over pairs."""

import itertools

import numpy as np
import pytest

from ctr_keras.layers import FactorizationMachine, PairAttention
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

FIELDS, DIM = 4, 3
ARGUMENTS = {"units": 5, "temperature": 0.5, "kernel_initializer": "he_normal"}


def embeddings(rows=5):
    return np.random.default_rng(0).normal(size=(rows, FIELDS, DIM)).astype("float32")


def reference(weights, inputs):
    rows = []
    for row in inputs:
        products = [row[i] * row[j] for i, j in itertools.combinations(range(FIELDS), 2)]
        hidden = [u @ weights["hidden/kernel"] + weights["hidden/bias"] for u in products]
        scores = [np.maximum(h, 0) @ weights["score/kernel"][:, 0] for h in hidden]
        powers = np.exp(np.array(scores) / 0.5)
        shares = powers / powers.sum()
        rows.append(sum(share * u for share, u in zip(shares, products, strict=True)))
    return np.array(rows)


def test_layer_contract():
    run_layer_test(
        PairAttention,
        ARGUMENTS,
        embeddings(),
        weight_shapes={"hidden/kernel": (DIM, 5), "hidden/bias": (5,), "score/kernel": (5, 1)},
        reference=reference,
        bad_shapes=[(None, DIM), (None, None, DIM), (None, 1, DIM)],
    )


def test_even_attention_is_a_mean_of_pairs():
    layer = PairAttention(kernel_initializer="zeros")
    output, weights = layer(embeddings(), return_attention_scores=True)
    np.testing.assert_allclose(weights, np.full((5, 6), 1 / 6), 1e-6)
    pooled = FactorizationMachine(summed=False)(embeddings())
    np.testing.assert_allclose(output, np.array(pooled) / 6, 1e-5, 1e-6)
    specs = layer.compute_output_spec(embeddings(), return_attention_scores=True)
    assert [spec.shape for spec in specs] == [(5, DIM), (5, 6)]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"units must be at least 1 .* Received: 0, 1\.0"):
        PairAttention(0)
    with pytest.raises(ValueError, match=r"Received: 16, 0\.0"):
        PairAttention(temperature=0.0)
