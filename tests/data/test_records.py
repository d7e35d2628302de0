"""Reading TFRecords: what comes, in which order, and again after a stop."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.data import read_examples, row_count, stream_examples
from tests.data.shards import FEATURES, write_prepared

ROWS = 1000
BATCH = 32
EPOCH = 32  # batches: 31 full ones and one of 8 rows


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    return write_prepared(folder, {"train": ROWS, "test": 10}, shards=5)


def rows_of(batches):
    """The number of each row, batch by batch."""
    return [np.round(inputs["numeric"].numpy()[:, 0] * 1000).astype(int) for inputs, _ in batches]


def stream(prepared, seed=3, skip=0, batches=2 * EPOCH):
    dataset = stream_examples(prepared, FEATURES, BATCH, seed=seed, skip_batches=skip)
    return rows_of(itertools.islice(dataset, batches))


def flat(batches):
    return np.concatenate(batches).tolist()


def test_a_split_is_read_once_and_whole(prepared):
    batches = list(read_examples(prepared, "train", FEATURES, BATCH))
    assert [len(labels) for _, labels in batches] == [BATCH] * 31 + [8]
    assert sorted(flat(rows_of(batches))) == list(range(ROWS))
    again = rows_of(read_examples(prepared, "train", FEATURES, BATCH))
    assert flat(rows_of(batches)) == flat(again)


def test_inputs_have_the_packed_shapes_and_types(prepared):
    inputs, labels = next(iter(read_examples(prepared, "test", FEATURES, 4)))
    assert {k: v.shape[1:] for k, v in inputs.items()} == FEATURES.packed_shapes
    kinds = {name: tensor.dtype.name for name, tensor in inputs.items()}
    assert kinds == {
        "categorical": "int32",
        "numeric": "float32",
        "genres": "int32",
        "history": "int32",
    }
    assert labels.shape == (4, 1)
    assert labels.dtype == "float32"
    genres = inputs["genres"].numpy()
    assert ((genres == 0) | (genres >= 7)).all()
    assert (genres[:, :-1] >= np.minimum(genres[:, 1:], 1)).all()  # padded at the end


def test_only_the_inputs_asked_for_are_read(prepared):
    inputs, _ = next(iter(read_examples(prepared, "test", FEATURES, 4, ["genres"])))
    assert list(inputs) == ["genres"]


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(prepared):
    batches = stream(prepared)
    first, second = flat(batches[:EPOCH]), flat(batches[EPOCH:])
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert first != flat(rows_of(read_examples(prepared, "train", FEATURES, BATCH)))


def test_shuffling_reaches_over_the_epoch(prepared):
    order = np.array(flat(stream(prepared, batches=EPOCH)))
    assert abs(np.corrcoef(order, np.arange(ROWS))[0, 1]) < 0.75


def test_the_seed_decides_the_order(prepared):
    assert flat(stream(prepared)) == flat(stream(prepared))
    assert flat(stream(prepared)) != flat(stream(prepared, seed=4))


@pytest.mark.parametrize("skip", [5, EPOCH, EPOCH + 7])
def test_going_on_after_a_stop_sees_what_would_have_come(prepared, skip):
    undisturbed = stream(prepared)
    rest = stream(prepared, skip=skip, batches=2 * EPOCH - skip)
    assert flat(rest) == flat(undisturbed[skip:])


def test_epochs_differ_even_if_there_is_one_file(tmp_path):
    alone = write_prepared(tmp_path / "prepared", {"train": 100}, shards=1)
    batches = stream(alone, batches=8)
    assert flat(batches[:4]) != flat(batches[4:])
    assert flat(stream(alone, skip=4, batches=4)) == flat(batches[4:])


def test_the_order_does_not_depend_on_other_random_numbers(prepared):
    tf.random.set_seed(1)
    first = flat(stream(prepared, batches=4))
    tf.random.set_seed(2)
    assert flat(stream(prepared, batches=4)) == first


def test_rows_are_counted_by_the_report(prepared):
    assert row_count(prepared, "train") == ROWS


def test_missing_data_are_named(prepared, tmp_path):
    with pytest.raises(FileNotFoundError, match="prepared/examples holds no validation files"):
        read_examples(prepared, "validation", FEATURES, BATCH)
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        row_count(str(tmp_path), "train")
