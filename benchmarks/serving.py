"""What the embedded server adds to a model: latency, ranking, batching.

Serves AutoInt (3 layers, 2 heads of 32, embedding 16) on 39 columns of Criteo's shape, and prints
a JSON line for each measurement. Open loop: requests are sent when they are due (Poisson arrivals),
and their latency counts from then, whether or not earlier ones have been answered. The limit is
the loaded signature itself, called in this process on arrays when a request is due, in turns with
the requests.

    python -m benchmarks.serving --folder DIR
"""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import click
import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.served_model import (
    BATCH_SIZES,
    Columns,
    columns_of,
    exported,
    loaded,
    of_one_user,
    percentiles,
    print_line,
    rows_of,
)
from benchmarks.timing import median_seconds

CANDIDATES = 500
CLIENTS = 64
LOAD = 0.3  # share of the time that the model runs
PREDICT = "/tensorflow.serving.PredictionService/Predict"
_CONTENT_LENGTH = re.compile(rb"Content-Length: (\d+)", re.IGNORECASE)
BATCHING = """
max_batch_size { value: 512 } max_execution_batch_size { value: 128 }
enable_large_batch_splitting { value: true } max_enqueued_batches { value: 100 }
batch_timeout_micros { value: 0 } num_batch_threads { value: 1 }
"""

Send = Callable[[], Awaitable[None]]


@click.command()
@click.option("--folder", required=True, help="For prepared data and the model; kept.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="In each, all have their turn.")
def main(folder: str, seconds: float, rounds: int) -> None:
    """Measure latency by batch size, rank against predict, and batching on against off."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as the server has by default
    models = exported(folder)
    columns = columns_of(folder)
    direct = loaded(models)
    with _served(folder, models) as server:
        for size in BATCH_SIZES:
            asyncio.run(_latency(server, direct, rows_of(columns, size), size, seconds, rounds))
        asyncio.run(_ranking(server, direct, columns, rounds))
        asyncio.run(_first_requests(server, models, rows_of(columns, 1), rounds))
    asyncio.run(_batching(folder, models, rows_of(columns, 1), seconds, rounds))


# The server


@contextlib.contextmanager
def _served(folder: str, models: str, *flags: str) -> Iterator[dict[str, str]]:
    """A server process; yields its addresses, and its number."""
    rest, rpc = free_port(), free_port()
    with open(os.path.join(folder, "server.log"), "w") as log:
        command = [sys.executable, "-m", "ctr_keras.cli", "serve", f"--models={models}"]
        ports = [f"--rest_api_port={rest}", f"--port={rpc}"]
        process = subprocess.Popen([*command, *ports, *flags], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{rest}/v1/models/ctr"
        wait_until_served(url, process)
        yield {"rest": url, "grpc": f"127.0.0.1:{rpc}", "pid": str(process.pid)}
    finally:
        process.terminate()
        process.wait()


def wait_until_served(url: str, process: subprocess.Popen | None) -> None:
    """Waits until a server has a model; fails if its process ends."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/metadata").close()
            return
        assert process is None or process.poll() is None, "the server ended; see its log"
        time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


# Requests, made beforehand: what is measured is the server


def _rest_body(columns: Columns, in_rows: bool = True, signature: str = "serving_default") -> bytes:
    plain = {
        name: [value.decode() if isinstance(value, bytes) else float(value) for value in values]
        for name, values in columns.items()
    }
    if not in_rows:
        return json.dumps({"signature_name": signature, "inputs": plain}).encode()
    rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return json.dumps({"signature_name": signature, "instances": rows}).encode()


def _grpc_body(columns: Columns, signature: str = "serving_default") -> bytes:
    import tensorflow as tf

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = signature
    for name, values in columns.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request.SerializeToString()


