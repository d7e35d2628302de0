"""Sparse-row Adam against dense Adam on MovieLens-1M: quality over seeds, and time to reach it.

Prepare the data first:

    ctr-keras prepare --dataset movielens-1m-history --source ml-1m.zip --out DATA

Then this trains what is not trained yet (a run that was killed goes on), the two in turns for each
seed, and prints a JSON line for each run, and one for all seeds:

    python -m benchmarks.convergence --data DATA --out RUNS
"""

import contextlib
import csv
import json
import os
import statistics
import sys
from typing import Any

import click

from ctr_keras.training import TrainConfig, evaluate_run, train

MODELS = ("AutoInt", "DeepFM")
UPDATES = ("dense", "lazy")
SETTINGS = ("dim=16", "batch_size=1024", "patience=4", "evaluations_per_epoch=4")
# AutoInt's on this data set (Table 2 of the paper), which had no ids of users and movies.
PAPER_AUC = 0.8456


@click.command()
@click.option("--data", required=True, help="Prepared data.")
@click.option("--out", required=True, help="Folder for the runs.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--epochs", default=5, show_default=True, help="At most.")
def main(data: str, out: str, seeds: int, epochs: int) -> None:
    """Train both models with both optimizers, and compare."""
    results = [
        _run(data, out, model, updates, seed, epochs)
        for seed in range(seeds)
        for model in MODELS
        for updates in UPDATES
    ]
    for model in MODELS:
        for updates in UPDATES:
            of_these = [r for r in results if (r["model"], r["updates"]) == (model, updates)]
            print(json.dumps({"all of": model, "updates": updates, **_summary(of_these)}))


def _run(data: str, out: str, model: str, updates: str, seed: int, epochs: int) -> dict[str, Any]:
    folder = os.path.join(out, f"{model}-{updates}-{seed}")
    settings = (*SETTINGS, f"epochs={epochs}", f"seed={seed}", f"table_updates={updates}")
    config = TrainConfig.read(None, settings, data=data, model=model, out=folder)
    with contextlib.redirect_stdout(sys.stderr):  # progress
        report = train(config)
        test = evaluate_run(folder)
    with open(os.path.join(folder, "history.csv"), encoding="utf-8") as file:
        rounds = list(csv.DictReader(file))
    result = {
        "model": model,
        "updates": updates,
        "seed": seed,
        "auc": round(test["auc"], 5),
        "log_loss": round(test["log_loss"], 5),
        "seconds_to_best": _seconds_until(
            rounds, lambda r: int(r["round"]) == report["best_round"]
        ),
        "seconds_to_paper_auc": _seconds_until(
            rounds, lambda r: float(r["validation_auc"]) >= PAPER_AUC
        ),
    }
    print(json.dumps(result), flush=True)
    return result


def _seconds_until(rounds: list[dict[str, str]], is_there: Any) -> float | None:
    """Seconds of training (without evaluations) up to the first round that is there."""
    seconds = 0.0
    for row in rounds:
        seconds += float(row["seconds"])
        if is_there(row):
            return round(seconds, 1)
    return None


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of what is reached; medians of seconds, as others may use the machine."""
    found: dict[str, Any] = {}
    for name in ("auc", "log_loss"):
        values = [result[name] for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = [round(statistics.fmean(values), 5), round(spread, 5)]
    for name in ("seconds_to_best", "seconds_to_paper_auc"):
        values = [result[name] for result in results if result[name] is not None]
        found[name] = statistics.median(values) if values else None
    return found


if __name__ == "__main__":
    main()
