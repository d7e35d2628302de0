"""Which models and versions are served: found on disk, loaded, swapped, unloaded."""

import collections
import contextlib
import dataclasses
import gc
import logging
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from serving.server.config import ModelConfig, find_versions
from serving.server.errors import Code, StatusError, as_status_error, invalid_argument, not_found
from serving.server.savedmodel import Servable

log = logging.getLogger(__name__)

_SECONDS_TO_COLLECTION = 1.0

# START, LOADING, AVAILABLE, UNLOADING, END: the protocol's own states.
State = get_model_status_pb2.ModelVersionStatus.State


@dataclasses.dataclass
class VersionRecord:
    """What the server knows of a version, from when it is first seen until the server ends.

    Attributes:
        version: int.
        path: path of the version's directory.
        state: int. A `State` value.
        error: StatusError or None. Why loading failed.
    """

    version: int
    path: pathlib.Path
    state: int = State.START
    error: StatusError | None = None
    wanted: bool = True
    servable: Servable | None = None
    leases: int = 0

    @property
    def is_available(self) -> bool:
        return self.state == State.AVAILABLE


Records = dict[int, VersionRecord]


@dataclasses.dataclass
class _Model:
    """A model: how it is to be served, and its versions."""

    config: ModelConfig
    listed: bool = True  # or it was, and its versions are remembered
    records: Records = dataclasses.field(default_factory=dict)
    settling: bool = False  # whether a thread is loading and unloading


