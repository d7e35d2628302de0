"""The order of arrays: what an epoch has, and again after a stop."""

import itertools

import numpy as np
import pytest

from ctr_keras.data.order import shuffled_batches

COUNT = 1000
BATCH = 4
EPOCH = 250  # batches: four blocks


def batches(count=COUNT, batch_size=BATCH, number=2 * EPOCH, **settings):
    stream = shuffled_batches(count, batch_size, **{"seed": 3} | settings)
    return [rows.tolist() for rows in itertools.islice(stream, number)]


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


@pytest.mark.parametrize(("count", "batch_size"), [(COUNT, BATCH), (1001, 4), (1023, 4), (3, 8)])
def test_each_epoch_has_every_row_once_and_one_short_batch_at_most(count, batch_size):
    epoch = -(-count // batch_size)
    both = batches(count, batch_size, 2 * epoch)
    for rows in (both[:epoch], both[epoch:]):
        assert sorted(flat(rows)) == list(range(count))
        assert all(len(batch) == batch_size for batch in rows[:-1])
    assert both[:epoch] != both[epoch:]


def test_shuffling_reaches_over_the_epoch_and_into_the_pieces():
    order = np.array(flat(batches(number=EPOCH)))
    assert abs(np.corrcoef(order, np.arange(COUNT))[0, 1]) < 0.1
    assert np.mean(np.diff(order) == 1) < 0.05  # rows that lie together come apart


def test_the_seed_decides():
    assert batches() == batches()
    assert batches() != batches(seed=4)


@pytest.mark.parametrize("skip", [1, 63, 64, 65, 200, EPOCH, EPOCH + 70])
def test_the_rest_after_skipped_batches_is_what_would_have_come(skip):
    assert batches(skip_batches=skip, number=2 * EPOCH - skip) == batches()[skip:]


def test_rows_of_a_large_split_are_not_all_numbered_at_once():
    first = next(shuffled_batches(10**10, 10**4, seed=0, skip_batches=10**7 + 3))
    assert len(set(first.tolist())) == len(first) == 10**4
    assert first.max() < 10**10
