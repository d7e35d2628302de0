"""Splits: shares, stability, what they measure, time and its bad values."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from apache_beam.pvalue import TaggedOutput

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.metrics import auc
from pipeline.batches import SPLIT, ParseChunk, column_values, row_keys
from pipeline.block import Block
from pipeline.datasets.base import Dataset
from pipeline.parsing import lines as lines_room
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.parquet import Parquet
from pipeline.sources import Chunk
from pipeline.splits import (
    LEFT_OUT,
    ColumnSplit,
    FileSplit,
    LastSplit,
    RandomSplit,
    TimeSplit,
    Values,
)


def block_of(**columns) -> Block:
    count = len(next(iter(columns.values()), []))
    return Block(0, [b""] * count, {name: pa.array(values) for name, values in columns.items()})


def test_keys_are_the_same_in_every_process():
    assert row_keys("day.csv", np.array([0, 40])).tolist() == [
        -4729759540662396421,
        -3083062005918459560,
    ]


def test_random_split_keeps_its_shares_and_rows():
    keys = row_keys("day.csv", np.arange(20_000))
    split = RandomSplit(0.2, 0.1).assign(keys, block_of())
    shares = np.bincount(split) / len(split)
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(
        RandomSplit(0.2, 0.1).assign(row_keys("day.csv", order), block_of()), split[order]
    )
    for other in (
        RandomSplit(0.2, 0.1, seed=1).assign(keys, block_of()),
        RandomSplit(0.2, 0.1).assign(row_keys("night.csv", np.arange(20_000)), block_of()),
    ):
        assert (other == split).mean() == pytest.approx(0.7**2 + 0.2**2 + 0.1**2, abs=0.01)


def test_rows_of_a_key_stay_together_and_those_without_one_do_not():
    users = [f"user {i % 1000}" for i in range(20_000)]
    split = RandomSplit(0.2, 0.1, key="user")
    keys = row_keys("day.csv", np.arange(40_000))
    by_user = split.assign(keys[:20_000], block_of(user=users)).reshape(20, 1000)
    assert (by_user == by_user[0]).all()
    np.testing.assert_allclose(np.bincount(by_user[0]) / 1000, [0.7, 0.2, 0.1], atol=0.04)
    # Whatever order and file: nothing but the value counts.
    again = split.assign(keys[20_000:], block_of(user=users[::-1]))
    np.testing.assert_array_equal(again[::-1], by_user.ravel())
    nobody = block_of(user=["", "NA", None, "-"] * 5000)
    one_by_one = split.assign(keys[:20_000], nobody, missing=["NA"])
    is_named = np.arange(20_000) % 4 == 3
    assert len(set(one_by_one[is_named].tolist())) == 1
    shares = np.bincount(one_by_one[~is_named]) / 15_000
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)


def rows_of(table, path, split, source=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context, click and split of each row of a log, in order."""
    features = FeatureSet(Categorical("context"), label=Label("click"))
    parse = ParseChunk(Dataset("repeated", features, table, split=split), str(source or path))
    chunks = table.chunks(Chunk(str(path), 0, None), path.stat().st_size)
    outputs = [output for chunk in chunks for output in parse.process(chunk)]
    batches = [output for output in outputs if not isinstance(output, TaggedOutput)]
    context, click, split = (
        np.concatenate([column_values(batch, name) for batch in batches])
        for name in ("context", "click", SPLIT)
    )
    return context.astype(int), click, split


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """A log whose 300 contexts repeat: its folder, and the true rate of each context."""
    draw = np.random.default_rng(0)
    rates = 1 / (1 + np.exp(-draw.normal(-0.5, 1, 300)))
    contexts = draw.integers(300, size=60_000)
    clicks = draw.random(60_000) < rates[contexts]
    table = pa.table(
        {"id": np.arange(60_000), "context": contexts, "click": clicks.astype(np.int8)}
    )
    folder = tmp_path_factory.mktemp("repeated")
    pyarrow.csv.write_csv(table, folder / "with_id.csv")
    pyarrow.csv.write_csv(table.drop_columns(["id"]), folder / "log.csv")
    pyarrow.parquet.write_table(table, folder / "log.parquet", row_group_size=7000)
    return folder, rates


CSV, PARQUET = Delimited(("context", "click")), Parquet(("click", "context"))
WITH_ID = Delimited(("id", "context", "click"))


