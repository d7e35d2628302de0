"""Which models and versions are served: found on disk, loaded, swapped, unloaded."""

import collections
import contextlib
import dataclasses
import gc
import logging
import os
import pathlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from serving.errors import StatusError, as_status_error, invalid_argument, not_found
from serving.savedmodel import Servable

log = logging.getLogger(__name__)

# START, LOADING, AVAILABLE, UNLOADING, END: the protocol's own states.
State = get_model_status_pb2.ModelVersionStatus.State
MAX_INT64 = 2**63 - 1
_NUMBER = re.compile("[0-9]{1,40}")


def latest(versions: Iterable[int], count: int = 1) -> set[int]:
    """The default version policy: serve the `count` largest numbers.

    Args:
        versions: iterable of int. The versions on disk.
        count: int. How many to serve at once.

    Returns:
        set of int.

    Example:

    >>> latest([1, 3, 2])
    {3}
    """
    return set(sorted(versions)[-count:])


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model to be served.

    Attributes:
        name: str. What requests call it.
        base_path: path of the directory that holds the version directories.
        policy: callable. Version numbers on disk to the set of those to serve.
    """

    name: str
    base_path: pathlib.Path
    policy: Callable[[Iterable[int]], set[int]] = latest


def folder_models(models_dir: str | os.PathLike[str]) -> list[ModelConfig]:
    """The models of a directory: every folder in it, under its own name.

    Args:
        models_dir: path.

    Returns:
        list of `ModelConfig`.

    Raises:
        OSError: if the directory cannot be read.
    """
    folders = sorted(entry for entry in pathlib.Path(models_dir).iterdir() if entry.is_dir())
    return [ModelConfig(folder.name, folder) for folder in folders]


@dataclasses.dataclass
class VersionRecord:
    """What the server knows of a version, from when it is first seen until the server ends.

    Attributes:
        version: int.
        state: int. A `State` value.
        error: StatusError or None. Why loading failed.
    """

    version: int
    state: int = State.START
    error: StatusError | None = None
    wanted: bool = True
    servable: Servable | None = None
    leases: int = 0


Records = dict[int, VersionRecord]


class ModelManager:
    """Keeps the wanted versions of all models loaded, and lends them to requests.

    Args:
        configs: callable. Returns the `ModelConfig`s to serve; asked again at every poll.
        load: callable. `load(name, version, path)` returns a servable that is ready for requests.
        poll_seconds: float. How often to look for new versions.

    Example:

    >>> manager = ModelManager(lambda: folder_models("models"), load_warm)   # doctest: +SKIP
    >>> manager.start()                                                      # doctest: +SKIP
    >>> with manager.lease("ctr") as servable:                               # doctest: +SKIP
    ...     servable.signature("").run(inputs)
    """

    def __init__(
        self,
        configs: Callable[[], Iterable[ModelConfig]],
        load: Callable[[str, int, pathlib.Path], Servable],
        poll_seconds: float = 1.0,
    ):
        self._configs = configs
        self._load = load
        self._poll_seconds = poll_seconds
        self._models: dict[str, Records] = {}
        self._changed = threading.Condition()  # guards _models and all records
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll_forever, name="models", daemon=True)

    def start(self) -> None:
        """Loads what is there, then goes on polling in a thread of its own."""
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        """Ends polling. Servables stay until the requests that use them have ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._changed:
            self._models.clear()

    @contextlib.contextmanager
    def lease(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[Servable]:
        """Lends a servable; it is not unloaded before the `with` block ends.

        Args:
            name: str. The model.
            version: int or None. None: the largest available version.
            label: str or None. A version label, instead of a version.

        Yields:
            The servable.

        Raises:
            StatusError: NOT_FOUND if it is not available, INVALID_ARGUMENT for an unknown label.
        """
        if label is not None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        with self._changed:
            record = self._available(name, version)
            record.leases += 1
        try:
            yield record.servable
        finally:
            with self._changed:
                record.leases -= 1
                self._changed.notify_all()

    def status(self, name: str, version: int | None = None) -> list[VersionRecord]:
        """What became of a model's versions.

        Args:
            name: str. The model.
            version: int or None. None: all that were seen since the server started.

        Returns:
            list of `VersionRecord` copies, newest version first.

        Raises:
            StatusError: NOT_FOUND for an unknown model or version.
        """
        with self._changed:
            records = [dataclasses.replace(r) for r in self._models.get(name, {}).values()]
        if not records:
            raise not_found(f"Could not find any versions of model {name}")
        if version is not None:
            records = [record for record in records if record.version == version]
        if not records:
            raise not_found(f"Could not find version {version} of model {name}")
        return sorted(records, key=lambda record: -record.version)

    def poll(self) -> None:
        """Looks at the disk once and loads and unloads until every model is as it should be.

        Where the disk cannot be read nothing is unloaded: an answer from an old version is better
        than none.
        """
        try:
            configs = {config.name: config for config in self._configs()}
        except OSError as error:
            log.error("Cannot look for models: %s", error)
            return
        for config in configs.values():
            try:
                paths = _versions(config.base_path)
            except OSError as error:
                log.error("Cannot look for versions of model %s: %s", config.name, error)
            else:
                self._settle(config.name, config.policy(paths), paths)
        for name in self._models.keys() - configs.keys():
            self._settle(name, set(), {})

    def _poll_forever(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:  # a poll that goes wrong must not be the last one
                log.exception("Looking for models failed")

    def _available(self, name: str, version: int | None) -> VersionRecord:
        ready = {
            number: record
            for number, record in self._models.get(name, {}).items()
            if record.state == State.AVAILABLE
        }
        number = max(ready, default=None) if version is None else version
        if number not in ready:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {asked}")
        return ready[number]

    def _settle(self, name: str, wanted: set[int], paths: dict[int, pathlib.Path]) -> None:
        """Takes one step after the other until no step is left for this model."""
        with self._changed:
            records = self._models.setdefault(name, {}) if wanted else self._models.get(name, {})
            _note_wanted(records, wanted)
        while not self._stopping.is_set():
            step = _next_step(records)
            if step is None:
                return
            state, record = step
            if state == State.LOADING:
                self._load_version(name, record, paths[record.version])
            else:
                self._unload_version(name, record)

    def _load_version(self, name: str, record: VersionRecord, path: pathlib.Path) -> None:
        self._set(record, State.LOADING)
        log.info("Loading model %s version %d from %s", name, record.version, path)
        try:
            servable = self._load(name, record.version, path)
        except Exception as error:  # whatever a SavedModel does wrong must not end the server
            error = as_status_error(error)
            log.error("Loading model %s version %d failed: %s", name, record.version, error)
            self._set(record, State.END, error=error)
        else:
            self._set(record, State.AVAILABLE, servable=servable)
            log.info("Model %s version %d is available", name, record.version)

    def _unload_version(self, name: str, record: VersionRecord) -> None:
        with self._changed:
            record.state = State.UNLOADING
            self._changed.wait_for(lambda: record.leases == 0)
            record.servable = None
        gc.collect()  # a SavedModel's objects refer to each other, so dropping it frees nothing yet
        self._set(record, State.END)
        log.info("Unloaded model %s version %d", name, record.version)

    def _set(self, record: VersionRecord, state: int, **fields: Any) -> None:
        with self._changed:
            for field, value in fields.items():
                setattr(record, field, value)
            record.state = state


def _versions(base_path: pathlib.Path) -> dict[int, pathlib.Path]:
    """Version number to directory: the children whose whole name is a 64-bit number."""
    found = {}
    for child in sorted(pathlib.Path(base_path).iterdir()):
        if _NUMBER.fullmatch(child.name) and int(child.name) <= MAX_INT64 and child.is_dir():
            found[int(child.name)] = child
    return found


def _note_wanted(records: Records, wanted: set[int]) -> None:
    """Marks which versions are wanted; one that had ended and is wanted again starts anew."""
    for version in wanted:
        record = records.get(version)
        if record is None or (record.state == State.END and not record.wanted):
            records[version] = VersionRecord(version)
    for version, record in records.items():
        record.wanted = version in wanted


def _next_step(records: Records) -> tuple[int, VersionRecord] | None:
    """The availability-preserving order: never give up the last good version too early.

    An unwanted version goes once a wanted one is ready, when none is wanted, or when another
    unwanted one is left to answer. Until then the wanted ones are loaded, newest first.
    """
    by_state = collections.defaultdict(list)
    for record in sorted(records.values(), key=lambda record: record.version):
        by_state[record.wanted, record.state].append(record)
    unwanted = by_state[False, State.AVAILABLE]
    covered = by_state[True, State.AVAILABLE] or not any(r.wanted for r in records.values())
    if unwanted and (covered or len(unwanted) > 1):
        return State.UNLOADING, unwanted[0]
    if new := by_state[True, State.START]:
        return State.LOADING, new[-1]
    return None
