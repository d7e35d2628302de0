"""How long a training step of each model takes next to one of DeepFM, for the pages of models.

    python -m benchmarks.step_times
    python -m benchmarks.step_times --models AutoInt --models PIN

Each model by default and DeepFM on the same features, those of its page: Criteo's 39 fields with a
million values, or a user, an item and a history of 50. Both take turns on batches in memory, by
their median CPU time. Writes `docs/step_times.json`, in which models that are not measured keep
what they had.
"""

import functools
import json
import multiprocessing
import time
from collections.abc import Callable

import click

from benchmarks.timing import median_seconds
from ctr_keras.features import FeatureSet
from ctr_keras.models import MODELS, build_model
from ctr_keras.optimizers import SparseAdam
from docs.draw_models import STEP_TIMES, STEP_TIMES_FILE, VALUES, features_of
from tests.packed import inputs_of, labels_for, packed_inputs

PEER = "DeepFM"
_ON_TREES = "trees"  # a family whose embeddings are of trees: nothing of its steps is comparable


@click.command()
@click.option("--models", multiple=True, type=click.Choice([*MODELS]), help="All by default.")
@click.option("--batch", default=2048, show_default=True)
@click.option("--steps", default=10, show_default=True, help="In a turn.")
@click.option("--turns", default=5, show_default=True)
def main(models: tuple[str, ...], batch: int, steps: int, turns: int) -> None:
    """Measure, print and write the ratios."""
    chosen = [name for name in models or MODELS if MODELS[name].family != _ON_TREES]
    times = dict(STEP_TIMES)
    # A process each, as no other one has its memory back.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        measured = pool.imap(
            functools.partial(measure, batch=batch, steps=steps, turns=turns), chosen
        )
        for name, (milliseconds, ratio) in zip(chosen, measured, strict=True):
            times[name] = round(ratio, 2)
            print(f"{name}: {milliseconds:.1f} ms of CPU, {times[name]}", flush=True)
            STEP_TIMES_FILE.write_text(json.dumps(dict(sorted(times.items())), indent=2) + "\n")


def measure(name: str, batch: int, steps: int, turns: int) -> tuple[float, float]:
    """Milliseconds of CPU time that a step takes, and how many times as long that is as DeepFM's.

    Args:
        name: str. The model.
        batch, steps, turns: int. Rows of a step, steps of a turn, and turns.
    """
    # Fewer pairs of values than Criteo's 20 million: a step only reads those of a batch.
    features = features_of(name, values=VALUES // 26, pairs=1000)
    one_label = features.with_labels(features.label_names[:1])
    tasks = {
        PEER: _stepping(PEER, one_label, batch, steps),
        name: _stepping(name, features, batch, steps),
    }
    seconds = median_seconds(tasks, turns, clock=time.process_time)
    return 1000 * seconds[name] / steps, seconds[name] / seconds[PEER]


def _stepping(name: str, features: FeatureSet, batch: int, steps: int) -> Callable[[], None]:
    """Function that trains a new model for so many steps on the same batch."""
    model = build_model(name, features)
    model.compile(SparseAdam(1e-3), "binary_crossentropy")
    inputs = inputs_of(model, packed_inputs(features, batch))
    clicks = labels_for(model, batch)

    def step() -> None:
        for _ in range(steps):
            model.train_on_batch(inputs, clicks)

    return step


if __name__ == "__main__":
    main()