@pytest.mark.parametrize(
    ("name", "table"), [("log.csv", CSV), ("with_id.csv", WITH_ID), ("log.parquet", PARQUET)]
)
def test_a_log_whose_rows_repeat_measures_its_true_auc(repeated, name, table):
    folder, rates = repeated
    context, click, split = rows_of(table, folder / name, RandomSplit(0.1, 0.2))
    truth = auc(click, rates[context])
    assert truth == pytest.approx(0.74, abs=0.01)
    train, test = split == 0, split == 2
    learned = np.bincount(context[train], click[train]) / np.bincount(context[train])
    # 12,000 test rows measure an AUC to a standard deviation of .0045.
    assert auc(click[test], rates[context[test]]) == pytest.approx(truth, abs=0.013)
    assert auc(click[test], learned[context[test]]) == pytest.approx(truth, abs=0.013)


@pytest.mark.parametrize(("name", "table"), [("log.csv", CSV), ("log.parquet", PARQUET)])
def test_chunks_and_added_rows_leave_a_row_in_its_split(
    repeated, tmp_path, monkeypatch, name, table
):
    path = repeated[0] / name
    *_, split = rows_of(table, path, RandomSplit())
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 50_000)
    np.testing.assert_array_equal(rows_of(table, path, RandomSplit())[-1], split)
    longer = tmp_path / name
    if table is CSV:
        longer.write_bytes(path.read_bytes() + b"7,1\n" * 1000)
    else:
        rows = pyarrow.parquet.read_table(path)
        pyarrow.parquet.write_table(pa.concat_tables([rows, rows]), longer, row_group_size=999)
    np.testing.assert_array_equal(rows_of(table, longer, RandomSplit())[-1][:60_000], split)


def test_another_place_and_more_files_leave_a_row_in_its_split(repeated, tmp_path):
    path = repeated[0] / "log.csv"
    moved = tmp_path / path.name
    moved.write_bytes(path.read_bytes())
    (tmp_path / "first.csv").write_bytes(path.read_bytes())
    split, again, other = (
        rows_of(CSV, place, RandomSplit(0.3, 0.3), place.parent)[-1]
        for place in (path, moved, tmp_path / "first.csv")
    )
    np.testing.assert_array_equal(again, split)
    assert (other == split).mean() == pytest.approx(0.4**2 + 0.3**2 + 0.3**2, abs=0.01)


def test_a_time_split_by_numbers_that_are_no_times():
    block = block_of(t=["9", "10", "19.5", "20", "soon", "", "-"])
    assert TimeSplit("t", 10, 20).assign(np.zeros(7), block, ["-"]).tolist()[:4] == [0, 1, 1, 2]
    missing = "t is missing"
    assert block.reason.tolist() == [None] * 4 + ["t is not a number", missing, missing]
    gapped = TimeSplit("t", 10, 20, gap=2.5).assign(np.zeros(4), block_of(t=["7", "8", "18", "20"]))
    assert gapped.tolist() == [0, LEFT_OUT, LEFT_OUT, 2]


@pytest.mark.parametrize(
    "boundaries",
    [
        ("2024-02-01", "2024-03-01"),
        (datetime.date(2024, 2, 1), datetime.datetime(2024, 3, 1)),
        (20240201, "20240301"),
        (1706745600, 1709251200000),
        ("2024-02-01T02:00+02:00", datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)),
    ],
)
def test_a_time_split_reads_rows_and_boundaries_in_any_spelling(boundaries):
    rows = ["2024-01-31", "24013123", "1706745599", "20240201", "1706745600000", "2024-02-29 23"]
    rows += ["2024-02-29T23:59:59.9Z", "2024-03-01", "2024-03-01 01:00+01:00", "14102100"]
    split = TimeSplit("t", *boundaries).assign(np.zeros(10), block_of(t=rows))
    assert split.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 0]


def test_a_time_split_rejects_what_is_no_time_whatever_text_it_is():
    bad = ["", "NA", None, "unknown", "03/01/2024", "zzz", "0"]
    block = block_of(t=[*bad, "2024-01-31"])
    split = TimeSplit("t", "2024-02-01", "2024-03-01")
    assert split.assign(np.zeros(8), block, missing=["NA"])[-1] == 0
    assert block.is_good.tolist() == [False] * 7 + [True]
    assert block.reason[:3].tolist() == ["t is missing"] * 3
    wrong = "which is no time: spell times as YYYY-MM-DD HH:MM:SS or as seconds since 1970"
    assert f"t is '03/01/2024', {wrong}" in block.reason


def test_a_gap_is_left_out_before_each_boundary():
    rows = ["2024-01-30 11", "2024-01-30 12", "2024-01-31", "2024-02-01", "2024-02-28 12"]
    rows += ["2024-02-29 23", "2024-03-01", "2024-03-02"]
    split = TimeSplit("t", "2024-02-01", "2024-03-01", gap="36h")
    assert split.assign(np.zeros(8), block_of(t=rows)).tolist() == [0, -1, -1, 1, -1, -1, 2, 2]


