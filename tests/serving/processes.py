"""`ctr-keras serve` as a process of its own, started with TensorFlow Serving's flags."""

import contextlib
import socket

from tests.processes import Command


class Process(Command):
    """A server process; `rest_address` and `grpc_address` are where it listens."""

    def __init__(self, *flags):
        rest_port, grpc_port = free_port(), free_port()
        self.rest_address = f"127.0.0.1:{rest_port}"
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        super().__init__("serve", f"--rest_api_port={rest_port}", f"--port={grpc_port}", *flags)


@contextlib.contextmanager
def running(*flags):
    """A server process with `flags` on free ports."""
    process = Process(*flags)
    try:
        yield process
    finally:
        process.kill()


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
