"""Examples a second of reading TFRecords and of training on them.

Needs prepared data, such as those `benchmarks/prepare.py` leaves. Reading and training alternate;
each figure is the median of its repetitions, the first of which is left out as a warm-up.

    python -m benchmarks.training --data /tmp/benchmark/prepared-100000
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator

import keras

from ctr_keras.data import stream_examples
from ctr_keras.features import FeatureSet
from ctr_keras.models import build_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="Prepared data.")
    parser.add_argument("--model", default="AutoInt")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=40, help="Steps in a repetition.")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    features = FeatureSet.load(os.path.join(arguments.data, "features.json"))
    model = build_model(arguments.model, features)
    model.compile("adam", "binary_crossentropy", jit_compile=False)

    def batches() -> Iterator:
        return iter(stream_examples(arguments.data, features, arguments.batch_size, seed=0))

    to_read, to_train = batches(), batches()

    def train(batch: tuple) -> None:
        model.train_on_batch(*batch)

    tasks: dict[str, tuple[Iterator, Callable[[tuple], None]]] = {
        "read": (to_read, lambda batch: None),
        f"train {arguments.model}": (to_train, train),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(arguments.repetitions + 1):
        for name, (iterator, use) in tasks.items():
            started = time.monotonic()
            for _ in range(arguments.steps):
                use(next(iterator))
            seconds[name].append(time.monotonic() - started)
    for name, values in seconds.items():
        rate = arguments.steps * arguments.batch_size / statistics.median(values[1:])
        print(
            json.dumps(
                {
                    "what": name,
                    "examples_per_second": round(rate),
                    "batch_size": arguments.batch_size,
                    "fields": len(features.fields),
                    "backend": keras.backend.backend(),
                }
            )
        )


if __name__ == "__main__":
    main()
