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
import functools
import itertools
import json
import os
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

from benchmarks.synthetic import prepared_log
from benchmarks.timing import median_seconds

BATCH_SIZES = (1, 32, 128, 500)
CANDIDATES = 500
CLIENTS = 64
ITEM_COLUMNS = tuple(f"C{number}" for number in range(19, 27))  # 8 of 39
LOAD = 0.3  # share of the time that the model runs
PREDICT = "/tensorflow.serving.PredictionService/Predict"
_CONTENT_LENGTH = re.compile(rb"Content-Length: (\d+)", re.IGNORECASE)
BATCHING = """
max_batch_size { value: 512 } max_execution_batch_size { value: 128 }
enable_large_batch_splitting { value: true } max_enqueued_batches { value: 100 }
batch_timeout_micros { value: 0 } num_batch_threads { value: 1 }
"""

Send = Callable[[], Awaitable[None]]
Columns = dict[str, np.ndarray]


@click.command()
@click.option("--folder", required=True, help="For prepared data and the model; kept.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="In each, all have their turn.")
def main(folder: str, seconds: float, rounds: int) -> None:
    """Measure latency by batch size, rank against predict, and batching on against off."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as the server has by default
    models = _exported(folder)
    columns = _columns(folder)
    direct = _loaded(models)
    with _served(folder, models) as server:
        for size in BATCH_SIZES:
            asyncio.run(_latency(server, direct, _rows(columns, size), size, seconds, rounds))
        asyncio.run(_ranking(server, direct, columns, rounds))
        asyncio.run(_first_requests(server, models, _rows(columns, 1), rounds))
    asyncio.run(_batching(folder, models, _rows(columns, 1), seconds, rounds))
    _in_process(folder, direct, rounds)


# What is served


def _exported(folder: str) -> str:
    """The folder of models; made once, and next to it the model for ONNX Runtime."""
    import keras

    from ctr_keras.features import FeatureSet
    from ctr_keras.models import build_model
    from serving.export import ExportOptions, export_model

    models, prepared = os.path.join(folder, "models"), prepared_log(folder, 20_000)
    if not os.path.exists(models):
        keras.utils.set_random_seed(0)
        features = FeatureSet.load(os.path.join(prepared, "features.json"))
        model = build_model("AutoInt", features, dim=16, layers=3, heads=2, head_dim=32)
        options = ExportOptions(item_columns=ITEM_COLUMNS)
        export_model(model, features, prepared, os.path.join(models, "ctr"), options)
        options = ExportOptions(format="onnx")
        export_model(model, features, prepared, os.path.join(folder, "onnx"), options)
    return models


def _loaded(models: str) -> dict[str, Callable[[Columns], Any]]:
    """The signatures, called as who has the SavedModel in the process would call them."""
    import tensorflow as tf

    loaded = tf.saved_model.load(os.path.join(models, "ctr", "1"))

    def call(function: Any, columns: Columns) -> np.ndarray:
        tensors = {name: tf.constant(column) for name, column in columns.items()}
        return function(**tensors)["score"].numpy()

    return {
        name: lambda columns, function=function: call(function, columns)
        for name, function in loaded.signatures.items()
    }


def _columns(folder: str) -> Columns:
    """Raw values by column, of the sample rows."""
    with open(os.path.join(folder, "prepared", "samples.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    numbers = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    return {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float32)
        if name in numbers
        else np.array([(row[name] or "").encode() for row in rows], object)
        for name in rows[0]
    }


def _rows(columns: Columns, size: int) -> Columns:
    return {name: np.resize(values, size) for name, values in columns.items()}


@contextlib.contextmanager
def _served(folder: str, models: str, *flags: str) -> Iterator[dict[str, str]]:
    """A server process; yields its addresses."""
    rest, rpc = free_port(), free_port()
    with open(os.path.join(folder, "server.log"), "w") as log:
        command = [sys.executable, "-m", "ctr_keras.cli", "serve", f"--models={models}"]
        ports = [f"--rest_api_port={rest}", f"--port={rpc}"]
        process = subprocess.Popen([*command, *ports, *flags], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{rest}/v1/models/ctr"
        wait_until_served(url, process)
        yield {"rest": url, "grpc": f"127.0.0.1:{rpc}"}
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
        _print({"measured": way, "batch": size, **_percentiles(values), "per_second": rate})


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
    rows = _rows({k: v if k in ITEM_COLUMNS else v[:1] for k, v in columns.items()}, CANDIDATES)
    one_user = {k: v if k in ITEM_COLUMNS else v[:1] for k, v in rows.items()}
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
        _print(
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
    _print({"measured": "first request after a load / median", "ratios": ratios})


async def _batching(
    folder: str, models: str, columns: Columns, seconds: float, rounds: int
) -> None:
    path = os.path.join(folder, "batching.config")
    with open(path, "w") as file:
        file.write(BATCHING)
    batching = ["--enable_batching", f"--batching_parameters_file={path}"]
    bodies = {"grpc": _grpc_body(columns), "rest": _rest_body(columns)}
    found: dict[Any, list[list[float]]] = {}
    with _served(folder, models) as off, _served(folder, models, *batching) as on:
        async with _senders(off) as to_off, _senders(on) as to_on:
            for _ in range(rounds):
                for protocol, (mode, senders) in itertools.product(
                    bodies, [("off", to_off), ("on", to_on)]
                ):
                    send, body = senders[protocol], bodies[protocol]
                    found.setdefault((protocol, mode), []).append(
                        await _closed_loop(lambda send=send, body=body: send(body), seconds)
                    )
    for (protocol, mode), of_rounds in found.items():
        values = list(itertools.chain.from_iterable(of_rounds))
        rate = float(np.median([len(v) for v in of_rounds])) / seconds
        what = f"{protocol}, {CLIENTS} clients, batching {mode}"
        _print({"measured": what, **_percentiles(values), "per_second": rate})


def _in_process(folder: str, direct: dict[str, Callable], rounds: int) -> None:
    """Rows by the loaded SavedModel, next to ONNX Runtime, of which `run` is the model's part,
    LightGBM on rows that are numbers already, and a call of TensorFlow that does nothing."""
    import tensorflow as tf

    from serving.onnx_scorer import OnnxScorer

    scorer = OnnxScorer(os.path.join(folder, "onnx", "1"))
    trees, matrix = _trees(folder)
    with open(os.path.join(folder, "prepared", "samples.jsonl"), encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    columns = _columns(folder)
    one_user = {k: v if k in ITEM_COLUMNS else v[:1] for k, v in columns.items()}
    nothing, tensor = tf.function(tf.identity), tf.constant([1.0])
    for size in BATCH_SIZES:
        rows = list(itertools.islice(itertools.cycle(samples), size))
        of_rows, packed = _rows(columns, size), scorer.pack(rows)
        of_user = {k: np.resize(v, size) if k in ITEM_COLUMNS else v for k, v in one_user.items()}
        numbers = np.resize(matrix, (size, matrix.shape[1]))
        tasks = {
            "direct": functools.partial(direct["serving_default"], of_rows),
            "direct, rank": functools.partial(direct["rank"], of_user),
            "ONNX": functools.partial(scorer.score, rows),
            "ONNX, run": functools.partial(scorer.run, packed),
            "LightGBM": functools.partial(trees.predict, numbers, num_threads=1),
            "nothing": functools.partial(nothing, tensor),
        }
        for name, (wall, cpu) in _by_turns(tasks, 100 * rounds).items():
            of_cpu = {f"cpu_{key}": value for key, value in _percentiles(cpu).items()}
            _print({"measured": name, "batch": size, **_percentiles(wall), **of_cpu})


def _trees(folder: str) -> tuple[Any, np.ndarray]:
    """LightGBM's trees by default, and the rows that they are grown from."""
    import lightgbm

    from ctr_keras.data import read_rows
    from ctr_keras.features import FeatureSet

    prepared = os.path.join(folder, "prepared")
    features = FeatureSet.load(os.path.join(prepared, "features.json"))
    inputs, labels = read_rows(prepared, "train", features, 20_000)
    matrix = np.hstack([inputs["categorical"], inputs["numeric"]])
    grown = lightgbm.Dataset(matrix, np.ravel(labels))
    return lightgbm.train({"objective": "binary", "verbose": -1}, grown), matrix


def _by_turns(
    tasks: dict[str, Callable[[], Any]], repetitions: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of each task by the clock on the wall, and of the processors."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in tasks}
    for turn in range(repetitions + 1):
        for name, task in tasks.items():
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            if turn:  # the first is to warm up
                seconds[name][0].append(time.perf_counter() - wall)
                seconds[name][1].append(time.process_time() - cpu)
    return seconds


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


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{n}_ms": 1000 * float(np.percentile(seconds, n)) for n in (50, 95, 99)}


def _print(result: dict[str, Any]) -> None:
    print(json.dumps(_rounded(result)), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
