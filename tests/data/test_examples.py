"""Ways of reading a split: what training may rely on whichever it is."""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ctr_keras.data import open_examples, records
from tests import JAX_SETTINGS
from tests.conftest import ROOT
from tests.data.shards import FEATURES, write_prepared

ROWS = 1000
BATCH = 32
EPOCH = 32  # batches: 31 full ones and one of 8 rows
WAYS = ("records", "cache", "resident", "resident cache")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "prepared"
    return write_prepared(folder, {"train": ROWS, "test": 10, "validation": 0}, shards=5)


@pytest.fixture(scope="module", params=WAYS)
def examples(request, prepared, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache")) if "cache" in request.param else ""
    resident = "resident" in request.param
    return open_examples(prepared, "train", FEATURES, cache=cache, resident=resident)


def rows_of(batches):
    """The number of each row, batch by batch."""
    columns = (np.asarray(inputs["numeric"])[:, 0] for inputs, _ in batches)
    return [np.round(column * 1000).astype(int) for column in columns]


def stream(examples, seed=3, skip=0, batches=2 * EPOCH):
    stream = examples.stream(BATCH, seed=seed, skip_batches=skip)
    return rows_of(itertools.islice(stream, batches))


def flat(batches):
    return np.concatenate(batches).tolist()


def test_a_split_is_read_once_and_whole(examples):
    batches = list(examples.read(BATCH))
    assert examples.count == ROWS
    assert [len(labels) for _, labels in batches] == [BATCH] * 31 + [8]
    assert sorted(flat(rows_of(batches))) == list(range(ROWS))
    assert flat(rows_of(batches)) == flat(rows_of(examples.read(BATCH)))


def test_all_ways_read_the_same(examples, prepared):
    def by_row(examples):
        inputs, labels = next(iter(examples.read(ROWS)))
        order = np.argsort(np.asarray(inputs["numeric"])[:, 0])
        return {name: np.asarray(v)[order] for name, v in {**inputs, "label": labels}.items()}

    expected = by_row(open_examples(prepared, "train", FEATURES))
    actual = by_row(examples)
    assert set(actual) == {*FEATURES.packed_shapes, "label"}
    for name, values in actual.items():
        assert values.dtype == ("float32" if name in ("numeric", "label") else "int32")
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(examples):
    batches = stream(examples)
    first, second = flat(batches[:EPOCH]), flat(batches[EPOCH:])
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert first != flat(rows_of(examples.read(BATCH)))
    assert [len(rows) for rows in batches] == ([BATCH] * 31 + [8]) * 2


def test_an_epoch_of_many_blocks_is_whole_and_goes_on_after_a_stop(prepared, monkeypatch):
    monkeypatch.setattr(records, "_SHUFFLED_BYTES", 100 * records.row_bytes(FEATURES, None))
    examples = open_examples(prepared, "train", FEATURES)  # a block has 4 batches
    batches = stream(examples)
    assert sorted(flat(batches[:EPOCH])) == sorted(flat(batches[EPOCH:])) == list(range(ROWS))
    assert [len(rows) for rows in batches] == ([BATCH] * 31 + [8]) * 2
    assert flat(batches[:EPOCH]) != flat(batches[EPOCH:])
    for skip in (2, EPOCH + 5):
        assert flat(stream(examples, skip=skip, batches=2)) == flat(batches[skip : skip + 2])


def test_shuffling_reaches_over_the_epoch(examples):
    """As far as in a permutation: the deviation of its correlation is 0.03, and few rows follow."""
    batches = stream(examples, batches=EPOCH)
    assert abs(np.corrcoef(flat(batches), np.arange(ROWS))[0, 1]) < 0.1
    assert np.mean(np.diff(flat(batches)) == 1) < 0.01
    for rows in batches[:-1]:  # each has rows of the first and of the last quarter
        assert rows.min() < ROWS / 4 < 3 * ROWS / 4 <= rows.max()


def test_the_seed_decides_the_order(examples):
    assert flat(stream(examples)) == flat(stream(examples))
    assert flat(stream(examples)) != flat(stream(examples, seed=4))


@pytest.mark.parametrize("skip", [5, EPOCH, EPOCH + 7])
def test_going_on_after_a_stop_sees_what_would_have_come(examples, skip):
    rest = stream(examples, skip=skip, batches=2 * EPOCH - skip)
    assert flat(rest) == flat(stream(examples)[skip:])


def test_the_remainder_can_be_left_out_of_every_epoch(examples):
    """So that devices can divide each batch; the rows left out differ from epoch to epoch."""
    whole = stream(examples)
    kept = [batch for batch in whole if len(batch) == BATCH]
    batches = rows_of(
        itertools.islice(examples.stream(BATCH, seed=3, drop_remainder=True), 2 * (EPOCH - 1))
    )
    assert [len(rows) for rows in batches] == [BATCH] * 62
    assert flat(batches) == flat(kept)
    rest = examples.stream(BATCH, seed=3, drop_remainder=True, skip_batches=EPOCH + 2)
    assert flat(rows_of(itertools.islice(rest, 20))) == flat(kept[EPOCH + 2 :][:20])
    assert sorted(whole[EPOCH - 1]) != sorted(whole[2 * EPOCH - 1])
    in_order = [len(labels) for _, labels in examples.read(BATCH, drop_remainder=True)]
    assert in_order == [BATCH] * 31


@pytest.mark.parametrize("way", ["read", "stream"])
def test_a_split_that_is_less_than_a_batch_is_not_left_out_in_silence(examples, way):
    arguments = {"seed": 0} if way == "stream" else {}
    with pytest.raises(ValueError, match="1000 rows are less than a batch of 1001"):
        next(iter(getattr(examples, way)(ROWS + 1, drop_remainder=True, **arguments)))


ON_TWO_DEVICES = """
import sys, keras, numpy as np
from ctr_keras.data import open_examples, records
from ctr_keras.models import FM
from ctr_keras.optimizers import SparseAdam
from tests.conftest import ROOT
from tests.data.shards import FEATURES

devices = keras.distribution.list_devices("cpu")
assert len(devices) == 2, devices
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
inputs = ["categorical", "numeric", "genres"]
examples = open_examples(sys.argv[1], "train", FEATURES, inputs=inputs)
model = FM(FEATURES, dim=2)
model.compile(SparseAdam(), "binary_crossentropy")
batches = examples.stream(96, seed=0, drop_remainder=True)
history = model.fit(batches, steps_per_epoch=10, epochs=2, verbose=0).history
assert np.isfinite(history["loss"]).all(), history
"""


def test_data_parallel_training_takes_whole_batches(prepared):
    flags = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    result = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES, prepared],
        env={**os.environ, **JAX_SETTINGS, **flags},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("way", WAYS)
