"""Whether the statistics of normalizations that a run ends with are true.

Prepare the data first, under any names:

    ctr-keras prepare --dataset criteo --source 'kaggle_*.txt.gz' --out DIR/criteo
    ctr-keras prepare --dataset avazu --source train_20k.csv.gz --out DIR/avazu

Then `python -m benchmarks.statistics --data DIR --out RUNS --name avazu --name criteo` searches the
interactions of an AutoFM with default settings, trains it and a DeepFM, and scores the test
split twice with the same weights: with the run's statistics as they are, and with
statistics recomputed over all training rows.
"""

import os
from collections.abc import Iterator
from typing import Any

import click
import keras

from ctr_keras import metrics
from ctr_keras.data import read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.layers import recompute_statistics
from ctr_keras.search import read_search, run_search
from ctr_keras.training import TrainConfig, load_run, predict_split, train

_SEARCH = ("base=FM",)
_SETTINGS = ("batch_size=256",)
_ALL = 10**6  # rows, more than there are


@click.command()
@click.option("--data", required=True, help="Folder with the prepared data.")
@click.option("--out", required=True, help="Folder for searches and runs.")
@click.option("--name", "names", required=True, multiple=True, help="Data set, once or more.")
@click.option("--seeds", default=2, show_default=True)
def main(data: str, out: str, names: tuple[str, ...], seeds: int) -> None:
    """Train, and print a table of test metrics by the two kinds of statistics."""
    rows = []
    for name in names:
        for seed in range(seeds):
            folder = os.path.join(out, name, str(seed))
            for label, run in _runs(os.path.join(data, name), folder, seed):
                as_it_is, recomputed = _both(run)
                rows.append(f"| {name} | {label} | {seed} | {as_it_is} | {recomputed} |")
    print("| data | model | seed | AUC, log loss as it is | recomputed |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


def _runs(prepared: str, folder: str, seed: int) -> Iterator[tuple[str, str]]:
    """Names and folders of trained runs."""
    search = read_search("autofis", None, (*_SEARCH, f"seed={seed}"))
    run_search("autofis", search, prepared, f"{folder}/search")
    plan = f"interactions={folder}/search/plan.json"
    for label, model, settings in (("AutoFM", "FM", (plan,)), ("DeepFM", "DeepFM", ())):
        given: dict[str, Any] = {"data": prepared, "model": model, "out": f"{folder}/{label}"}
        train(TrainConfig.read(None, (*_SETTINGS, *settings), seed=seed, **given))
        yield label, given["out"]


def _both(run: str) -> tuple[str, str]:
    """Test metrics of a run as it is, and of the same weights with recomputed statistics."""
    model, features, config = load_run(run)
    as_it_is = _metrics(model, features, config.data)
    names = [tensor.name for tensor in model.inputs]
    inputs, _ = read_rows(config.data, "train", features, _ALL, names)
    recompute_statistics(model, inputs)
    return as_it_is, _metrics(model, features, config.data)


def _metrics(model: keras.Model, features: FeatureSet, prepared: str) -> str:
    labels, scores = predict_split(model, features, prepared, "test")
    return f"{metrics.auc(labels, scores):.4f}, {metrics.log_loss(labels, scores):.4f}"


if __name__ == "__main__":
    main()
