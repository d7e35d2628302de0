"""Reading TFRecords: what comes, and in which order (test_examples.py has what all ways share)."""

import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.data import open_examples
from ctr_keras.data.records import read_examples, read_rows, row_count, stream_examples
from tests.data.shards import FEATURES, write_prepared

ROWS = 1000
BATCH = 32


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    return write_prepared(folder, {"train": ROWS, "test": 10}, shards=5)


def rows_of(batches):
    """The number of each row, batch by batch."""
    return [np.round(inputs["numeric"].numpy()[:, 0] * 1000).astype(int) for inputs, _ in batches]


def stream(prepared, seed=3, skip=0, batches=64):
    dataset = stream_examples(prepared, FEATURES, BATCH, seed=seed, skip_batches=skip)
    return rows_of(itertools.islice(dataset, batches))


def flat(batches):
    return np.concatenate(batches).tolist()


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


READINGS = {
    "in turn": lambda folder: [*open_examples(folder, "train", FEATURES).read(100)],
    "decoded": lambda folder: open_examples(folder, "train", FEATURES, resident=True),
    "the first": lambda folder: read_rows(folder, "train", FEATURES, ROWS),
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_a_damaged_file_is_named(read, prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    damaged = sorted((folder / "examples").glob("train-*"))[-1]
    damaged.write_bytes(damaged.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"^{damaged} is damaged: prepare the data again$"):
        read(str(folder))
