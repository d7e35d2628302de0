"""Models and their versions on disk: `<models>/<name>/<version>/`, and what a version holds."""

import contextlib
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
    folders = sorted(entry for entry in pathlib.Path(models_dir).iterdir() if os.path.isdir(entry))
    return {folder.name: folder for folder in folders if not folder.name.startswith(".")}


def find_versions(base_path: str | os.PathLike[str]) -> dict[int, pathlib.Path]:
    """The versions of a model by number: the folders whose whole name is a number of 64 bits.

    Of two names of one number the one that sorts last counts.

    Example:

    >>> list(find_versions("models/ctr"))
    [1]
    """
    found: dict[int, pathlib.Path] = {}
    for child in sorted(pathlib.Path(base_path).iterdir()):
        is_number = _NUMBER.fullmatch(child.name) and int(child.name) <= MAX_VERSION
        if is_number and os.path.isdir(child):
            if int(child.name) in found:
                log.warning("Two directories of one version: %s is taken", child)
            found[int(child.name)] = child
    return found


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
