"""New versions under load: no request may fail or get another version's answer, no memory may leak.

A server process serves a model whose version v multiplies by v and holds 64 MiB of weights. Clients
ask over REST and gRPC without a pause; every few seconds a new version appears. Every fourth is
broken, every third is copied slowly to where the server looks for it, and before every fifth the
newest one is removed. Prints a JSON line for each version and one at the end.

    python -m benchmarks.hot_reload --folder DIR
"""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.serving import free_port, wait_until_served

CLIENTS = 2  # of each protocol
BROKEN_EVERY = 4
SLOW_EVERY = 3
REMOVED_EVERY = 5  # by then no version before the last one is gone
COPY_SECONDS = 3.0
WEIGHTS = 16 << 20


@click.command()
@click.option("--folder", required=True, help="For the models; emptied first.")
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--every", default=15.0, show_default=True, help="Seconds from version to version.")
def main(folder: str, minutes: float, every: float) -> None:
    """Publish versions under load, and report what clients saw."""
    shutil.rmtree(folder, ignore_errors=True)
    model = pathlib.Path(folder, "models", "m")
    _publish(model, 1)
    rest, rpc = free_port(), free_port()
    with open(os.path.join(folder, "server.log"), "w") as log:
        command = [sys.executable, "-m", "ctr_keras.cli", "serve", f"--models={model.parent}"]
        ports = [f"--rest_api_port={rest}", f"--port={rpc}"]
        process = subprocess.Popen([*command, *ports], stdout=log, stderr=log)
    try:
        wait_until_served(f"http://127.0.0.1:{rest}/v1/models/m", process)
        _run(model, rest, rpc, process.pid, minutes * 60, every)
    finally:
        process.terminate()
        process.wait()


def _run(model: pathlib.Path, rest: int, rpc: int, pid: int, seconds: float, every: float) -> None:
    stopping = threading.Event()
    memory, end = [], time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(2 * CLIENTS) as threads:
        askers = [_ask_rest(rest), _ask_grpc(rpc)] * CLIENTS
        clients = [threads.submit(_ask_until, stopping, asker) for asker in askers]
        for version in itertools.count(2):
            if time.monotonic() + every > end:
                break
            time.sleep(every)
            if version % REMOVED_EVERY == 0:
                shutil.rmtree(model / str(version - 1))
                time.sleep(every)
            _publish(model, version)
            memory.append(_resident_mib(pid))
            _print({"version": version, "server_mib": memory[-1]})
        time.sleep(every)
        stopping.set()
        results = [client.result() for client in clients]
    problems = [problem for _, _, found in results for problem in found]
    half = len(memory) // 2
    _print(
        {
            "requests": sum(count for count, _, _ in results),
            "failed or mixed up": len(problems),
            "the first of these": problems[:3],
            "versions that answered": sorted(set().union(*(seen for _, seen, _ in results))),
            "server_mib, first half": float(np.median(memory[:half])),
            "server_mib, second half": float(np.median(memory[half:])),
        }
    )


Asker = Callable[[], contextlib.AbstractContextManager[Callable[[float], tuple[float, float]]]]


def _ask_until(stopping: threading.Event, asker: Asker) -> tuple[int, set[int], list[str]]:
    """How many requests were sent, which versions answered, and what was wrong."""
    seen: set[int] = set()
    problems: list[str] = []
    with asker() as ask:
        for count in itertools.count():
            if stopping.is_set():
                return count, seen, problems
            value = float(count % 1000 + 1)
            try:
                version, product = ask(value)
            except Exception as error:
                problems.append(repr(error))
                continue
            if product != version * value or version % BROKEN_EVERY == 0:
                problems.append(f"{value} times {version} is {product}")
            seen.add(int(version))


def _ask_rest(port: int) -> Asker:
    """Asks for two rows: the answer to the second, which is 1, is the version that answered."""

    @contextlib.contextmanager
    def asker() -> Iterator[Callable[[float], tuple[float, float]]]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:

            def ask(value: float) -> tuple[float, float]:
                body = json.dumps({"instances": [value, 1.0]})
                connection.request("POST", "/v1/models/m:predict", body)
                response = connection.getresponse()
                text = response.read()
                if response.status != 200:
                    raise RuntimeError(f"HTTP {response.status}: {text!r}")
                product, version = json.loads(text)["predictions"]
                return version, product

            yield ask

    return asker


def _ask_grpc(port: int) -> Asker:
    """Asks for one row; the answer names the version."""

    @contextlib.contextmanager
    def asker() -> Iterator[Callable[[float], tuple[float, float]]]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add(size=1)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

            def ask(value: float) -> tuple[float, float]:
                request.inputs["x"].float_val[:] = [value]
                response = predict(request)
                return response.model_spec.version.value, response.outputs["y"].float_val[0]

            yield ask

    return asker


def _publish(model: pathlib.Path, version: int) -> None:
    """Writes a version next to its place, and moves or copies it there when it is whole."""
    partial = model / f".{version}"
    if version % BROKEN_EVERY == 0:
        partial.mkdir(parents=True)
        (partial / "saved_model.pb").write_bytes(b"\xff\xff no SavedModel")
    else:
        _save(str(partial), version)
    place = model / str(version)
    if version % SLOW_EVERY == 0:
        shutil.copytree(partial, place, copy_function=_copy_slowly)
        shutil.rmtree(partial)
    else:
        partial.rename(place)
    for old in range(1, version - 3):
        shutil.rmtree(model / str(old), ignore_errors=True)


def _copy_slowly(source: str, target: str) -> None:
    """Copies a file in ten parts."""
    with open(source, "rb") as reading, open(target, "wb") as writing:
        part = os.path.getsize(source) // 10 + 1
        while data := reading.read(part):
            writing.write(data)
            writing.flush()
            time.sleep(COPY_SECONDS / 10)


def _save(path: str, factor: int) -> None:
    """A SavedModel that multiplies by `factor`."""
    import tensorflow as tf

    module = tf.Module()
    module.factor = tf.Variable(float(factor))
    module.weights = tf.Variable(tf.zeros([WEIGHTS]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def times(x: Any) -> Any:
        return {"y": module.factor * x + module.weights[0]}

    tf.saved_model.save(module, path, {"serving_default": times})


def _resident_mib(pid: int) -> float:
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


def _print(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