@contextlib.asynccontextmanager
async def _senders(server: dict[str, str]) -> Any:
    """Functions that send a body and wait for the answer, by protocol."""
    url = urllib.parse.urlparse(f"{server['rest']}:predict")
    idle: list[Any] = []  # connections

    # An HTTP library takes as long for a request as the server, whose cores it shares.
    async def over_rest(body: bytes) -> None:
        connection = idle.pop() if idle else await asyncio.open_connection(url.hostname, url.port)
        reader, writer = connection
        head = (
            f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        header = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(int(_CONTENT_LENGTH.search(header)[1]))
        assert header.startswith(b"HTTP/1.1 200"), answer
        idle.append(connection)

    async with grpc.aio.insecure_channel(server["grpc"]) as channel:
        predict = channel.unary_unary(PREDICT)

        async def over_grpc(body: bytes) -> None:
            await predict(body)

        yield {"rest": over_rest, "grpc": over_grpc}
        for _, writer in idle:
            writer.close()


# Measurements


async def _latency(
    server: dict[str, str],
    direct: dict[str, Callable],
    columns: Columns,
    size: int,
    seconds: float,
    rounds: int,
) -> None:
    bodies = {"rest": _rest_body(columns), "grpc": _grpc_body(columns)}
    once = median_seconds({"direct": lambda: direct["serving_default"](columns)}, 20, 5)["direct"]
    rate = LOAD / once

    async def directly() -> None:
        direct["serving_default"](columns)

    async with _senders(server) as senders:
        ways: dict[str, Send] = {
            "direct": directly,
            "grpc": lambda: senders["grpc"](bodies["grpc"]),
            "rest": lambda: senders["rest"](bodies["rest"]),
        }
        latencies: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, send in ways.items():
                latencies[way] += await _open_loop(send, rate, seconds)
    for way, values in latencies.items():
        print_line({"measured": way, "batch": size, **percentiles(values), "per_second": rate})


async def _open_loop(send: Send, rate: float, seconds: float) -> list[float]:
    """Seconds from when each request was due to its answer."""
    generator = np.random.default_rng(0)
    due = np.cumsum(generator.exponential(1 / rate, size=round(rate * seconds)))
    started = time.perf_counter()

    async def one(at: float) -> float:
        await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
        await send()
        return time.perf_counter() - started - at

    return await asyncio.gather(*map(one, due))


async def _ranking(
    server: dict[str, str], direct: dict[str, Callable], columns: Columns, rounds: int
) -> None:
    rows = rows_of(of_one_user(columns), CANDIDATES)
    one_user = of_one_user(rows)
    scores = direct["serving_default"](rows) - direct["rank"](one_user)
    assert np.abs(scores).max() <= 1e-6, "rank and predict differ"
    loop = asyncio.get_running_loop()
    bodies = {
        ("grpc", "predict"): _grpc_body(rows),
        ("grpc", "rank"): _grpc_body(one_user, "rank"),
        ("rest", "predict"): _rest_body(rows),
        ("rest", "rank"): _rest_body(one_user, False, "rank"),
    }
    async with _senders(server) as senders:

        def send(protocol: str, body: bytes) -> None:
            asyncio.run_coroutine_threadsafe(senders[protocol](body), loop).result()

        tasks: dict[Any, Callable[[], Any]] = {
            (protocol, verb): lambda protocol=protocol, body=body: send(protocol, body)
            for (protocol, verb), body in bodies.items()
        }
        tasks["direct", "predict"] = lambda: direct["serving_default"](rows)
        tasks["direct", "rank"] = lambda: direct["rank"](one_user)
        seconds = await asyncio.to_thread(median_seconds, tasks, 10 * rounds, 3)
    for way in ("direct", "grpc", "rest"):
        predict, rank = seconds[way, "predict"], seconds[way, "rank"]
        print_line(
            {
                "measured": f"{way}, {CANDIDATES} candidates",
                "predict_ms": 1000 * predict,
                "rank_ms": 1000 * rank,
                "ratio": predict / rank,
            }
        )


async def _first_requests(
    server: dict[str, str], models: str, columns: Columns, rounds: int
) -> None:
    """The first request to a version that has just been loaded, against those that follow."""
    body = _grpc_body(columns)
    ratios = []
    async with _senders(server) as senders:
        folder = os.path.join(models, "ctr")
        for version in range(2, 2 + rounds):
            shutil.copytree(os.path.join(folder, "1"), os.path.join(folder, ".next"))
            os.rename(os.path.join(folder, ".next"), os.path.join(folder, str(version)))
            wait_until_served(f"{server['rest']}/versions/{version}", None)
            latencies = []
            for _ in range(51):
                began = time.perf_counter()
                await senders["grpc"](body)
                latencies.append(time.perf_counter() - began)
            ratios.append(latencies[0] / float(np.median(latencies[1:])))
    for version in range(2, 2 + rounds):
        shutil.rmtree(os.path.join(folder, str(version)))
    print_line({"measured": "first request after a load / median", "ratios": ratios})


async def _batching(
    folder: str, models: str, columns: Columns, seconds: float, rounds: int
) -> None:
    path = os.path.join(folder, "batching.config")
    with open(path, "w") as file:
        file.write(BATCHING)
    batching = ["--enable_batching", f"--batching_parameters_file={path}"]
    bodies = {"grpc": _grpc_body(columns), "rest": _rest_body(columns)}
    found: dict[Any, list[tuple[list[float], float]]] = {}
    with _served(folder, models) as off, _served(folder, models, *batching) as on:
        async with _senders(off) as to_off, _senders(on) as to_on:
            for _ in range(rounds):
                for protocol, (mode, senders, server) in itertools.product(
                    bodies, [("off", to_off, off), ("on", to_on, on)]
                ):
                    send, body = senders[protocol], bodies[protocol]
                    used = _cpu_seconds(server)
                    latencies = await _closed_loop(lambda send=send, body=body: send(body), seconds)
                    used = _cpu_seconds(server) - used
                    found.setdefault((protocol, mode), []).append((latencies, used))
    for (protocol, mode), of_rounds in found.items():
        values = list(itertools.chain.from_iterable(latencies for latencies, _ in of_rounds))
        rate = float(np.median([len(latencies) for latencies, _ in of_rounds])) / seconds
        cpu = float(np.median([used / len(latencies) for latencies, used in of_rounds]))
        what = f"{protocol}, {CLIENTS} clients, batching {mode}"
        shown = {**percentiles(values), "per_second": rate, "server_cpu_ms": 1000 * cpu}
        print_line({"measured": what, **shown})


def _cpu_seconds(server: dict[str, str]) -> float:
    """What the server's process has used of the processors so far."""
    fields = pathlib.Path(f"/proc/{server['pid']}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _closed_loop(send: Send, seconds: float) -> list[float]:
    """Latencies of clients that each send the next request when the last one is answered."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        while (began := time.perf_counter()) < end:
            await send()
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return latencies


if __name__ == "__main__":
    main()
