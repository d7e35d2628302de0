"""The decoded copy on the disk: made once, whole, and from the data that are there now."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from ctr_keras.data import cache as cache_module
from ctr_keras.data.cache import open_cache
from tests.data.shards import FEATURES, write_prepared
from tests.processes import FORKED

ROWS = 100


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared", {"train": ROWS})


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "below" / "cache")


def copies(folder):
    return sorted(name for name in os.listdir(folder) if "." not in name)


def fail(*_, **__):
    pytest.fail("decoded again")


def test_arrays_are_mapped_read_only(prepared, folder):
    arrays = open_cache(folder, prepared, "train", FEATURES)
    assert set(arrays) == {*FEATURES.packed_shapes, "click"}
    assert {array.shape[0] for array in arrays.values()} == {ROWS}
    assert all(isinstance(array, np.memmap) for array in arrays.values())
    with pytest.raises(ValueError, match="read-only"):
        arrays["categorical"][0] = 0


def test_a_copy_is_made_once(prepared, folder, monkeypatch):
    first = open_cache(folder, prepared, "train", FEATURES)
    monkeypatch.setattr(cache_module, "decode", fail)
    again = open_cache(folder, prepared, "train", FEATURES)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])


def test_data_that_were_prepared_again_get_another_copy(prepared, folder):
    before = open_cache(folder, prepared, "train", FEATURES)
    shutil.rmtree(prepared)
    write_prepared(pathlib.Path(prepared), {"train": 2 * ROWS})
    assert len(open_cache(folder, prepared, "train", FEATURES)["click"]) == 2 * ROWS
    assert len(copies(folder)) == 2
    assert len(before["click"]) == ROWS  # a run that reads it goes on


def test_a_touched_file_is_new_data(prepared, folder):
    open_cache(folder, prepared, "train", FEATURES)
    file = next(pathlib.Path(prepared, "examples").iterdir())
    os.utime(file, (1, 1))
    open_cache(folder, prepared, "train", FEATURES)
    assert len(copies(folder)) == 2


def test_a_stop_leaves_nothing_that_counts(prepared, folder, monkeypatch):
    def stop(*arguments, **options):
        real(*arguments, **options)
        raise KeyboardInterrupt

    real = cache_module.decode
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "decode", stop)
        with pytest.raises(KeyboardInterrupt):
            open_cache(folder, prepared, "train", FEATURES)
    assert copies(folder) == []
    assert len(open_cache(folder, prepared, "train", FEATURES)["click"]) == ROWS
    assert len(copies(folder)) == 1
    assert not [name for name in os.listdir(folder) if name.endswith(".partial")]


def _open(folder, prepared, decoded):
    real = cache_module.decode

    def decode(*arguments, **options):
        with decoded.get_lock():
            decoded.value += 1
        return real(*arguments, **options)

    cache_module.decode = decode
    assert len(open_cache(folder, prepared, "train", FEATURES)["click"]) == ROWS


@pytest.mark.slow
def test_processes_that_need_the_same_copy_make_it_once(prepared, folder):
    decoded = FORKED.Value("i", 0)
    arguments = (folder, prepared, decoded)
    processes = [FORKED.Process(target=_open, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert decoded.value == 1


@pytest.mark.parametrize(("said", "found"), [(ROWS - 1, "more"), (ROWS + 1, "100")])
def test_a_report_that_does_not_fit_is_an_error(said, found, prepared, folder):
    report = {"rows": {"train": said}}
    pathlib.Path(prepared, "report.json").write_text(json.dumps(report))
    with pytest.raises(ValueError, match=f"says {said} train rows, its files hold {found};"):
        open_cache(folder, prepared, "train", FEATURES)
    assert copies(folder) == []
