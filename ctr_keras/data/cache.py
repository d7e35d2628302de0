"""A decoded copy of prepared data on the disk, which batches are cut from without being parsed.

    <cache>/<split>-<what it was made from>/<packed input>.npy

The name has a digest of the features and of the files' names, sizes and times: a copy of other or
newer data is not found but made. It appears under that name when it is whole.
"""

import fcntl
import hashlib
import json
import os
import shutil
import urllib.parse
from typing import Any

import numpy as np

from ctr_keras.data.arrays import decode
from ctr_keras.data.records import example_files
from ctr_keras.features import FeatureSet
from ctr_keras.types import Array

_FORMAT_VERSION = 1


def open_cache(folder: str, prepared: str, split: str, features: FeatureSet) -> dict[str, Array]:
    """The arrays of a split, memory-mapped and read-only, decoded first where that is not done yet.

    They take 4 bytes a value on the disk, and of the memory what the system has to spare. Two
    processes that need the same copy make it once: the second waits for the first.

    The local `folder` may hold copies of several data sets; what is in it can be deleted at any
    time that no run uses it. Returns and raises as `decode`.
    """
    copy = os.path.join(folder, f"{split}-{_digest(prepared, split, features)}")
    if not os.path.exists(copy):
        os.makedirs(folder, exist_ok=True)
        with open(f"{copy}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a killed process releases it
            if not os.path.exists(copy):
                _make(copy, prepared, split, features)
    names = [*features.record_columns, features.label.name]
    return {name: np.load(_path(copy, name), mmap_mode="r") for name in names}


def _digest(prepared: str, split: str, features: FeatureSet) -> str:
    status = [(os.path.basename(path), os.stat(path)) for path in example_files(prepared, split)]
    made_from = {
        "version": _FORMAT_VERSION,
        "features": features.to_dict(),
        "files": [(name, found.st_size, found.st_mtime_ns) for name, found in status],
    }
    document = json.dumps(made_from, sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def _path(folder: str, name: str) -> str:
    """The file of a packed input or of the labels, whatever that is called."""
    return os.path.join(folder, f"{urllib.parse.quote(name, safe=' ')}.npy")


def _make(copy: str, prepared: str, split: str, features: FeatureSet) -> None:
    partial = f"{copy}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)

    def allocate(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.lib.format.open_memmap(_path(partial, name), "w+", dtype, shape)

    for array in decode(prepared, split, features, [*features.record_columns], allocate).values():
        array.flush()
    os.rename(partial, copy)
