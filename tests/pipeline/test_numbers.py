"""Statistics of numbers: the same whatever the order in which batches come."""

import math

import numpy as np
import pytest

from pipeline import numbers
from pipeline.numbers import _add, _Sample


def sample_of(batches: list[np.ndarray], workers: int) -> np.ndarray:
    """What several workers find of batches that they take in turns, sorted."""
    sample = _Sample()
    found = [sample.create_accumulator() for _ in range(workers)]
    for i, batch in enumerate(batches):
        found[i % workers] = sample.add_input(found[i % workers], (batch,))
    return np.sort(sample.extract_output(sample.merge_accumulators(found)))


@pytest.fixture
def batches(monkeypatch) -> list[np.ndarray]:
    monkeypatch.setattr(numbers, "_SAMPLED", 2000)
    rng = np.random.default_rng(0)
    return [rng.lognormal(size=300).astype(np.float32) for _ in range(100)]


def test_a_sample_is_the_same_in_whatever_order_its_values_come(batches):
    first = sample_of(batches, workers=1)
    assert len(first) == 2000
    np.testing.assert_array_equal(sample_of(batches[::-1], workers=7), first)


def test_quantiles_of_a_sample_are_about_those_of_all(batches):
    found = numbers._boundaries(sample_of(batches, workers=3), 10)
    whole = np.sort(np.concatenate(batches))
    ranks = np.searchsorted(whole, found) / len(whole)
    np.testing.assert_allclose(ranks, np.arange(1, 10) / 10, atol=0.03)


def test_few_values_are_all_in_the_sample(batches):
    np.testing.assert_array_equal(
        sample_of(batches[:6], workers=2), np.sort(np.concatenate(batches[:6]))
    )
    assert not len(sample_of([], workers=2))


def test_sums_are_exact_in_whatever_order(batches):
    sums = [batch.astype(float).sum(keepdims=True) for batch in batches]
    total = _add(sums, 1)
    assert total == _add(sums[::-1], 1) == math.fsum(s[0] for s in sums)
    assert _add([], 2).tolist() == [0, 0]
