"""Whatever happens to models and in whatever order: after the dust settles, what is wanted serves.

Loads are those of a file here, so that thousands of steps take seconds; threads, folders and polls
are real. `make lifecycle` takes 10,000 steps.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from serving.codes import Code, StatusError
from serving.server import manager as manager_module
from serving.server.config import ModelConfig, latest
from serving.server.lifecycle import State
from serving.server.manager import ModelManager

STEPS = int(os.environ.get("CTR_KERAS_LIFECYCLE", 1000))
STEPS_OF_A_RUN = 25

NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.integers(1, 4)
POLICIES = {
    "latest": latest,
    "latest two": lambda versions: latest(versions, 2),
    "all": set,
    "one": {1}.intersection,
}


class Loaded:
    """A servable: as a model whose files are there."""

    def __init__(self, name, version, path):
        time.sleep(0.001)
        for file in ("graph", "weights"):
            if not (path / file).exists():
                raise StatusError(Code.NOT_FOUND, f"no {file} in {path}")
        self.name, self.version = name, version


class Lifecycle(RuleBasedStateMachine):
    """What the manager makes of all this, next to what is to be expected."""

    def __init__(self):
        super().__init__()
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.policies = {"a": "latest", "b": "all"}  # of the models that are listed
        self.labels = {}
        self.whole = {"a": {}, "b": {}}  # versions on disk, and whether all files are there
        self.leases = contextlib.ExitStack()
        for name in self.whole:
            (self.folder / name).mkdir()
            self.add(name, 1)
        self.start()

    def start(self):
        self.manager = ModelManager(Loaded, load_threads=2, labels_may_wait=True)
        self.configure()

    def configure(self):
        self.manager.configure(
            ModelConfig(name, self.folder / name, POLICIES[policy], self.labels.get(name, {}))
            for name, policy in self.policies.items()
        )
        self.manager.poll()

    # What happens

    @rule(name=NAMES, version=VERSIONS)
    def add(self, name, version):
        if version not in self.whole[name]:
            partial = self.folder / f"{name}-{version}"
            partial.mkdir()
            self.write(partial, "graph", "weights")
            os.rename(partial, self.folder / name / str(version))
            self.whole[name][version] = True

    @rule(name=NAMES, version=VERSIONS)
    def begin_to_copy(self, name, version):
        if version not in self.whole[name]:
            (self.folder / name / str(version)).mkdir()
            self.write(self.folder / name / str(version), "graph")
            self.whole[name][version] = False

    @rule(name=NAMES)
    def end_all_copies(self, name):
        for version in self.whole[name]:
            self.write(self.folder / name / str(version), "graph", "weights")
            self.whole[name][version] = True

    @rule(name=NAMES, version=VERSIONS)
    def remove(self, name, version):
        if self.whole[name].pop(version, None) is not None:
            gone = self.folder / f"gone-{time.monotonic_ns()}"
            os.rename(self.folder / name / str(version), gone)
            shutil.rmtree(gone)

    @rule(name=NAMES, policy=st.sampled_from(sorted(POLICIES)))
    def list_model(self, name, policy):
        self.policies[name] = policy
        self.configure()

    @rule(name=NAMES, comes_back=st.booleans())
    def leave_out(self, name, comes_back):
        policy = self.policies.pop(name, None)
        self.labels.pop(name, None)
        self.configure()
        if policy and comes_back:
            time.sleep(0.002)
            self.list_model(name, policy)

    @rule()
    def look(self):
        self.manager.poll()
        time.sleep(0.002)  # for what begins to load or unload

    @rule(name=NAMES, version=VERSIONS)
    def label(self, name, version):
        if name in self.policies:
            before = self.labels.get(name, {})
            self.labels[name] = {"stable": version}
            try:
                self.configure()
            except StatusError:  # it is in use for another version
                self.labels[name] = before

    @rule(name=NAMES)
    def request(self, name):
        with contextlib.suppress(StatusError):
            servable = self.leases.enter_context(self.manager.lease(name))
            assert servable.name == name

    @rule()
    def end_requests(self):
        self.leases.close()

    @rule()
    def kill(self):
        self.leases.close()
        self.labels = {}
        self.manager.stop()
        self.start()

    # What is to be expected

    @rule()
    @precondition(lambda self: self.policies)
    def settle(self):
        self.leases.close()
        deadline = time.monotonic() + 10
        while wrong := [name for name in self.whole if not self.is_right(name)]:
            assert time.monotonic() < deadline, {name: self.seen(name) for name in wrong}
            self.manager.poll()
            time.sleep(0.001)

    def is_right(self, name):
        on_disk = self.whole[name] if name in self.policies else {}
        wanted = POLICIES[self.policies[name]](on_disk) if on_disk else set()
        whole = {version for version in wanted if on_disk[version]}
        seen = self.seen(name)
        available = {version for version, state, _ in seen if state == State.AVAILABLE}
        failed = {version for version, _, error in seen if error}
        steady = all(state in (State.AVAILABLE, State.END) for _, state, _ in seen)
        # Where nothing that is wanted can be served, one that is not goes on. What is loaded
        # stays, also where its files were removed and others are being copied to their place.
        kept = wanted and not available & wanted and len(available) == 1
        served = whole <= available and (available <= wanted or kept)
        return steady and served and wanted - available <= failed

    def seen(self, name):
        try:
            return [(r.version, r.state, r.error) for r in self.manager.status(name)]
        except StatusError:
            return []

    def write(self, folder, *files):
        for file in files:
            if not (folder / file).exists():
                (folder / file).touch()

    def teardown(self):
        try:
            self.settle()
        finally:
            self.manager.stop()
            shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def _unload_at_once(monkeypatch):
    """Nothing is left to collect of what is loaded here."""
    monkeypatch.setattr(manager_module, "_SECONDS_TO_COLLECTION", 0)
    monkeypatch.setattr(manager_module.gc, "collect", lambda: 0)


def test_after_the_dust_settles_what_is_wanted_serves_and_nothing_else():
    case = Lifecycle.TestCase()
    case.settings = settings(
        max_examples=STEPS // STEPS_OF_A_RUN,
        stateful_step_count=STEPS_OF_A_RUN,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failure takes long to be made shorter
        derandomize="CTR_KERAS_LIFECYCLE" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    case.runTest()
