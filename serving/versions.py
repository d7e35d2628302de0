"""Models and their versions on disk: `<models>/<name>/<version>/`, and what a version holds."""

import contextlib
import functools
import logging
import os
import pathlib
import re

log = logging.getLogger(__name__)

MAX_VERSION = 2**63 - 1
# In a version's folder: the requests that a server replays before the version answers others.
WARMUP_FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
ONNX_FILE = "model.onnx"  # of a version for ONNX Runtime, which is no SavedModel
_NUMBER = re.compile("[0-9]{1,40}")


def find_models(models_dir: str | os.PathLike[str]) -> dict[str, pathlib.Path]:
    """The models of a folder by name: every folder in it whose name does not start with a dot.

    Example:

    >>> list(find_models("models"))
    ['ctr', 'genre', 'times_two']
    """
    folders = _folders(models_dir)
    return {folder.name: folder for folder in folders if not folder.name.startswith(".")}


def _folders(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The folders in a folder, by name.

    They are those of one look: where the folder goes meanwhile, it had all of them, not none.
    """
    with os.scandir(path) as entries:  # which know whether they are folders
        found = [e for e in entries if e.is_dir(follow_symlinks=False) or os.path.isdir(e)]
    return sorted(pathlib.Path(entry.path) for entry in found)


def check_models_folder(folder: str | os.PathLike[str]) -> None:
    """Checks that a folder of models is not that of one model, or of one version.

    Raises:
        ValueError: naming the folder that is meant.

    Example:

    >>> check_models_folder("models")
    >>> check_models_folder("models/ctr")
    Traceback (most recent call last):
    ...
    ValueError: models/ctr is the folder of one model, which has versions in it: give models
    """
    path = pathlib.Path(folder)
    if _is_version(path):
        kind, meant = "one version of a model", path.absolute().parent.parent
    elif any(_is_version(child) for child in path.iterdir() if _NUMBER.fullmatch(child.name)):
        kind, meant = "one model, which has versions in it", path.absolute().parent
    else:
        return
    with contextlib.suppress(ValueError):
        meant = meant.relative_to(pathlib.Path.cwd())
    raise ValueError(f"{folder} is the folder of {kind}: give {meant}")


def _is_version(folder: pathlib.Path) -> bool:
    return any(os.path.exists(folder / name) for name in ("saved_model.pb", "saved_model.pbtxt"))


def find_versions(base_path: str | os.PathLike[str]) -> dict[int, pathlib.Path]:
    """The versions of a model by number: the folders whose whole name is a number of 64 bits.

    Of two names of one number the one that sorts last counts.

    Example:

    >>> list(find_versions("models/ctr"))
    [1]
    """
    found: dict[int, pathlib.Path] = {}
    for folder in _folders(base_path):
        if _NUMBER.fullmatch(folder.name) and int(folder.name) <= MAX_VERSION:
            if int(folder.name) in found:
                _say_taken(folder)
            found[int(folder.name)] = folder
    return found


@functools.cache  # what is looked at again and again is said once
def _say_taken(folder: pathlib.Path) -> None:
    log.warning("Two directories of one version: %s is taken", folder)


def content_of(version: str | os.PathLike[str]) -> frozenset[tuple[str, int, int, int]]:
    """What a version's folder holds: path, mode, size and time of everything in it.

    Two of them are equal unless something has changed. What cannot be read is left out.

    Example:

    >>> sorted({path.split("/")[0] for path, *_ in content_of("models/times_two/1")})
    ['assets', 'fingerprint.pb', 'saved_model.pb', 'variables']
    """
    found = set()
    for folder, folders, files in os.walk(version):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                stat = os.stat(path)
                kept = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
                found.add((os.path.relpath(path, version), *kept))
    return frozenset(found)
