"""Splits: shares, stability, time and its bad values."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.batches import row_keys
from pipeline.block import Block
from pipeline.splits import FileSplit, RandomSplit, TimeSplit


def block_of(**columns) -> Block:
    count = len(next(iter(columns.values()), []))
    return Block(0, [b""] * count, {name: pa.array(values) for name, values in columns.items()})


def test_keys_are_the_same_in_every_process():
    assert row_keys(np.array([b"a", b""], object)).tolist() == [
        4681665781835383343,
        -1970711489451281740,
    ]


def test_random_split_keeps_its_shares_and_rows():
    rows = np.array([f"row {i}".encode() for i in range(20_000)], object)
    keys = row_keys(rows)
    split = RandomSplit(0.2, 0.1).assign(keys, block_of())
    shares = np.bincount(split) / len(split)
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(
        RandomSplit(0.2, 0.1).assign(row_keys(rows[order]), block_of()), split[order]
    )
    other = RandomSplit(0.2, 0.1, seed=1).assign(keys, block_of())
    assert 0.4 < (other == split).mean() < 0.7  # independent: .7^2 + .2^2 + .1^2 = .54


def test_time_split_by_number_and_string():
    numeric = TimeSplit("t", 10, 20)
    block = block_of(t=["9", "10", "19.5", "20", "soon"])
    assert numeric.assign(np.zeros(5), block).tolist()[:4] == [0, 1, 1, 2]
    assert block.reason.tolist() == [None] * 4 + ["t is not a number"]
    dates = TimeSplit("t", "2024-02-01", "2024-03-01")
    block = block_of(t=["2024-01-31", "2024-02-01", "2024-12-01"])
    assert dates.assign(np.zeros(3), block).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomSplit(0.5, 0.5),
        lambda: RandomSplit(-0.1, 0.1),
        lambda: TimeSplit("t", 20, 10),
        lambda: TimeSplit("t", "a", 10),
        lambda: FileSplit(""),
    ],
)
def test_impossible_splits_are_refused(make):
    with pytest.raises(ValueError, match=r"validation|train"):
        make()
