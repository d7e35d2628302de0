"""Local copies of folders on other file systems, for all that reads and writes the disk.

TensorFlow and Keras read few of these file systems, and an epoch reads every row again: a folder is
copied once, below `~/.cache/ctr-keras` or `$CTR_KERAS_CACHE`, in a tree like that of its addresses.
"""

import contextlib
import json
import os
from collections.abc import Callable

from ctr_keras import files

_REPORT, _PARTITIONS = "report.json", "partitions.json"  # of prepared data
# Of a checkpoint and a run: written last, as what is without them is not whole.
_LAST = ("state.json", "metrics.json")


def local_copy(path: str) -> str:
    """The folder of an address on the disk, copied unless it is there; any other path as it is.

    Prepared data are known by their report, which is written last: without it they are not whole,
    and a copy of the same report is the same. Anything else is copied each time.

    Raises:
        FileNotFoundError: if the address has nothing.
    """
    if not files.is_remote(path):
        return path
    address = path.rstrip("/")
    local = local_path(address)
    if not _is_same(address, local):
        if not files.exists(address):
            raise FileNotFoundError(f"there is nothing at {address}")
        _copy(address, local)
    partitions = os.path.join(local, _PARTITIONS)
    if os.path.exists(partitions):
        for part in files.read_json(partitions)["partitions"]:
            local_copy(address_of(os.path.normpath(os.path.join(local, part["folder"]))))
    return local


def local_path(address: str) -> str:
    """Where the copy of an address lies, if there is one."""
    return os.path.join(_cache(), address.rstrip("/").replace("://", "/"))


def address_of(path: str) -> str:
    """The address that a path from `local_copy` is a copy of; any other path as it is."""
    below = os.path.relpath(path, _cache())
    if below.startswith(os.pardir) or files.is_remote(path):
        return path
    scheme, _, rest = below.partition("/")
    return f"{scheme}://{rest}"


def mirrored(address: str) -> tuple[str, Callable[[], None]]:
    """A folder on the disk with what an address has, and a function that brings the address up to
    what the folder has then: files that mark a whole last, deleted ones after them."""
    address = address.rstrip("/")
    folder = local_path(address)
    _copy(address, folder)
    uploaded = _state(folder)

    def upload() -> None:
        nonlocal uploaded
        now = _state(folder)
        changed = [name for name, state in now.items() if uploaded.get(name) != state]
        for name in sorted(changed, key=lambda name: os.path.basename(name) in _LAST):
            files.copy_file(os.path.join(folder, name), f"{address}/{name}")
        for name in uploaded.keys() - now.keys():
            files.delete(f"{address}/{name}")
        uploaded = now

    return folder, upload


def _copy(address: str, local: str) -> None:
    """Replaces a folder by what an address has, which may be nothing."""
    files.delete(f"{local}.partial")
    os.makedirs(f"{local}.partial")
    files.copy(address, f"{local}.partial")
    files.delete(local)
    files.move(f"{local}.partial", local)


def _state(folder: str) -> dict[str, tuple[int, int]]:
    found = files.files_below(folder)
    return {os.path.relpath(file.path, folder): (file.size, file.modified) for file in found}


def _cache() -> str:
    return os.path.abspath(
        os.environ.get("CTR_KERAS_CACHE") or os.path.expanduser("~/.cache/ctr-keras")
    )


def _is_same(address: str, local: str) -> bool:
    """Whether a copy of prepared data is there and of the same report."""
    own = os.path.join(local, _REPORT)
    if not os.path.exists(own):
        return False
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return bool(files.read_json(f"{address}/{_REPORT}") == files.read_json(own))
    return False
