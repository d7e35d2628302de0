"""What the rows of new values start from best, when a model goes on with a new day.

    python -m benchmarks.new_values --source ml-1m.zip [--seeds 3]

MovieLens-1M by time, ratings of 3 left out: a model learns the first half (three passes), then the
next fifth (two), by the old vocabularies or by grown ones, and is measured on the rest. The table
has test AUC and log loss, of all rows and of those with a value that has got an id by growing,
means over the seeds.
"""

import zipfile
from collections.abc import Iterator
from typing import Any

import click
import keras
import numpy as np
import pandas as pd

from ctr_keras.features import Categorical, FeatureSet, Label
from ctr_keras.metrics import auc, log_loss
from ctr_keras.models import build_model, transfer
from ctr_keras.optimizers import SparseAdam
from ctr_keras.types import Array

MODELS: dict[str, dict[str, Any]] = {"FM": {"dim": 8, "embedding_l2": 1e-4}, "DeepFM": {"dim": 8}}
DECLARED = FeatureSet(
    Categorical("user", min_count=5), Categorical("item", min_count=5), label=Label("click")
)


def read_days(source: str) -> list[pd.DataFrame]:
    """The ratings in the order of their times, in three parts."""
    with zipfile.ZipFile(source) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("ratings.dat"))
        with archive.open(name) as file:
            columns = ["user", "item", "rating", "time"]
            text = {"user": str, "item": str}
            log = pd.read_csv(file, sep="::", engine="python", names=columns, dtype=text)
    log = log[log["rating"] != 3].sort_values("time", kind="stable")
    log["click"] = (log["rating"] > 3).astype(int)
    first, second = len(log) // 2, len(log) * 7 // 10
    return [log[:first], log[first:second], log[second:]]


def learned(
    model: keras.Model, features: FeatureSet, rows: pd.DataFrame, passes: int, rate: float
) -> keras.Model:
    """The model after some passes over rows."""
    model.compile(SparseAdam(rate), "binary_crossentropy")
    inputs, clicks = features.pack(rows), features.labels(rows)
    model.fit(inputs, clicks, batch_size=512, epochs=passes, verbose=0)
    return model


def measured(days: list[pd.DataFrame], model: str, seed: int) -> Iterator[tuple[str, list[float]]]:
    """What a model is called, and its four numbers."""
    old_day, new_day, test = days
    old = DECLARED.fit(old_day)
    grown = old.grow(new_day)
    clicks = test["click"].to_numpy()
    is_new = np.zeros(len(test), bool)
    for name, values in grown.statistics.values.items():
        is_new |= test[name].isin(values[len(old.statistics.values[name]) :]).to_numpy()

    def build(features: FeatureSet) -> keras.Model:
        return build_model(model, features, **MODELS[model])

    def tested(trained: keras.Model, features: FeatureSet) -> list[float]:
        scores: Array = trained.predict(features.pack(test), batch_size=8192, verbose=0).ravel()
        rows = (slice(None), is_new)
        return [of(clicks[some], scores[some]) for some in rows for of in (auc, log_loss)]

    keras.utils.set_random_seed(seed)
    first = learned(build(old), old, old_day, 3, 2e-3)
    yield "first half alone", tested(first, old)
    yield "old vocabularies", tested(learned(transfer(first, old, old), old, new_day, 2, 1e-3), old)
    for start in ("oov", "mean", "drawn"):
        keras.utils.set_random_seed(seed)
        further = transfer(first, old, grown, build, start)
        yield f"grown, {start}, not trained further", tested(further, grown)
        yield f"grown, {start}", tested(learned(further, grown, new_day, 2, 1e-3), grown)


@click.command()
@click.option("--source", required=True, help="ml-1m.zip.")
@click.option("--seeds", default=3, show_default=True)
def main(source: str, seeds: int) -> None:
    """Print the table."""
    days = read_days(source)
    print("| model | | AUC | log loss | AUC, new values | log loss, new values |")
    print("|---|---|---|---|---|---|")
    for model in MODELS:
        found: dict[str, list[list[float]]] = {}
        for seed in range(seeds):
            for name, numbers in measured(days, model, seed):
                found.setdefault(name, []).append(numbers)
        for name, of_seeds in found.items():
            means = " | ".join(f"{mean:.4f}" for mean in np.mean(of_seeds, axis=0))
            print(f"| {model} | {name} | {means} |", flush=True)


if __name__ == "__main__":
    main()
