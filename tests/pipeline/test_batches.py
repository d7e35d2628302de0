"""Histories: what a user did before each row."""

import pickle

import numpy as np
import pyarrow as pa

from pipeline.batches import _ITEM, _ORDER, _TIME, _USER, _add_history, make_batch
from pipeline.block import BLOCK_ROWS
from pipeline.datasets.base import History


def test_history_holds_earlier_items_in_time_order_and_file_order_for_ties():
    rows = [  # user, item, time
        ("u", "c", 30),
        ("v", "x", 5),
        ("u", "a", 10),
        ("u", "b1", 20),
        ("u", "b2", 20),
    ]
    users, items, times = zip(*rows, strict=True)
    columns = {_USER: pa.array(users), _ITEM: pa.array(items)}
    columns |= {_TIME: pa.array([float(t) for t in times]), _ORDER: pa.array(range(5))}
    batch = make_batch(columns)
    history = History("history", "user", "item", "time", max_length=2)
    (result,) = _add_history((0, [batch.slice(0, 2), batch.slice(2)]), history)
    assert result.column("history").to_pylist() == [["b1 b2"], [""], [""], ["a"], ["a b1"]]
    assert result.schema.names == ["history"]


def test_batches_with_a_history_can_be_sent_for_what_their_rows_take():
    count = 3 * BLOCK_ROWS
    columns = {
        _USER: ["u"] * count,
        _ITEM: [f"item {i}" for i in range(count)],
        _TIME: np.arange(count),
        _ORDER: np.arange(count),
    }
    batch = make_batch({name: pa.array(values) for name, values in columns.items()})
    history = History(column="history", user="u", item="i", time="t", max_length=20)
    batches = list(_add_history((0, [batch]), history))
    assert [b.num_rows for b in batches] == [BLOCK_ROWS] * 3
    histories = sum(len(items[0]) for b in batches for items in b.column("history").to_pylist())
    assert sum(len(pickle.dumps(b)) for b in batches) < 1.3 * histories
