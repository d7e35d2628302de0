"""Histories: what a user did before each row."""

import pickle

import numpy as np
import pyarrow as pa

from pipeline import batches as batches_room
from pipeline import history as rows
from pipeline.datasets import History


def test_batches_with_a_history_can_be_sent_for_what_their_rows_take():
    count = 3 * rows.BLOCK_LINES
    columns = {
        rows._USER: ["u"] * count,
        rows._ITEM: [f"item {i}" for i in range(count)],
        rows._TIME: np.arange(count),
        rows._ORDER: np.arange(count),
    }
    batch = pa.RecordBatch.from_pydict(
        {n: batches_room.as_lists(pa.array(v)) for n, v in columns.items()}
    )
    history = History(column="history", user="u", item="i", time="t", max_length=20)
    batches = list(rows._add_history((0, [batch]), history))
    assert [b.num_rows for b in batches] == [rows.BLOCK_LINES] * 3
    texts = sum(len(text[0]) for b in batches for text in b.column("history").to_pylist())
    assert sum(len(pickle.dumps(b)) for b in batches) < 1.3 * texts
