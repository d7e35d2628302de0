"""Peak memory of `fit` with a very large vocabulary, by way of updating and backend.

    python -m benchmarks.memory
    python -m benchmarks.memory --ids 5000000 --backend jax --updates exact

FM of one field with embeddings of width 4: weights, and a linear weight an id. Each combination
trains in a process of its own, validation and the end of `fit` included. A JSON line has the size
of the model and of its optimizer's state, and the peak of the process, all in GiB; `over_state` is
what the peak has over the process before the model, in sizes of both.
"""

import json
import math
import os
import resource
import subprocess
import sys

import click

BACKENDS = ("tensorflow", "jax")
UPDATES = ("lazy", "exact")
_GIB = 2**30


@click.command(help="Peak memory of fit with a very large vocabulary.")
@click.option("--ids", default=50_000_000, show_default=True)
@click.option("--backend", "backends", type=click.Choice(BACKENDS), multiple=True, default=BACKENDS)
@click.option("--updates", type=click.Choice(UPDATES), multiple=True, default=UPDATES)
@click.option("--here", is_flag=True, hidden=True, help="Measure in this process.")
def main(ids: int, backends: tuple[str, ...], updates: tuple[str, ...], here: bool) -> None:
    """Measure each combination in a process of its own."""
    if here:
        print(json.dumps(measure(ids, updates[0])))
        return
    for backend in backends:
        for update in updates:
            command = [sys.executable, "-m", "benchmarks.memory", "--here"]
            command += ["--ids", str(ids), "--updates", update]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            line = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps({"backend": backend, "updates": update, **line}), flush=True)


def measure(ids: int, updates: str) -> dict[str, float]:
    """Trains a model of so many ids for a few steps.

    Args:
        ids: int. Values of its one field.
        updates: str. `"lazy"` or `"exact"`.
    """
    import keras
    import numpy as np

    from ctr_keras.features import Categorical, FeatureSet, Label
    from ctr_keras.models import FM
    from ctr_keras.optimizers import SparseAdam

    features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": ids})
    generator = np.random.default_rng(0)
    rows = {"categorical": generator.integers(1, ids, (20_000, 1), dtype="int32")}
    labels = generator.integers(0, 2, (20_000, 1)).astype("float32")
    before = _peak()
    model = FM(features, dim=4)
    model.compile(SparseAdam(exact=updates == "exact"), keras.losses.BinaryCrossentropy())
    validation = ({"categorical": rows["categorical"][:1000]}, labels[:1000])
    model.fit(rows, labels, batch_size=1000, epochs=2, validation_data=validation, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    state = sum(4 * math.prod(variable.shape) for variable in variables)  # 32 bits each
    return {
        "state_gib": round(state / _GIB, 2),
        "peak_gib": round(_peak() / _GIB, 2),
        "over_state": round((_peak() - before) / state, 2),
    }


def _peak() -> int:
    """Of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
