"""Which models and versions are served: found on disk, loaded, swapped, unloaded."""

import contextlib
import dataclasses
import gc
import logging
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from serving.codes import Code, StatusError, invalid_argument, not_found
from serving.server.config import ModelConfig
from serving.server.errors import as_status_error
from serving.server.lifecycle import State, VersionRecord, Versions
from serving.server.savedmodel import Servable
from serving.versions import content_of, find_versions

log = logging.getLogger(__name__)

_SECONDS_TO_COLLECTION = 1.0


@dataclasses.dataclass
class _Model:
    """A model: how it is to be served, and its versions."""

    config: ModelConfig
    listed: bool = True  # or it was, and its versions are remembered
    versions: Versions = dataclasses.field(default_factory=Versions)
    settling: bool = False  # whether a thread is loading and unloading
    unreadable: str = ""  # why its directory could not be read last
    empty: pathlib.Path | None = None  # its directory, if that had no version last


class ModelManager:
    """Keeps the wanted versions of all models loaded, and lends them to requests.

    Every model has a thread of its own while there is something to load or unload, so a model that
    fails and is tried again keeps no other from being updated.

    Args:
        load: callable. `load(name, version, path)` returns a servable that is ready for requests.
        max_load_retries: int. How often a failed load is tried again.
        load_retry_seconds: float. How long to wait before that.
        load_threads: int. How many versions are loaded at a time.
        labels_may_wait: bool. Whether a label may be given to a version that is not available
            yet, if the label is new.

    Example:

    >>> manager = ModelManager(Servable)
    >>> manager.configure([ModelConfig("ctr", pathlib.Path("models/ctr"))])
    {'ctr'}
    >>> manager.poll()
    >>> manager.wait_until_settled(["ctr"])
    >>> with manager.lease("ctr") as servable:
    ...     servable.version
    1
    >>> manager.stop()
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

        Without a version or a label it is the one of the largest available version.

        Raises:
            StatusError: NOT_FOUND if it is not available, INVALID_ARGUMENT for an unknown label.
        """
        with self._changed:
            if label is not None:
                version = self._labelled(name, label)
            record = self._versions(name).available(version)
            if record is None or record.servable is None:
                asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {asked}")
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

    def health(self) -> tuple[list[str], list[str]]:
        """The models that are served, and those that wait for a version or have failed."""
        with self._changed:
            names = self.names()
            served = [name for name in names if self._versions(name).available(None)]
            return served, [name for name in names if name not in served]

    def status(self, name: str, version: int | None = None) -> list[VersionRecord]:
        """Copies of the records of one or all versions seen since the start, newest first.

        Raises:
            StatusError: NOT_FOUND for an unknown model or version.
        """
        with self._changed:
            records = [dataclasses.replace(r) for r in self._versions(name).newest_first()]
        if not records:
            raise not_found(f"Could not find any versions of model {name}")
        if version is not None:
            records = [record for record in records if record.version == version]
        if not records:
            raise not_found(f"Could not find version {version} of model {name}")
        return records

    def _versions(self, name: str) -> Versions:
        return self._models[name].versions if name in self._models else Versions()

    def _labels(self, name: str) -> Mapping[str, int]:
        model = self._models.get(name)
        return model.config.labels if model and model.listed else {}

    def has_label(self, name: str, label: str) -> bool:
        """Whether a model is served that has a version of this label."""
        with self._changed:
            return label in self._labels(name)

    def _labelled(self, name: str, label: str) -> int:
        labels = self._labels(name)
        if label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[label]

    # Configuration

    def configure(self, configs: Iterable[ModelConfig]) -> set[str]:
        """Says which models to serve from now on, and returns the names of the new ones.

        `poll` then finds their versions. Models that are no longer listed are unloaded.

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
        versions, labels = self._versions(config.name), self._labels(config.name)
        for label, version in config.labels.items():
            if versions.available(version):
                continue
            in_use = labels.get(label, version) != version
            if in_use or not self._labels_may_wait:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which "
                    "is not currently available for inference",
                )

    def poll(self, skip_unreadable: bool = False) -> None:
        """Looks at the disk once, and starts to load and unload what that asks for.

        Where one model's directory cannot be read nothing is changed for any model, as in
        TensorFlow Serving: an answer from an old version is better than none.

        Args:
            skip_unreadable: bool. Whether nothing is changed for that model only.
        """
        with self._polling:
            with self._changed:
                configs = [model.config for model in self._models.values() if model.listed]
            found = {config.name: self._find(config) for config in configs}
            if None in found.values() and not skip_unreadable:
                return
            for config in configs:
                if (paths := found[config.name]) is not None:
                    self._want_of(config, paths)

    def _find(self, config: ModelConfig) -> dict[int, pathlib.Path] | None:
        """The versions on disk; None, and said once, if the directory cannot be read."""
        model, reason = self._models[config.name], ""
        try:
            return find_versions(config.base_path)
        except OSError as error:
            reason = str(error)
            if reason != model.unreadable:
                log.error("Cannot look for versions of model %s: %s", config.name, reason)
            return None
        finally:
            model.unreadable = reason

    def _want_of(self, config: ModelConfig, paths: dict[int, pathlib.Path]) -> None:
        """Wants what the policy chooses of the versions on disk, and those that were mended."""
        model = self._models[config.name]
        before, model.empty = model.empty, None if paths else config.base_path
        if model.empty not in (None, before):
            log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name your "
                "leaf directory as a number (eg. '/1/')?",
                config.name,
                config.base_path,
            )
        wanted = config.policy(paths)
        versions = self._versions(config.name)
        with self._changed:
            watched = [r for r in versions.wanted() if r.is_available or r.has_failed]
        contents = [content_of(record.path) for record in watched]
        with self._changed:
            if model.listed:
                for record, content in zip(watched, contents, strict=True):
                    if versions.look_at(record, content) and record.is_available:
                        self._say_replaced(config.name, record)
                self._want(config.name, {version: paths[version] for version in wanted})

    def _say_replaced(self, name: str, record: VersionRecord) -> None:
        """Says, once, that what is served is not what is on disk."""
        record.content = record.seen
        log.error(
            "The files of model %s version %d have changed since it was loaded, which is served as "
            "it was; to serve them, copy them to a folder of the next number",
            name,
            record.version,
        )

    def wait_until_settled(self, names: Iterable[str], forever: bool = False) -> None:
        """Waits until every model has an available version, or failed to load all it should.

        Models that are not served are ignored. `forever` also waits for the first version of a
        model that has none.

        Raises:
            StatusError: UNKNOWN if a model failed, with what went wrong.
        """
        failed = []
        for name in sorted(names):
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._settled(name, forever))  # noqa: B023
                if record := self._versions(name).failure():
                    failed.append((name, record))
        if failed and not self._stopping:
            errors = "".join(
                f"{{{{name: {name} version: {record.version}}} due to error: {record.error}}}, "
                for name, record in failed
            )
            raise StatusError(
                Code.UNKNOWN, f"{len(failed)} servable(s) did not become available: {{{errors}}}"
            )

    def _settled(self, name: str, forever: bool) -> bool:
        if name not in self._models or not self._models[name].listed:
            return True
        versions = self._models[name].versions
        wanted = versions.wanted()
        if not wanted:
            return not forever
        return any(record.is_available for record in wanted) or versions.failure() is not None

    def stop(self, seconds: float | None = None) -> None:
        """Ends loading, for which it waits so long at most.

        Servables stay until the requests that use them have ended.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            models = self._models.values()
            self._changed.wait_for(lambda: not any(model.settling for model in models), seconds)
            self._models.clear()  # lets the servables go

    # Loading and unloading

    def _want(self, name: str, paths: dict[int, pathlib.Path]) -> None:
        """Notes which versions of a model are wanted; a thread takes the steps that follow."""
        model = self._models[name]
        model.versions.want(paths)
        self._changed.notify_all()
        if not model.settling and not self._stopping and model.versions.next_step():
            model.settling = True
            threading.Thread(target=self._settle, args=[model], daemon=True).start()

    def _settle(self, model: _Model) -> None:
        """Takes one step after the other until no step is left for this model."""
        name = model.config.name
        while True:
            with self._changed:
                step = None if self._stopping else model.versions.next_step()
                if step is None:
                    model.settling = False
                    self._changed.notify_all()
                    return
                state, record = step
                record.enter(state)
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
                record.content = content_of(record.path)
                with self._load_slots:
                    servable = self._load(name, record.version, record.path)
                if content_of(record.path) != record.content:
                    raise StatusError(Code.UNAVAILABLE, "Its files changed while it was loaded")
            except Exception as error:  # whatever a SavedModel does wrong must not end the server
                failure = as_status_error(error)
                log.error("Loading model %s version %d failed: %s", name, record.version, failure)
            else:
                with self._changed:
                    record.servable = servable
                    record.enter(State.AVAILABLE)
                    self._changed.notify_all()
                log.info("Model %s version %d is available", name, record.version)
                return
        self._end(record, failure)

    def _still_wanted(self, record: VersionRecord) -> bool:
        """Waits until a failed load is to be tried again; False if it need not be."""
        with self._changed:
            given_up = self._changed.wait_for(
                lambda: self._stopping or not record.wanted, self._retry_seconds
            )
        return not given_up

    def _unload_version(self, name: str, record: VersionRecord) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or record.leases == 0)
            record.servable = None
            # Collecting stops all threads, so not during the first requests to the next version.
            self._changed.wait_for(lambda: self._stopping, _SECONDS_TO_COLLECTION)
        gc.collect()  # a SavedModel's objects refer to each other, so dropping it frees nothing yet
        self._end(record)
        log.info("Unloaded model %s version %d", name, record.version)

    def _end(self, record: VersionRecord, error: StatusError | None = None) -> None:
        with self._changed:
            record.error = error
            record.enter(State.END)
            self._changed.notify_all()
