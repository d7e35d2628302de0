"""How fast MIAN learns and what it costs, next to other models.

As Section 4.5 and Figure 5 of its paper have it:

    python -m benchmarks.mian [--data DIR/movielens-1m] [--seeds 1]

The logs, the rows of one that is given, and the training are those of `benchmarks.matches`, by
default the planted match of vectors. All models learn in batches of 1,024 with the defaults of
their builders; MIAN also with the original Transformer (Post-LN) and without any, its paper's
ablations. The table has the validation log loss after the first three passes and the best one, in
which pass that was, test AUC, parameters outside of tables, and the processors' milliseconds of a
step, the median of turns that all models take.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Mapping

import click
import keras
import numpy as np

from benchmarks.matches import Log, dot_product_log, measured, prepared_log, trained
from benchmarks.timing import median_seconds
from ctr_keras.features import FeatureSet
from ctr_keras.models import DIEN, DIN, MIAN, AutoInt, DeepFM

BATCH_SIZE, STEPS = 1024, 11
MODELS: Mapping[str, Callable[[FeatureSet], keras.Model]] = {
    "DeepFM": DeepFM,
    "AutoInt": AutoInt,
    "DIN": DIN,
    "DIEN": DIEN,
    "MIAN": MIAN,
    "MIAN, Post-LN": functools.partial(MIAN, transformer="post"),
    "MIAN, no Transformer": functools.partial(MIAN, transformer="none"),
}


@click.command(help=__doc__)
@click.option("--data", help="Prepared data with a history.")
@click.option("--seeds", default=1, type=click.IntRange(1), show_default=True)
def main(data: str | None, seeds: int) -> None:
    log = dot_product_log() if data is None else prepared_log(data)
    rows, steps = {}, {}
    for name, build in MODELS.items():
        courses = []
        for seed in range(seeds):
            model, losses = trained(build, log, BATCH_SIZE, seed)
            courses.append((*_course(losses), measured(model, log)[0]))
            print(f"{name}, seed {seed}: {[round(loss, 4) for loss in losses]}", flush=True)
        *losses, best, area = np.mean(courses, axis=0)
        rows[name] = [*(f"{loss:.4f}" for loss in losses), f"{best:.1f}", f"{area:.4f}"]
        rows[name].append(f"{_outside_of_tables(model):,}")
        steps[name] = _step(model, log)
    print("| model | after pass 1 | 2 | 3 | best | of pass | AUC | parameters | ms a step |")
    print("|---|---|---|---|---|---|---|---|---|")
    seconds = median_seconds(steps, STEPS, clock=time.process_time)
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} | {1000 * seconds[name]:.0f} |")


def _course(losses: list[float]) -> tuple[float, ...]:
    """The losses after three passes, the least one, and after which pass it was."""
    first = itertools.islice(itertools.chain(losses, itertools.repeat(losses[-1])), 3)
    return (*first, min(losses), 1 + int(np.argmin(losses)))


def _outside_of_tables(model: keras.Model) -> int:
    variables = [v for v in model.trainable_variables if not v.path.endswith("/table")]
    return sum(math.prod(variable.shape) for variable in variables)


def _step(model: keras.Model, log: Log) -> Callable[[], object]:
    """A step of training on the first rows."""
    inputs, labels = log.read_by(model, "train")
    batch = {name: values[:BATCH_SIZE] for name, values in inputs.items()}
    return functools.partial(model.train_on_batch, batch, labels[:BATCH_SIZE])


if __name__ == "__main__":
    main()
