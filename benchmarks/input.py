"""What reading costs: TFRecords, the decoded cache and memory, alone and under training.

Data are synthetic, of Criteo's shape (39 columns). Ways of reading take turns, and medians count.
Training is `Model.fit` from each way, against `Model.fit` on as many rows as arrays; start-up does
not count. Processor seconds are compared as well, because others may use the machine.

    python -m benchmarks.input --folder DIR
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import keras

from benchmarks.synthetic import prepared_log
from benchmarks.timing import median_seconds
from ctr_keras.data import Examples, open_examples, read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model
from ctr_keras.runs import jit_setting

MODELS: dict[str, dict[str, Any]] = {
    "DeepFM": {"dim": 16, "hidden": (400, 400, 400), "dropout": 0.0},
    "AutoInt": {"dim": 16, "layers": 3, "heads": 2, "head_dim": 32},
}
ARRAYS = "arrays"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="For the data and the cache; kept.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="Of the log that is made.")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--batches", type=int, default=200, help="In a repetition of reading.")
    parser.add_argument("--steps", type=int, default=20, help="In a repetition of training.")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    prepared = prepared_log(arguments.folder, arguments.rows)
    features = FeatureSet.load(os.path.join(prepared, "features.json"))
    ways = _ways(prepared, features, os.path.join(arguments.folder, "cache"))
    common = {"batch_size": arguments.batch_size, "backend": keras.backend.backend()}
    results = itertools.chain(
        _first_batches(ways, arguments),
        _rates(ways, arguments),
        *(_training(name, prepared, features, ways, arguments) for name in arguments.models),
    )
    for result in results:
        print(json.dumps({**result, **common}), flush=True)


def _ways(prepared: str, features: FeatureSet, cache: str) -> dict[str, Examples]:
    return {
        "tfrecords": open_examples(prepared, "train", features),
        "cache": open_examples(prepared, "train", features, cache=cache),
        "memory": open_examples(prepared, "train", features, cache=cache, resident=True),
    }


def _first_batches(
    ways: dict[str, Examples], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Milliseconds from opening a stream to its first batch."""

    def first(examples: Examples) -> None:
        next(iter(examples.stream(arguments.batch_size, seed=0)))

    tasks = {name: lambda examples=examples: first(examples) for name, examples in ways.items()}
    for name, seconds in median_seconds(tasks, arguments.repetitions).items():
        yield {"what": f"first batch from {name}", "milliseconds": round(1000 * seconds, 1)}


def _rates(ways: dict[str, Examples], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Examples a second of reading alone, and what they cost the processor."""
    processor: dict[str, list[float]] = {name: [] for name in ways}

    def read(name: str) -> None:
        began = time.process_time()
        stream = iter(ways[name].stream(arguments.batch_size, seed=0))
        for _, labels in itertools.islice(stream, arguments.batches):
            last = labels
        keras.ops.convert_to_numpy(last)  # a device works behind
        processor[name].append(time.process_time() - began)

    rows = arguments.batches * arguments.batch_size
    tasks = {name: lambda name=name: read(name) for name in ways}
    for name, seconds in median_seconds(tasks, arguments.repetitions).items():
        yield {
            "what": f"read {name}",
            "examples_per_second": round(rows / seconds),
            "examples_per_cpu_second": round(rows / statistics.median(processor[name][1:])),
        }


def _training(
    name: str,
    prepared: str,
    features: FeatureSet,
    ways: dict[str, Examples],
    arguments: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Examples a second of `Model.fit` from each way, and its time relative to that of arrays."""
    model = build_model(name, features, **MODELS[name])
    model.compile("adam", "binary_crossentropy", jit_compile=jit_setting("auto"))
    size, steps = arguments.batch_size, arguments.steps
    arrays = read_rows(prepared, "train", features, steps * size)
    seconds: dict[str, list[float]] = {way: [] for way in (ARRAYS, *ways)}
    processor: dict[str, list[float]] = {way: [] for way in seconds}
    for _ in range(1 + arguments.repetitions):
        for way in seconds:
            timer = _SecondEpoch()
            settings = {"epochs": 2, "shuffle": False, "verbose": 0, "callbacks": [timer]}
            if way == ARRAYS:
                model.fit(*arrays, batch_size=size, **settings)
            else:
                stream = ways[way].stream(size, seed=0)
                model.fit(stream, steps_per_epoch=steps, **settings)
            seconds[way].append(timer.seconds)
            processor[way].append(timer.processor_seconds)
    for way in seconds:
        rate = steps * size / statistics.median(seconds[way][1:])
        yield {
            "what": f"train {name} from {way}",
            "examples_per_second": round(rate),
            "time_to_arrays": _median_ratio(seconds[way], seconds[ARRAYS]),
            "cpu_time_to_arrays": _median_ratio(processor[way], processor[ARRAYS]),
        }


class _SecondEpoch(keras.callbacks.Callback):
    """How long the second epoch takes; the first one starts the reading up."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        began, began_processor = self._began
        self.seconds = time.perf_counter() - began
        self.processor_seconds = time.process_time() - began_processor


def _median_ratio(values: list[float], base: list[float]) -> float:
    """The median of the repetitions' ratios, without the first, a warm-up."""
    pairs = zip(values[1:], base[1:], strict=True)
    return round(statistics.median(value / other for value, other in pairs), 3)


if __name__ == "__main__":
    main()