class ModelManager:
    """Keeps the wanted versions of all models loaded, and lends them to requests.

    Every model has a thread of its own while there is something to load or unload, so a model that
    fails and is tried again keeps no other from being updated.

    Args:
        load: callable. `load(name, version, path)` returns a servable that is ready for requests.
        max_load_retries: int. How often a failed load is tried again. Defaults to 0.
        load_retry_seconds: float. How long to wait before that. Defaults to 60.
        load_threads: int. How many versions are loaded at a time. Defaults to 1.
        labels_may_wait: bool. Whether a label may be given to a version that is not available
            yet, if the label is new. Defaults to `False`.

    Example:

    >>> manager = ModelManager(load_warm)                                    # doctest: +SKIP
    >>> manager.configure(folder_models("models"))                           # doctest: +SKIP
    >>> manager.poll()                                                       # doctest: +SKIP
    >>> manager.wait_until_settled()                                         # doctest: +SKIP
    >>> with manager.lease("ctr") as servable:                               # doctest: +SKIP
    ...     servable.signature("").run(inputs)
    """

    def __init__(
        self,
        load: Callable[[str, int, pathlib.Path], Servable],
        *,
        max_load_retries: int = 0,
        load_retry_seconds: float = 60.0,
        load_threads: int = 1,
        labels_may_wait: bool = False,
    ):
        self._load = load
        self._attempts = 1 + max_load_retries
        self._retry_seconds = load_retry_seconds
        self._load_slots = threading.Semaphore(max(1, load_threads))
        self._labels_may_wait = labels_may_wait
        self._models: dict[str, _Model] = {}
        self._changed = threading.Condition()  # guards the models and all records
        self._polling = threading.Lock()
        self._stopping = False

    # Requests

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
        with self._changed:
            if label is not None:
                version = self._labelled(name, label)
            record = self._available(name, version)
            record.leases += 1
        try:
            yield record.servable
        finally:
            with self._changed:
                record.leases -= 1
                if not record.is_available:  # somebody waits for the last lease to end
                    self._changed.notify_all()

    def names(self) -> list[str]:
        """The models that are served or wait for their first version, sorted."""
        with self._changed:
            return sorted(name for name, model in self._models.items() if model.listed)

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
            records = [dataclasses.replace(record) for record in self._records(name).values()]
        if not records:
            raise not_found(f"Could not find any versions of model {name}")
        if version is not None:
            records = [record for record in records if record.version == version]
        if not records:
            raise not_found(f"Could not find version {version} of model {name}")
        return sorted(records, key=lambda record: -record.version)

    def _records(self, name: str) -> Records:
        return self._models[name].records if name in self._models else {}

    def _labels(self, name: str) -> Mapping[str, int]:
        model = self._models.get(name)
        return model.config.labels if model and model.listed else {}

    def _labelled(self, name: str, label: str) -> int:
        labels = self._labels(name)
        if label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _available(self, name: str, version: int | None) -> VersionRecord:
        ready = {n: record for n, record in self._records(name).items() if record.is_available}
        number = max(ready, default=None) if version is None else version
        if number not in ready:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {asked}")
        return ready[number]

    # Configuration

    def configure(self, configs: Iterable[ModelConfig]) -> set[str]:
        """Says anew which models to serve; `poll` then finds their versions.

        Models that are no longer listed are unloaded.

        Args:
            configs: iterable of `ModelConfig`.

        Returns:
            set of str. The names that are new.

        Raises:
            StatusError: FAILED_PRECONDITION for a label of a version that is not available. Then
                nothing is changed.
        """
        wanted = {config.name: config for config in configs}
        with self._changed:
            for config in wanted.values():
                self._check_labels(config)
            new = wanted.keys() - set(self.names())
            for name, config in wanted.items():
                model = self._models.setdefault(name, _Model(config))
                model.config, model.listed = config, True
            for name in self._models.keys() - wanted.keys():
                self._models[name].listed = False
                self._want(name, {})
        return new

    def _check_labels(self, config: ModelConfig) -> None:
        records, labels = self._records(config.name), self._labels(config.name)
        for label, version in config.labels.items():
            if version in records and records[version].is_available:
                continue
            in_use = labels.get(label, version) != version
            if in_use or not self._labels_may_wait:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which "
                    "is not currently available for inference",
                )

    def poll(self) -> None:
        """Looks at the disk once, and starts to load and unload what that asks for.

        Where one model's directory cannot be read nothing is changed for any model, as in
        TensorFlow Serving: an answer from an old version is better than none.
        """
        with self._polling:
            with self._changed:
                configs = [model.config for model in self._models.values() if model.listed]
            try:
                found = {config.name: find_versions(config.base_path) for config in configs}
            except OSError as error:
                log.error("Cannot look for versions of models: %s", error)
                return
            for config in configs:
                paths = found[config.name]
                if not paths:
                    log.warning(
                        "No versions of servable %s found under base path %s. Did you forget to "
                        "name your leaf directory as a number (eg. '/1/')?",
                        config.name,
                        config.base_path,
                    )
                wanted = config.policy(paths)
                with self._changed:
                    if self._models[config.name].listed:
                        self._want(config.name, {version: paths[version] for version in wanted})

    def wait_until_settled(self, names: Iterable[str], forever: bool = False) -> None:
        """Waits until every model has an available version, or failed to load all it should.

        Args:
            names: iterable of str. Models that are not served are passed over.
            forever: bool. Whether to wait for the first version of a model that has none.
                Defaults to `False`.

        Raises:
            StatusError: UNKNOWN if a model failed, with what went wrong.
        """
        failed = []
        for name in sorted(names):
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._settled(name, forever))  # noqa: B023
                wanted = [record for record in self._records(name).values() if record.wanted]
                if wanted and not any(record.is_available for record in wanted):
                    failed.append((name, max(wanted, key=lambda record: record.version)))
        if failed and not self._stopping:
            errors = "".join(
                f"{{{{name: {name} version: {record.version}}} due to error: {record.error}}}, "
                for name, record in failed
            )
            raise StatusError(
                Code.UNKNOWN, f"{len(failed)} servable(s) did not become available: {{{errors}}}"
            )

    def _settled(self, name: str, forever: bool) -> bool:
        wanted = [record for record in self._records(name).values() if record.wanted]
        if any(record.is_available for record in wanted):
            return True
        return all(record.state == State.END for record in wanted) and bool(wanted or not forever)

    def stop(self) -> None:
        """Ends loading. Servables stay until the requests that use them have ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(m.settling for m in self._models.values()))
            self._models.clear()  # lets the servables go

    # Loading and unloading

    def _want(self, name: str, paths: dict[int, pathlib.Path]) -> None:
        """Notes which versions of a model are wanted; a thread takes the steps that follow."""
        model = self._models[name]
        _note_wanted(model.records, paths)
        self._changed.notify_all()
        if not model.settling and not self._stopping and _next_step(model.records):
            model.settling = True
            threading.Thread(target=self._settle, args=[model], daemon=True).start()

    def _settle(self, model: _Model) -> None:
        """Takes one step after the other until no step is left for this model."""
        name = model.config.name
        while True:
            with self._changed:
                step = None if self._stopping else _next_step(model.records)
                if step is None:
                    model.settling = False
                    self._changed.notify_all()
                    return
                state, record = step
                record.state = state
            if state == State.LOADING:
                self._load_version(name, record)
            else:
                self._unload_version(name, record)

    def _load_version(self, name: str, record: VersionRecord) -> None:
        for attempt in range(self._attempts):
            if attempt and not self._still_wanted(record):
                break
            log.info("Loading model %s version %d from %s", name, record.version, record.path)
            try:
                with self._load_slots:
                    servable = self._load(name, record.version, record.path)
            except Exception as error:  # whatever a SavedModel does wrong must not end the server
                failure = as_status_error(error)
                log.error("Loading model %s version %d failed: %s", name, record.version, failure)
            else:
                self._set(record, State.AVAILABLE, servable=servable)
                log.info("Model %s version %d is available", name, record.version)
                return
        self._set(record, State.END, error=failure)

    def _still_wanted(self, record: VersionRecord) -> bool:
        """Waits until a failed load is to be tried again; False if it need not be."""
        with self._changed:
            given_up = self._changed.wait_for(
                lambda: self._stopping or not record.wanted, self._retry_seconds
            )
        return not given_up

    def _unload_version(self, name: str, record: VersionRecord) -> None:
        with self._changed:
            self._changed.wait_for(lambda: record.leases == 0)
            record.servable = None
            # Collecting stops all threads, so not during the first requests to the next version.
            self._changed.wait_for(lambda: self._stopping, _SECONDS_TO_COLLECTION)
        gc.collect()  # a SavedModel's objects refer to each other, so dropping it frees nothing yet
        self._set(record, State.END)
        log.info("Unloaded model %s version %d", name, record.version)

    def _set(self, record: VersionRecord, state: int, **fields: Any) -> None:
        with self._changed:
            for field, value in fields.items():
                setattr(record, field, value)
            record.state = state
            self._changed.notify_all()


def _note_wanted(records: Records, wanted: dict[int, pathlib.Path]) -> None:
    """Marks which versions are wanted; one that had ended and is wanted again starts anew."""
    for version, path in wanted.items():
        record = records.get(version)
        if record is None or (record.state == State.END and not record.wanted):
            records[version] = VersionRecord(version, path)
    for version, record in list(records.items()):
        record.wanted = version in wanted
        if not record.wanted and record.state == State.START:
            del records[version]  # never loaded, and no longer to be


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
