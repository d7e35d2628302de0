"""What settings of training add to a step: penalties, clipping, schedules, averages, decay.

    python -m benchmarks.settings_cost
    KERAS_BACKEND=jax python -m benchmarks.settings_cost --models FM --rounds 20

FM and DeepFM as `benchmarks.training_step` trains them, at a million ids. All variants of a model
take turns. Its line has the milliseconds of a step with none of the settings, and by setting how
many times as long a step takes with it, both by medians.
"""

import functools
import json
from typing import Any

import click
import keras

from benchmarks.peers.train_ctr_keras import features_of, load, model_of, run_of
from benchmarks.peers.work import LAWS, Work
from benchmarks.peers.worker import Run
from benchmarks.timing import median_seconds
from ctr_keras.training import TrainConfig

PLAIN = "plain"
NONE = {"averaging": 0.0, "table_decay": 0.0}
# By name, arguments of the model and settings of training.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    PLAIN: ({}, {}),
    "penalty": ({"embedding_l2": 1e-5}, {}),
    "clipping": ({}, {"max_gradient_norm": 10.0}),
    "schedule": ({}, {"schedule": "cosine"}),
    "averaging": ({}, {"averaging": 0.99}),
    "table decay": ({}, {"table_decay": 0.5}),
    "averaging and table decay": ({}, {"averaging": 0.99, "table_decay": 0.5}),
}


@click.command(help=__doc__)
@click.option("--models", multiple=True, default=("FM", "DeepFM"), show_default=True)
@click.option("--ids", default=1_000_000, show_default=True)
@click.option("--law", type=click.Choice(LAWS), default=LAWS[0], show_default=True)
@click.option("--rounds", default=15, show_default=True, help="Turns of each variant.")
@click.option("--steps", default=4, show_default=True, help="Steps in a turn.")
def main(models: tuple[str, ...], ids: int, law: str, rounds: int, steps: int) -> None:
    """Measure, and print a line a model."""
    for model in models:
        work = Work(model, ids)
        batches = load(work, law)
        variants = _variants(work).items()
        tasks = {name: functools.partial(run, batches, steps) for name, run in variants}
        seconds = median_seconds(tasks, rounds, warm_up=2)
        ratios = {name: round(value / seconds[PLAIN], 3) for name, value in seconds.items()}
        milliseconds = round(1000 * seconds[PLAIN] / steps, 2)
        line = {"model": model, "ids": ids, "law": law, "milliseconds": milliseconds, **ratios}
        print(json.dumps({**line, "backend": keras.backend.backend()}), flush=True)


def _variants(work: Work) -> dict[str, Run]:
    """By name of the setting, what makes steps with it."""
    found = {}
    for name, (arguments, settings) in SETTINGS.items():
        model = model_of(work, **arguments)
        given = {"data": "", "model": work.model, "out": "", **NONE, **settings}
        TrainConfig(**given).compile(model, round_steps=1000, rounds=10, features=features_of(work))
        found[name] = run_of(model)
    return found


if __name__ == "__main__":
    main()