def test_only_the_inputs_asked_for_are_read(way, prepared, tmp_path):
    examples = open_examples(
        prepared,
        "test",
        FEATURES,
        inputs=["genres"],
        cache=str(tmp_path) if "cache" in way else "",
        resident="resident" in way,
    )
    inputs, _ = next(iter(examples.read(4)))
    assert list(inputs) == ["genres"]


def test_a_model_learns_from_any(examples):
    inputs = {k: keras.Input(v, name=k) for k, v in FEATURES.packed_shapes.items()}
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(inputs["numeric"]))
    model.compile("sgd", "binary_crossentropy", jit_compile=False)
    batches = examples.stream(BATCH, seed=0)
    fitted = model.fit(batches, steps_per_epoch=EPOCH, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(fitted.history["loss"]).all()


@pytest.mark.backend
def test_rows_in_memory_come_in_the_order_of_the_cache_and_from_the_device(prepared, tmp_path):
    def first(**settings):
        examples = open_examples(prepared, "train", FEATURES, **settings)
        return list(itertools.islice(examples.stream(BATCH, seed=3), EPOCH + 3))

    in_memory, cached = first(resident=True), first(cache=str(tmp_path))
    assert flat(rows_of(in_memory)) == flat(rows_of(cached))
    arrays = keras.tree.flatten(in_memory)
    if keras.backend.backend() == "jax":
        import jax

        assert all(isinstance(array, jax.Array) for array in arrays)
    else:
        assert all(type(array) is np.ndarray for array in arrays)


@pytest.mark.parametrize("settings", [{}, {"cache": "cache"}, {"resident": True}])
def test_a_split_without_rows_or_files_is_named(prepared, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"the validation split of .*prepared has no rows"):
        open_examples(prepared, "validation", FEATURES, **settings)
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        open_examples(str(tmp_path), "train", FEATURES, **settings)
