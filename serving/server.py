"""The embedded server: a folder of models behind TensorFlow Serving's REST and gRPC APIs."""

import functools
import os
import signal
import threading
from typing import Any

from serving.grpc_server import GrpcServer
from serving.rest import RestServer
from serving.servables import ModelManager, folder_models
from serving.warmup import load_warm

MAX_REQUEST_BYTES = 100 << 20


class Server:
    """Serves every folder of a directory as a model, its numbered sub-folders as versions.

    Args:
        models_dir: str. The directory.
        rest_api_port: int. Port of the REST API; 0 picks a free one. Defaults to 8501.
        port: int. Port of the gRPC API; 0 picks a free one. Defaults to 8500.
        host: str. The address to bind. Defaults to "127.0.0.1": this machine only.
        poll_seconds: float. How often to look for new models and versions. Defaults to 1.
        max_request_bytes: int. The longest request taken, also after decompression. Defaults to
            100 MiB.
        grace_seconds: float. How long requests under way may take at the end. Defaults to 30.

    Attributes:
        rest_api_port: int. The REST port that is bound.
        port: int. The gRPC port that is bound.

    Raises:
        NotADirectoryError: if there is no such directory.

    Example:

    >>> with Server("models", rest_api_port=0, port=0) as server:              # doctest: +SKIP
    ...     urllib.request.urlopen(f"http://{server.rest_address}/v1/models/ctr")
    """

    def __init__(
        self,
        models_dir: str | os.PathLike[str],
        *,
        rest_api_port: int = 8501,
        port: int = 8500,
        host: str = "127.0.0.1",
        poll_seconds: float = 1.0,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        grace_seconds: float = 30.0,
    ):
        if not os.path.isdir(models_dir):
            raise NotADirectoryError(f"no directory of models: {os.fspath(models_dir)}")
        self._host = f"[{host}]" if ":" in host else host
        self._grace_seconds = grace_seconds
        models = functools.partial(folder_models, models_dir)
        self._manager = ModelManager(models, load_warm, poll_seconds)
        self._rest = RestServer(
            self._manager, host, rest_api_port, max_request_bytes, grace_seconds
        )
        self._grpc = GrpcServer(self._manager, host, port, max_request_bytes)

    @property
    def rest_api_port(self) -> int:
        return self._rest.port

    @property
    def port(self) -> int:
        return self._grpc.port

    @property
    def rest_address(self) -> str:
        """Host and port of the REST API."""
        return f"{self._host}:{self._rest.port}"

    @property
    def grpc_address(self) -> str:
        """Host and port of the gRPC API."""
        return f"{self._host}:{self._grpc.port}"

    def start(self) -> None:
        """Loads the models that are there, then opens the ports.

        Raises:
            OSError: if the REST port cannot be bound.
            RuntimeError: if the gRPC port cannot be bound.
        """
        try:
            self._manager.start()
            self._grpc.start()
            self._rest.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the requests under way, closes the ports and gives the models up."""
        grpc_ended = self._grpc.stop(self._grace_seconds)
        self._rest.stop()
        grpc_ended.wait()
        self._manager.stop()

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def serve(
    models_dir: str,
    rest_api_port: int = 8501,
    port: int = 8500,
    host: str = "127.0.0.1",
    **options: Any,
) -> None:
    """Runs a `Server` until SIGINT or SIGTERM; call it from the main thread.

    Prints one line when the server is ready.

    Args:
        models_dir: str. The directory of models.
        rest_api_port: int. Port of the REST API. Defaults to 8501.
        port: int. Port of the gRPC API. Defaults to 8500.
        host: str. The address to bind. Defaults to "127.0.0.1".
        **options: the other arguments of `Server`.

    Raises:
        NotADirectoryError: if there is no such directory.
        OSError: if the REST port cannot be bound.
        RuntimeError: if the gRPC port cannot be bound.
    """
    asked_to_stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: asked_to_stop.set()) for number in signals}
    try:
        with Server(
            models_dir, rest_api_port=rest_api_port, port=port, host=host, **options
        ) as server:
            addresses = f"REST http://{server.rest_address}, gRPC {server.grpc_address}"
            print(f"Serving {models_dir}: {addresses}", flush=True)
            asked_to_stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
