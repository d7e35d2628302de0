"""The life of a model's versions: a state machine, which knows neither threads nor the disk.

A version on disk starts a life when it is wanted. Whether it is still wanted may change at any
time; where it goes next is asked of `Versions.next_step`, one step after the other:

| state     | the version                | still wanted           | no longer wanted               |
|-----------|----------------------------|------------------------|--------------------------------|
| START     | was found                  | LOADING, newest first  | forgotten                      |
| LOADING   | is loaded and warmed up    | AVAILABLE, or END with an error; likewise               |
| AVAILABLE | answers requests           |                        | UNLOADING, once others answer  |
| UNLOADING | ends the requests it has   | END; likewise                                           |
| END       | is unloaded                | a new life             |                                |
| END       | has failed                 | a new life once mended | a new life if wanted again     |

So a version that is asked for again while it ends is loaded anew when it has ended, and one that
failed is not tried again before its files change or it was not wanted for a while.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping

from tensorflow_serving.apis import get_model_status_pb2

from serving.codes import StatusError
from serving.server.savedmodel import Servable

# The protocol's own states.
State = get_model_status_pb2.ModelVersionStatus.State
TRANSITIONS = {
    State.START: {State.LOADING},
    State.LOADING: {State.AVAILABLE, State.END},
    State.AVAILABLE: {State.UNLOADING},
    State.UNLOADING: {State.END},
    State.END: set[int](),
}


@dataclasses.dataclass
class VersionRecord:
    """One life of a version.

    Attributes:
        version: int.
        path: path of the version's directory.
        state: int. A `State` value.
        error: StatusError or None. Why loading failed.
        wanted: bool. Whether it is to be served.
        servable: Servable or None. While it is loaded.
        leases: int. Requests under way.
        content: object. What the files looked like when loading began.
        seen: object. What they looked like last.
    """

    version: int
    path: pathlib.Path
    state: int = State.START
    error: StatusError | None = None
    wanted: bool = True
    servable: Servable | None = None
    leases: int = 0
    content: object = None
    seen: object = None

    @property
    def is_available(self) -> bool:
        return bool(self.state == State.AVAILABLE)

    @property
    def has_failed(self) -> bool:
        return self.state == State.END and self.error is not None

    def enter(self, state: int) -> None:
        """Goes on to a state; a ValueError says if `TRANSITIONS` has no such step."""
        if state not in TRANSITIONS[self.state]:
            before, after = State.Name(self.state), State.Name(state)
            raise ValueError(f"version {self.version} cannot go from {before} to {after}")
        self.state = state


class Versions:
    """The versions of one model, each from when it is first seen until the server ends.

    Example:

    >>> versions = Versions()
    >>> versions.want({1: pathlib.Path("models/ctr/1"), 2: pathlib.Path("models/ctr/2")})
    >>> state, record = versions.next_step()
    >>> State.Name(state), record.version
    ('LOADING', 2)
    """

    def __init__(self) -> None:
        self._records: dict[int, VersionRecord] = {}

    def want(self, paths: Mapping[int, pathlib.Path]) -> None:
        """Says which versions to serve from now on, and where they are."""
        for version, record in list(self._records.items()):
            was_wanted, record.wanted = record.wanted, version in paths
            if not record.wanted and record.state == State.START:
                del self._records[version]
            elif record.wanted and not record.is_available:
                record.path = paths[version]
                if record.has_failed and not was_wanted:
                    self._begin(record)
        for version in paths.keys() - self._records.keys():
            self._records[version] = VersionRecord(version, paths[version])

    def look_at(self, record: VersionRecord, content: object) -> bool:
        """Says what the files of a version look like now; of one that failed, they are loaded.

        Returns:
            Whether they differ from what was loaded, and rest, as no one is copying them any more.
        """
        is_other = content == record.seen != record.content
        if is_other and record in self.failed():
            self._begin(record)
        record.seen = content
        return is_other

    def _begin(self, ended: VersionRecord) -> None:
        self._records[ended.version] = VersionRecord(ended.version, ended.path)

    def next_step(self) -> tuple[int, VersionRecord] | None:
        """The state to enter next and the version that enters it; None: nothing to do.

        Availability is preserved: an unwanted version goes once a wanted one is ready, when none is
        wanted, or when another unwanted one is left to answer. Until then the wanted ones are
        loaded, newest first.
        """
        for record in self.wanted():
            if record.state == State.END and not record.has_failed:
                self._begin(record)
        by_state = collections.defaultdict(list)
        for record in reversed(self.newest_first()):
            by_state[record.wanted, record.state].append(record)
        unwanted = by_state[False, State.AVAILABLE]
        covered = by_state[True, State.AVAILABLE] or not self.wanted()
        if unwanted and (covered or len(unwanted) > 1):
            return State.UNLOADING, unwanted[0]
        if new := by_state[True, State.START]:
            return State.LOADING, new[-1]
        return None

    def newest_first(self) -> list[VersionRecord]:
        """All versions that were seen since the server started."""
        return sorted(self._records.values(), key=lambda record: -record.version)

    def wanted(self) -> list[VersionRecord]:
        """Those that are to be served, newest first."""
        return [record for record in self.newest_first() if record.wanted]

    def available(self, version: int | None = None) -> VersionRecord | None:
        """The version of that number, or of the largest one, if it is available."""
        ready = (record for record in self.newest_first() if record.is_available)
        return next((r for r in ready if version in (None, r.version)), None)

    def failed(self) -> list[VersionRecord]:
        """The wanted versions that have failed to load, newest first."""
        return [record for record in self.wanted() if record.has_failed]

    def failure(self) -> VersionRecord | None:
        """The newest wanted version if all of them have failed to load."""
        failed = self.failed()
        return failed[0] if failed and len(failed) == len(self.wanted()) else None
