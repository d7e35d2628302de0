"""Examples a second of reading TFRecords and of training on them.

Needs prepared data, such as those `benchmarks/prepare.py` leaves. Reading and training alternate;
each figure is the median of its repetitions, the first of which is left out as a warm-up.

    python -m benchmarks.training --data /tmp/benchmark/prepared-100000
"""

import argparse
import json
import os
from collections.abc import Iterator

import keras

from benchmarks.timing import median_seconds
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

    def read() -> None:
        for _ in range(arguments.steps):
            next(to_read)

    def train() -> None:
        for _ in range(arguments.steps):
            model.train_on_batch(*next(to_train))

    tasks = {"read": read, f"train {arguments.model}": train}
    for name, seconds in median_seconds(tasks, arguments.repetitions).items():
        rate = arguments.steps * arguments.batch_size / seconds
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
