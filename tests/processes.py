"""Processes that start at once: forked from one that has imported TensorFlow, which takes long."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.preloaded"])


def in_another_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What a function gives in a process in which TensorFlow and JAX have run nothing yet."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=FORKED) as process:
        return process.submit(function, *arguments).result()


class Command:
    """The command line in a process of its own, in the folder that the test is in.

    Attributes:
        pid: int.
    """

    def __init__(self, *arguments: object) -> None:
        self._output = tempfile.NamedTemporaryFile()  # noqa: SIM115 (as long as this lives)
        given = (self._output.name, os.getcwd(), *map(str, arguments))
        self._process = FORKED.Process(target=_run, args=given, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        """What it has printed and logged so far."""
        return pathlib.Path(self._output.name).read_text()

    def wait_until(self, is_so: Callable[[], bool], seconds: float = 120) -> None:
        """Waits until something is so, before the process has ended."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert self._process.is_alive(), f"it has ended:\n{self.output}"
            assert time.monotonic() < deadline, self.output
            time.sleep(0.005)

    def wait_for(self, text: str) -> None:
        """Waits until the process has printed a text."""
        self.wait_until(lambda: text in self.output)

    def ended(self, seconds: float = 60) -> int | None:
        """Waits for the end; the exit status."""
        self._process.join(seconds)
        return self._process.exitcode

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _run(output: str, folder: str, *arguments: str) -> None:
    from ctr_keras.cli import main

    os.chdir(folder)
    with open(output, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    main(arguments)
