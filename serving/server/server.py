"""The embedded server: models behind TensorFlow Serving's REST and gRPC APIs."""

import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from serving.codes import StatusError
from serving.server.core import Core
from serving.server.grpc_api import GrpcServer
from serving.server.options import Options
from serving.server.rest.api import RestServer

log = logging.getLogger(__name__)

_SECONDS_TO_END = 0.5  # of threads that have nothing left to do


class Server:
    """Serves models over REST and gRPC, as TensorFlow Serving does.

    Args:
        models_dir: str or None. A folder of models: each folder in it is one, its numbered
            sub-folders are its versions. Defaults to `None`: `options` say what to serve.
        **options: the fields of `serving.server.options.Options`: TensorFlow Serving's flags.

    Attributes:
        rest_api_port: int or None. The REST port that is bound, once started.
        port: int or None. The gRPC port that is bound, once started.

    Raises:
        ValueError: if options contradict each other.
        OSError: if a folder or file that they name cannot be read.
        StatusError: if such a file makes no sense.

    Example:

    >>> import urllib.request
    >>> with Server("models", rest_api_port=0, port=0) as server:
    ...     urllib.request.urlopen(f"http://{server.rest_address}/v1/models/ctr").status
    200
    """

    def __init__(self, models_dir: str | os.PathLike[str] | None = None, **options: Any):
        models = None if models_dir is None else os.fspath(models_dir)
        self._options = Options(models=models, **options)
        self._core = Core(self._options)
        grpc_port, rest_port = self._options.grpc_port, self._options.rest_port
        if rest_port and rest_port == grpc_port:
            log.error("REST is not served, as its port is that of gRPC: %d", rest_port)
            rest_port = None
        self._grpc = None if grpc_port is None else GrpcServer(self._core, self._options)
        self._rest = None if rest_port is None else RestServer(self._core, self._options)

    @property
    def rest_api_port(self) -> int | None:
        return self._rest.port if self._rest else None

    @property
    def port(self) -> int | None:
        return self._grpc.port if self._grpc else None

    @property
    def rest_address(self) -> str:
        """Host and port of the REST API."""
        return f"{self._options.host_in_url}:{self.rest_api_port}"

    @property
    def grpc_address(self) -> str:
        """Host and port of the gRPC API."""
        return f"{self._options.host_in_url}:{self.port}"

    def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises:
            OSError: if a port cannot be bound.
            StatusError: if a model that TensorFlow Serving's flags name cannot be loaded.
        """
        try:
            self._core.configure()
            self._check_ports()
            self._core.start()
            if self._grpc:
                self._grpc.start()
            if self._rest:
                self._rest.start()
        except BaseException:
            self.stop()
            raise

    def _check_ports(self) -> None:
        """Says at once, not after the models are loaded, that a port is taken."""
        options = self._options
        for flag, port in (("port", options.grpc_port), ("rest_api_port", options.rest_port)):
            if port:
                try:
                    socket.create_server((options.host, port), family=_family(options.host)).close()
                except OSError as error:
                    reason = str(error.strerror).partition(" (")[0]
                    raise OSError(
                        f"--{flag}={port} cannot be bound on {options.host}: {reason}"
                    ) from error

    def stop(self) -> None:
        """Ends the requests under way, closes the ports and gives the models up.

        What has not ended in `grace_seconds` is left to itself.
        """
        end = time.monotonic() + self._options.grace_seconds
        grpc_ended = self._grpc.stop(self._options.grace_seconds) if self._grpc else None
        if self._rest:
            self._rest.stop()
        if self._grpc and grpc_ended:
            grpc_ended.wait(max(0.0, end - time.monotonic()))
            self._grpc.close()
        self._core.stop(max(0.0, end - time.monotonic()))

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __str__(self) -> str:
        addresses = [
            f"REST http://{self.rest_address}" if self._rest else "no REST",
            f"gRPC {self.grpc_address}" if self._grpc else "no gRPC",
        ]
        options = self._options
        source = options.models or options.model_config_file or options.model_base_path
        return f"{source}: {', '.join(addresses)}"


def serve(models_dir: str | None = None, **options: Any) -> None:
    """Runs a `Server` until SIGINT or SIGTERM; call it from the main thread.

    Prints one line when the server is ready. Where no option sets TensorFlow's threads, an op has
    one: handing the parts of a small product to others takes longer than the product.

    Args:
        models_dir: str or None. As in `Server`.
        **options: as in `Server`.

    Raises:
        ValueError, OSError: as in `Server`.
        RuntimeError: if the server cannot start.
    """
    # What has been imported stays: the collection that follows an unloaded version, during which
    # nothing else runs, need not look at it.
    gc.freeze()
    _allow_connections()
    with contextlib.suppress(_AskedToStop), _stop_on_signals():
        try:
            server = Server(models_dir, **_with_threads(options))
            server.start()
        except StatusError as error:
            raise RuntimeError(f"Failed to start server. Error: {error}") from error
        try:
            print(f"Serving {server}", flush=True)
            threading.Event().wait()
        finally:
            server.stop()
            _leave_behind()


def _with_threads(options: dict[str, Any]) -> dict[str, Any]:
    both = ("tensorflow_session_parallelism", "tensorflow_session_config_file")
    one = "tensorflow_intra_op_parallelism"
    is_said = options.get(one) is not None or any(map(options.get, both))
    return options if is_said else options | {one: 1}


def _allow_connections() -> None:
    """Lets the process have as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _leave_behind() -> None:
    """Ends the process where models still run, for which Python would wait: their time is over."""
    workers = [t for t in threading.enumerate() if t.name.startswith(("rest_", "grpc_"))]
    end = time.monotonic() + _SECONDS_TO_END
    for thread in workers:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in workers):
        log.warning("Requests that were under way are given up")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _AskedToStop(BaseException):
    """Raised in the main thread by the first signal."""


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into `_AskedToStop`, and ignores further ones."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(*_: Any) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise _AskedToStop

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
