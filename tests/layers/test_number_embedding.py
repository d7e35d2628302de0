"""PeriodicEmbedding, AutoDisEmbedding and StepEmbedding against loops over numbers."""

import numpy as np
import pytest

from ctr_keras.layers import AutoDisEmbedding, PeriodicEmbedding, StepEmbedding
from ctr_keras.testing import run_layer_test

pytestmark = pytest.mark.backend

NUMBERS = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
BAD_SHAPES = [(None,), (None, 2, 3), (None, None)]


def periodic(weights, inputs):
    rows = []
    for row in inputs:
        fields = []
        for x, scales, kernel in zip(row, weights["scales"], weights["kernel"], strict=True):
            angles = [2 * np.pi * scale * x for scale in scales]
            waves = [*np.cos(angles), *np.sin(angles)]
            fields.append(sum(wave * line for wave, line in zip(waves, kernel, strict=True)))
        rows.append(fields)
    return np.array(rows)


def test_layer_contract_of_waves():
    run_layer_test(
        PeriodicEmbedding,
        {"dim": 3, "frequencies": 2, "spread": 0.5, "initializer": "random_normal"},
        NUMBERS,
        weight_shapes={"scales": (2, 2), "kernel": (2, 4, 3)},
        reference=periodic,
        bad_shapes=BAD_SHAPES,
    )


def autodis(weights, inputs, keep=0.5, temperature=0.8):
    rows = []
    for row in inputs:
        fields = []
        for place, x in enumerate(row):
            hidden = [max(x * w, 0.01 * x * w) for w in weights["slopes"][place]]
            logits = np.dot(hidden, weights["mixing"][place]) + keep * np.array(hidden)
            shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
            vectors = weights["vectors"][place]
            fields.append(sum(share * v for share, v in zip(shares, vectors, strict=True)))
        rows.append(fields)
    return np.array(rows)


def test_layer_contract_of_buckets_that_are_learned():
    config = {"dim": 3, "buckets": 4, "keep": 0.5, "temperature": 0.8}
    run_layer_test(
        AutoDisEmbedding,
        {**config, "initializer": "random_normal"},
        NUMBERS,
        weight_shapes={"slopes": (2, 4), "mixing": (2, 4, 4), "vectors": (2, 4, 3)},
        reference=autodis,
        bad_shapes=BAD_SHAPES,
    )


BUCKETS = np.array([[1, 2], [3, 1], [0, 2], [2, 0], [3, 3]], "int32")


def steps_of(weights, inputs, counts=(3, 4)):
    rows = []
    for row in inputs:
        fields, start = [], 0
        for bucket, count in zip(row, counts, strict=True):
            vector = np.zeros(2)
            for place in range(count if bucket else 0):
                step = weights["steps"][start + place] / 2
                vector += step if place < bucket else -step
            fields.append(vector)
            start += count
        rows.append(fields)
    return np.array(rows)


def test_layer_contract_of_steps():
    run_layer_test(
        StepEmbedding,
        {"dim": 2, "buckets": [3, 4], "initializer": "random_normal"},
        BUCKETS,
        weight_shapes={"steps": (7, 2)},
        reference=steps_of,
        bad_shapes=[*BAD_SHAPES, (None, 3)],
    )


@pytest.mark.parametrize("buckets", [[0], [3, -1]])
def test_a_number_without_buckets_is_refused(buckets):
    with pytest.raises(ValueError, match="each number needs a bucket"):
        StepEmbedding(2, buckets=buckets)


def test_a_row_teaches_its_bucket_and_the_nearest_ones_most():
    layer = StepEmbedding(1, buckets=[8], initializer="zeros")
    layer.build((None, 1))
    layer.steps.assign([[1.0]] * 5 + [[-1.0]] * 3)  # against the gradient of a click in bucket 5
    learned = np.array(layer(np.arange(1, 9)[:, None])).ravel()
    assert learned.argmax() == 4
    assert (np.diff(learned[:5]) > 0).all()
    assert (np.diff(learned[4:]) < 0).all()


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"dim must be at least 1\. Received: 0"):
        PeriodicEmbedding(0)
    with pytest.raises(ValueError, match=r"temperature must be over 0\. Received: 0"):
        AutoDisEmbedding(3, temperature=0)