def test_a_time_split_goes_by_the_clock_of_its_zone():
    rows = ["2024-01-31 23:30", "2024-01-31T22:30Z", "2024-01-31T23:30Z"]
    split = TimeSplit("t", "2024-02-01", "2024-03-01", zone="Europe/Berlin")
    assert split.assign(np.zeros(3), block_of(t=rows)).tolist() == [0, 0, 1]


def test_a_column_may_name_the_splits():
    block = block_of(fold=["train", "dev", "test", "valid", "", "TEST"])
    split = ColumnSplit("fold").assign(np.zeros(6), block)
    assert split[:4].tolist() == [0, 1, 2, 1]
    missing, wrong = "fold is missing", "fold is 'TEST', which names no split"
    assert block.reason.tolist() == [None] * 4 + [missing, wrong]
    numbered = ColumnSplit("fold", train=[0, 1], validation=[2], test=[])
    assert numbered.assign(np.zeros(3), block_of(fold=["1", "2", "0"])).tolist() == [0, 1, 0]


def test_a_share_of_the_training_files_is_for_validation():
    keys = np.random.default_rng(0).integers(2**63, size=4000)
    split = FileSplit("train.csv", validation=0.1, test="test.csv")
    assert split.patterns == {"train": "train.csv", "test": "test.csv"}
    assert np.bincount(split.assign_of_file("train", keys), minlength=3) / 4000 == pytest.approx(
        [0.9, 0.1, 0], abs=0.01
    )
    assert (split.assign_of_file("test", keys) == 2).all()
    named = FileSplit("train.csv", "valid.csv")
    assert named.patterns == {"train": "train.csv", "validation": "valid.csv"}
    assert (named.assign_of_file("train", keys) == 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomSplit(0.5, 0.5),
        lambda: RandomSplit(-0.1, 0.1),
        lambda: TimeSplit("t", 20, 10),
        lambda: FileSplit(""),
        lambda: FileSplit("train.csv", 1.0),
        lambda: FileSplit("train.csv", -0.1),
        lambda: ColumnSplit("fold", train=[]),
    ],
)
def test_impossible_splits_are_refused(make):
    with pytest.raises(ValueError, match=r"validation|train"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TimeSplit("t", "2024-01-01", "2024-02-01", gap="soon"),
            'gap must be a time such as "1d" or "12h", got \'soon\'',
        ),
        (
            lambda: TimeSplit("t", "2024-01-01", "2024-02-01", gap=3),
            'gap must be a time such as "1d" or "12h", got 3',
        ),
        (lambda: TimeSplit("t", 1, 2, gap="1d"), "gap must be a number of at least 0, got '1d'"),
        (lambda: TimeSplit("t", "2024-01-31", 10), "test_from is no time: 10; spell times as"),
        (
            lambda: TimeSplit("t", "2024-01-01", "01.02.2024"),
            "test_from is no time: '01.02.2024'; spell times as YYYY-MM-DD HH:MM:SS",
        ),
        (lambda: TimeSplit("t", 1, 2, zone="Mars"), "unknown time zone 'Mars'"),
        (lambda: ColumnSplit("f", train=["a"], test=["a"]), "'a' cannot be in two splits"),
    ],
)
def test_wrong_splits_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_last_rows_of_each_user_are_left_out():
    users = np.array(["a", "a", "", "a", "b", "b", "", "", "c", "c", "c", "c"], object)
    times = np.array([5, 5, 1, 4, 1, 2, 2, 3, 4, 3, 2, 1])
    order = np.array([1, 0, *range(2, 12)])
    split = LastSplit("user", "time").assign_by_user(users, times, order)
    #                          one time, by place    too few and nobody
    assert split.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0]
    shuffled = np.random.default_rng(0).permutation(12)
    again = LastSplit("user", "time").assign_by_user(
        users[shuffled], times[shuffled], order[shuffled]
    )
    assert again.tolist() == split[shuffled].tolist()


def test_rows_are_ordered_by_numbers_or_times():
    block = block_of(t=["1", "2.5", "-3", "1e3"])
    assert Values(block, "t").order().tolist() == [1, 2.5, -3, 1000]
    block = block_of(t=["7", "1970-01-02", "soon", "-", ""])
    assert Values(block, "t", ["-"]).order()[:2].tolist() == [7, 86400]
    assert block.is_good.tolist() == [True, True, False, False, False]
    assert block.reason[3:].tolist() == ["t is missing"] * 2
