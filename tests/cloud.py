"""A server that stands for Google's object store, in a process of its own."""

import multiprocessing
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

BUCKET = "bucket"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[str]:
    """The address of an empty bucket. What is fetched from it is kept below a temporary folder."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
        patch.setenv("CTR_KERAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        _wait_for(port)
        yield f"gs://{BUCKET}"
    server.kill()


def _serve(port: int) -> None:
    from gcp_storage_emulator.server import create_server

    create_server("localhost", port, in_memory=True, default_bucket=BUCKET).run()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://localhost:{port}/storage/v1/b/{BUCKET}").close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no server at {port}")
