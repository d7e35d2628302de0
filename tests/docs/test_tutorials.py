"""The tutorials run as they stand there: code in this process, commands in others."""

import pathlib
import re
import shlex
import socket

import pytest

from tests.conftest import ROOT
from tests.prepared import prepare_once, synthetic_log_once
from tests.processes import Command

IN_MEMORY = ("choosing", "interactions", "vocabularies", "daily", "machines", "layer")


class Reader:
    """Does what a tutorial says, in the folder that the test is in.

    Attributes:
        printed: str. What the last command has printed.
        commands: int. How many there were.
    """

    def __init__(self, **replaced: str) -> None:
        self._replaced = replaced  # in the tutorial's text
        self._names: dict[str, object] = {}
        self._server: Command | None = None
        self.printed = ""
        self.commands = 0

    def follow(self, name: str) -> None:
        """Runs all code and commands of a page, in their order."""
        text = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        for language, block in re.findall(r"^```(python|bash)\n(.*?)^```", text, re.M | re.S):
            if language == "python":
                exec(compile(block, name, "exec"), self._names)
            else:
                for line in block.splitlines():
                    self._run(shlex.split(line))

    def _run(self, words: list[str]) -> None:
        self.commands += 1
        if words == ["kill", "%1"]:
            self.stop()
            return
        name, *arguments = words
        assert name == "ctr-keras"
        if "--out" in words and pathlib.Path(words[words.index("--out") + 1]).exists():
            return
        command = Command(*(word for word in arguments if word != "&"))
        if words[-1] == "&":
            self._server = command
            return
        assert command.ended(600) == 0, command.output
        self.printed = command.output

    def stop(self) -> None:
        if self._server is not None:
            self._server.terminate()


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readers = []

    def follow(name: str, **replaced: str) -> Reader:
        readers.append(Reader(**replaced))
        readers[-1].follow(name)
        return readers[-1]

    yield follow
    for reader in readers:
        reader.stop()


@pytest.mark.parametrize("name", IN_MEMORY)
def test_tutorials_run(name, read):
    read(name)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.whole
def test_serving_ranks(read, tmp_path, tmp_path_factory):
    log = synthetic_log_once(tmp_path_factory)
    (tmp_path / "log").symlink_to(log)
    (tmp_path / "data").symlink_to(prepare_once("synthetic", log, tmp_path_factory))
    best = read("serving", **{"8511": free_port()})._names["best"]
    scores = [score for score, _ in best]
    assert len(scores) == 3
    assert sorted(scores, reverse=True) == scores


@pytest.mark.slow
def test_a_log_of_ones_own_is_scored(read):
    reader = read("log", **{"rows = 20_000": "rows = 4_000"})
    assert reader.commands - 1 <= 12  # the last one ends the server
    scores = [float(score) for score in reader.printed.splitlines()[-100:]]
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) > 50
