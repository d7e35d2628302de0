"""`ctr-keras serve` as a process of its own, started with TensorFlow Serving's flags."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]


class Process:
    """A server process; `rest_address` and `grpc_address` are where it listens."""

    def __init__(self, *flags, rest_port=None, grpc_port=None):
        self.rest_address = f"127.0.0.1:{rest_port}"
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "ctr_keras.cli", "serve", *map(str, flags)],
            cwd=ROOT,
            # Without what TensorFlow Transform sets when tests of the pipeline run here.
            env={k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._popen.stdout:
            self._lines.append(line)

    @property
    def pid(self):
        return self._popen.pid

    @property
    def output(self):
        return "".join(self._lines)

    def wait_for(self, text, seconds=60):
        """Waits until the process has printed a text."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert self._popen.poll() is None, f"ended without {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            time.sleep(0.05)
        return self

    def ended(self, seconds=60):
        """Waits for the end; the exit status."""
        status = self._popen.wait(seconds)
        self._reader.join()
        return status

    def terminate(self):
        self._popen.terminate()

    def kill(self):
        self._popen.kill()
        self._popen.wait()


@contextlib.contextmanager
def running(*flags):
    """A server process with `flags` on free ports."""
    rest_port, grpc_port = free_port(), free_port()
    ports = [f"--rest_api_port={rest_port}", f"--port={grpc_port}"]
    process = Process(*ports, *flags, rest_port=rest_port, grpc_port=grpc_port)
    try:
        yield process
    finally:
        process.kill()


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
