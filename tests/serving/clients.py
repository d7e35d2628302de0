"""Clients of both kinds with one face for tests, and a server that fails when it is told to."""

import asyncio
import concurrent.futures
import contextlib
import http.server
import json
import socket
import threading
import time

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import AsyncClient, Client
from serving.client.over_rest import _CODES as REST_CODES
from serving.codes import Code
from serving.tensors import to_array, to_proto

KINDS = [(protocol, face) for protocol in ("http", "grpc") for face in ("blocking", "async")]


@contextlib.contextmanager
def open_client(url, face, **options):
    """A `Client`, or an `AsyncClient` in a loop of its own whose coroutines are run to the end."""
    if face == "blocking":
        with Client(url, **options) as client:
            yield client
        return
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        client = loop.run_until_complete(_made(url, options))
        try:
            yield _RunToTheEnd(client, loop)
        finally:
            loop.run_until_complete(client.close())


async def _made(url, options):
    return AsyncClient(url, **options)


class _RunToTheEnd:
    def __init__(self, client, loop):
        self._client = client
        self._loop = loop

    def predict_rows(self, *args, **options):
        async def collect():
            return [row async for row in self._client.predict_rows(*args, **options)]

        return self._loop.run_until_complete(collect())

    def __getattr__(self, method):
        def call(*args, **options):
            return self._loop.run_until_complete(getattr(self._client, method)(*args, **options))

        return call


class FakeServer:
    """One model, x -> x / 2, which answers with the errors that it is told first.

    Attributes:
        codes: list of Code. Errors for the next predictions.
        dtype: str. The type of x in the metadata.
        seconds: float. How long a prediction takes.
        page: bytes. What HTTP answers are instead of JSON, if it is not empty.
        piece: int. How many bytes of an HTTP body come at once, ten times a second.
        asked: list. The inputs of all predictions so far.
        most_at_once: int. How many predictions were under way at once.
        time_left: float. The deadline of the last prediction, where the protocol tells.
    """

    def __init__(self):
        self.codes = []
        self.dtype = "DT_FLOAT"
        self.seconds = 0.0
        self.page = b""
        self.piece = 1 << 20
        self.asked = []
        self.most_at_once = 0
        self.time_left = None
        self._under_way = 0
        self._lock = threading.Lock()

    def answer(self, x):
        with self._lock:
            self.asked.append(x)
            code = self.codes.pop(0) if self.codes else Code.OK
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        time.sleep(self.seconds)
        with self._lock:
            self._under_way -= 1
        return code, [float(value) / 2 for value in x]


@contextlib.contextmanager
def serve_fake(protocol):
    """A running `FakeServer` and its address."""
    fake = FakeServer()
    with (_rest if protocol == "http" else _grpc)(fake) as port:
        yield fake, f"127.0.0.1:{port}"


@contextlib.contextmanager
def _rest(fake):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            tensor = {"dtype": fake.dtype, "tensor_shape": {"dim": [{"size": "-1"}]}}
            signature = {"inputs": {"x": tensor}, "outputs": {"y": {**tensor, "dtype": "DT_FLOAT"}}}
            signatures = {"signature_def": {"serving_default": signature}}
            spec = {"name": "m", "version": "1"}
            self._reply(200, {"model_spec": spec, "metadata": {"signature_def": signatures}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, y = fake.answer(body["inputs"]["x"])
            if code == Code.OK:
                self._reply(200, {"outputs": y})
            else:
                status = next(http for http, known in REST_CODES.items() if known == code)
                self._reply(429 if status == 413 else status, {"error": "as told"})

        def _reply(self, status, document):
            body = fake.page or json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for position in range(0, len(body), fake.piece):
                self.wfile.write(body[position : position + fake.piece])
                time.sleep(0.1 if fake.piece < len(body) else 0)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def _grpc(fake):
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def GetModelMetadata(self, request, context):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            signature = signatures.signature_def["serving_default"]
            signature.inputs["x"].dtype = types_pb2.DataType.Value(fake.dtype)
            signature.outputs["y"].dtype = types_pb2.DT_FLOAT
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.version.value = 1
            response.metadata["signature_def"].Pack(signatures)
            return response

        def Predict(self, request, context):
            fake.time_left = context.time_remaining()
            code, y = fake.answer(to_array(request.inputs["x"]).tolist())
            if code != Code.OK:
                context.abort(_GRPC_CODES[code], "as told")
            response = predict_pb2.PredictResponse()
            response.outputs["y"].CopyFrom(to_proto(np.float32(y), types_pb2.DT_FLOAT))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


_GRPC_CODES = {Code(code.value[0]): code for code in grpc.StatusCode}


class Proxy:
    """Passes TCP connections on, apart from those it is told to spoil.

    Args:
        upstream: str. Host and port of the server behind it.

    Attributes:
        address: str. Host and port of the proxy.
        faults: list of str. What happens to the next connections: "drop" closes them when
            something is sent, "silent" never answers.
        connections: int. How many there were.
    """

    def __init__(self, upstream):
        self.faults = []
        self.connections = 0
        self._upstream = upstream.rsplit(":", 1)
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self):
        """Closes all connections, as a server does that restarts."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._open.append(client)
                fault = self.faults.pop(0) if self.faults else None
                threading.Thread(target=self._pass_on, args=(client, fault), daemon=True).start()

    def _pass_on(self, client, fault):
        if fault == "drop":
            client.recv(1)
            client.close()
        elif fault != "silent":
            server = socket.create_connection(self._upstream)
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            _pump(server, client)


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
