"""FM, DeepFM and IPNN against their searched versions.

Prepare the data first:

    ctr-keras prepare --dataset movielens-1m-history --source ml-1m.zip --out DIR/movielens-1m
    ctr-keras prepare --dataset criteo --source 'kaggle_*.txt.gz' --out DIR/criteo
    ctr-keras prepare --dataset avazu --source train_20k.csv.gz --out DIR/avazu

Then `python -m benchmarks.searches --data DIR --out RUNS --name criteo` searches and trains what is
not done yet (what was killed goes on), prints a JSON line for each run and then the table. With
`--table` it is another experiment of the papers:

- `aim`: AIM's ablations, its third order, and what it has found in DeepFM and IPNN
- `autofield`: FM and DeepFM on the fields that AutoField keeps, and on as many random ones
- `autofeature`: AutoFeature on the cells of its search, on the same at other pairs, and on products
  of all pairs
- `autogroup`: AutoGroup on the groups of its search, on random ones as large, and on all fields
- `autoint`: AutoInt with and without residual connections
- `stability`: how alike the gates of AutoFIS are that searches with different seeds end with
"""

import contextlib
import functools
import itertools
import json
import os
import statistics
import sys
from typing import Any

import click
import numpy as np

from benchmarks.timing import median_seconds
from ctr_keras.data import read_rows
from ctr_keras.metrics import rank_correlation
from ctr_keras.models import model_arguments
from ctr_keras.plan import InteractionPlan
from ctr_keras.search import read_search, run_search
from ctr_keras.search.verdict import read_courses
from ctr_keras.training import TrainConfig, evaluate_run, load_run, train

_SMALL = {
    "train": ("dim=16", "batch_size=256", "epochs=20", "patience=1", "hidden=[100, 100]"),
    "search": ("dim=16",),
}
# Settings by data set. Those of the search are what they are by default but for what is here.
SETTINGS = {
    "movielens-1m": {
        "train": ("dim=16", "batch_size=1024", "epochs=10", "patience=1", "hidden=[200, 200]"),
        "search": ("dim=16",),
    },
    "criteo": _SMALL,
    "avazu": _SMALL,
    "amazon_access": _SMALL,
    "coupons": _SMALL,
    "frappe": _SMALL,
}
# Search: method, order, base, further settings. Of third order the pool, as all triples of 39
# fields need more memory than there is.
SEARCHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fm-2": ("autofis", ("base=FM",)),
    "fm-3": ("autofis", ("base=FM", "order=3", "pool=true")),
    "deepfm-2": ("autofis", ("base=DeepFM",)),
    "deepfm-3": ("autofis", ("base=DeepFM", "order=3", "pool=true")),
    "bilevel": ("autofis", ("base=FM", "bilevel=true")),
    "random": ("random", ("like={fm-2}",)),
    "statistics": ("statistics", ("like={fm-2}",)),
    "aim": ("aim", ()),
    "autofield": ("autofield", ()),
    "random-fields": ("random", ("like={autofield}",)),
    "autogroup": ("autogroup", ()),
    "random-groups": ("random", ("like={autogroup}",)),
    "autofeature": ("autofeature", ()),
    "random-cells": ("random", ("like={autofeature}",)),
    "aim-pairs": ("aim", ("functions=[inner]", "dims=false")),
    "aim-functions": ("aim", ("dims=false",)),
    "aim-3": ("aim", ("order=3", "dims=false")),
}
# Name in the table: model, search, settings.
Run = tuple[str, str | None, tuple[str, ...]]
ABLATIONS: dict[str, Run] = {
    "AutoFM, no normalization": ("FM", "fm-2", ("normalized=false",)),
    "AutoFM, no normalization, no gates": ("FM", "fm-2", ("normalized=false", "gated=false")),
    "AutoFM, bi-level search": ("FM", "bilevel", ()),
    "FM on random pairs": ("FM", "random", ("normalized=false", "gated=false")),
    "FM on pairs of best statistics_AUC": (
        "FM",
        "statistics",
        ("normalized=false", "gated=false"),
    ),
}
PAPERS: dict[str, Run] = {
    "FM": ("FM", None, ()),
    "AutoFM (2nd)": ("FM", "fm-2", ()),
    "AutoFM (3rd)": ("FM", "fm-3", ()),
    "DeepFM": ("DeepFM", None, ()),
    "AutoDeepFM (2nd)": ("DeepFM", "deepfm-2", ()),
    "AutoDeepFM (3rd)": ("DeepFM", "deepfm-3", ()),
    "IPNN": ("IPNN", None, ()),
    "AutoIPNN (2nd)": ("IPNN", "fm-2", ()),
    "AutoIPNN (3rd)": ("IPNN", "fm-3", ()),
    "AIM": ("AIM", "aim", ()),
    **ABLATIONS,
}
_PLAIN = ("normalized=false", "gated=false")
AIM: dict[str, Run] = {
    "AIM, interactions alone": ("AIM", "aim-pairs", ()),
    "AIM, and their functions": ("AIM", "aim-functions", ()),
    "AIM, functions on one table": ("AIM", "aim-functions", ("share_embedding=true",)),
    "AIM, and dimensions": ("AIM", "aim", ()),
    "AIM, order 3, without dimensions": ("AIM", "aim-3", ()),
    "DeepFM": ("DeepFM", None, ()),
    "DeepFM on AIM's interactions": ("DeepFM", "aim-functions", _PLAIN),
    "IPNN": ("IPNN", None, ()),
    "IPNN on AIM's interactions": ("IPNN", "aim-functions", _PLAIN),
}
AUTOFIELD: dict[str, Run] = {
    "FM": ("FM", None, ()),
    "FM on AutoField's fields": ("FM", "autofield", ()),
    "FM on as many random fields": ("FM", "random-fields", ()),
    "DeepFM": ("DeepFM", None, ()),
    "DeepFM on AutoField's fields": ("DeepFM", "autofield", ()),
    "DeepFM on as many random fields": ("DeepFM", "random-fields", ()),
}
AUTOGROUP: dict[str, Run] = {
    "DeepFM": ("DeepFM", None, ()),
    "AutoGroup, all fields in each group": ("AutoGroup", None, ()),
    "AutoGroup on its search's groups": ("AutoGroup", "autogroup", ()),
    "AutoGroup on random groups": ("AutoGroup", "random-groups", ()),
}
AUTOFEATURE: dict[str, Run] = {
    "DeepFM": ("DeepFM", None, ()),
    "AutoFeature, products of all pairs": ("AutoFeature", None, ()),
    "AutoFeature on its search's cells": ("AutoFeature", "autofeature", ()),
    "AutoFeature on these cells at random pairs": ("AutoFeature", "random-cells", ()),
}
AUTOINT: dict[str, Run] = {
    "AutoInt": ("AutoInt", None, ()),
    "AutoInt without residual": ("AutoInt", None, ("residual=false",)),
    "AutoInt+": ("AutoIntPlus", None, ()),
    "AutoInt+ without residual": ("AutoIntPlus", None, ("residual=false",)),
}
TABLES = {
    "papers": PAPERS,
    "aim": AIM,
    "autofield": AUTOFIELD,
    "autogroup": AUTOGROUP,
    "autofeature": AUTOFEATURE,
    "autoint": AUTOINT,
}
RUNS = {**PAPERS, **AIM, **AUTOFIELD, **AUTOGROUP, **AUTOFEATURE, **AUTOINT}
STABILITY = ("fm-2", "deepfm-2")  # the searches whose gates are compared


@click.command()
@click.option("--data", required=True, help="Folder with the prepared data.")
@click.option("--out", required=True, help="Folder for searches and runs.")
@click.option("--name", required=True, type=click.Choice(list(SETTINGS)), help="Data set.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--ablations/--no-ablations", default=True, help="Other searches and retrainings.")
@click.option("--table", default="papers", type=click.Choice([*TABLES, "stability"]))
def main(data: str, out: str, name: str, seeds: int, ablations: bool, table: str) -> None:
    """Search and train all, and print a table of their test metrics."""
    prepared, folder = os.path.join(data, name), os.path.join(out, name)
    if table == "stability":
        _print_stability(prepared, folder, name, seeds)
        return
    runs = [run for run in TABLES[table] if ablations or run not in ABLATIONS]
    results: dict[str, list[dict[str, Any]]] = {run: [] for run in runs}
    for seed in range(seeds):
        for run in runs:
            with contextlib.redirect_stdout(sys.stderr):  # progress bars; stdout is for results
                result = _trained(prepared, f"{folder}/{seed}", name, run, seed)
            results[run].append(result)
            print(json.dumps({"data": name, "run": run, "seed": seed, **result}), flush=True)
    milliseconds = _inference({run: _run_folder(f"{folder}/0", run) for run in runs}, prepared)
    print("| model | AUC | log loss | kept % | parameters | ms for 2,000 rows |")
    print("|---|---|---|---|---|---|")
    for run, of_seeds in results.items():
        auc, log_loss = (_mean(of_seeds, metric) for metric in ("auc", "log_loss"))
        kept = " / ".join(f"{100 * share:.1f}" for share in of_seeds[0]["kept"]) or "100"
        parameters = f"{of_seeds[0]['parameters']:,}"
        print(f"| {run} | {auc} | {log_loss} | {kept} | {parameters} | {milliseconds[run]:.1f} |")


def _print_stability(prepared: str, folder: str, name: str, seeds: int) -> None:
    """Means over all pairs of seeds, of gates by name: those that have closed are 0."""
    print("| search | Pearson | rank correlation | kept by both, of those kept by either |")
    print("|---|---|---|---|")
    for search in STABILITY:
        gates, kept = [], []
        for seed in range(seeds):
            with contextlib.redirect_stdout(sys.stderr):
                plan = _searched(prepared, f"{folder}/{seed}", name, search, seed)
            gates.append(np.abs(read_courses(f"{folder}/{seed}/search-{search}")[1].end))
            kept.append({interaction.fields for interaction in plan.interactions})
        pearson = [np.corrcoef(one, other)[0, 1] for one, other in itertools.combinations(gates, 2)]
        ranks = [rank_correlation(one, other) for one, other in itertools.combinations(gates, 2)]
        both = [
            len(a & b) / len(a | b) if a | b else 1.0 for a, b in itertools.combinations(kept, 2)
        ]
        means = " | ".join(f"{np.mean(values):.2f}" for values in (pearson, ranks, both))
        print(f"| {search} | {means} |", flush=True)


def _trained(prepared: str, folder: str, name: str, run: str, seed: int) -> dict[str, Any]:
    model, search, settings = RUNS[run]
    plan = None
    if search is not None:
        plan = _searched(prepared, folder, name, search, seed)
        settings = (*settings, f"interactions={folder}/search-{search}/plan.json")
    common = [
        setting
        for setting in SETTINGS[name]["train"]
        if not setting.startswith("hidden") or "hidden" in model_arguments(model)
    ]
    out = _run_folder(folder, run)
    given = {"data": prepared, "model": model, "out": out, "seed": seed}
    train(TrainConfig.read(None, (*common, *settings), **given))
    test = evaluate_run(out)
    trained, features, _ = load_run(out)
    kept = [] if plan is None else _kept_shares(plan, len(features.field_names))
    parameters = int(trained.count_params())
    return {
        "auc": test["auc"],
        "log_loss": test["log_loss"],
        "kept": kept,
        "parameters": parameters,
    }


def _searched(prepared: str, folder: str, name: str, search: str, seed: int) -> InteractionPlan:
    method, settings = SEARCHES[search]
    common: tuple[str, ...] = ()
    if method in ("autofis", "aim", "autofield", "autogroup", "autofeature"):
        common = SETTINGS[name]["search"]
    if method != "statistics":
        common = (*common, f"seed={seed}")
    plans = {each: f"{folder}/search-{each}/plan.json" for each in SEARCHES}
    changed = [setting.format(**plans) for setting in settings]
    out = f"{folder}/search-{search}"
    return run_search(method, read_search(method, None, (*common, *changed)), prepared, out)


def _kept_shares(plan: InteractionPlan, fields: int) -> list[float]:
    """By order, the share of all combinations of fields that the plan has with any function; of a
    plan of fields the share of these, of one of groups the mean share of fields in a group."""
    if plan.fields is not None:
        return [len(plan.fields) / fields]
    if plan.groups:
        return [statistics.mean(len(group.fields) / fields for group in plan.groups)]
    shares, possible = [], fields
    every = {part.fields for part in (*plan.interactions, *plan.cells)}
    for order in (2, 3):
        possible = possible * (fields - order + 1) // order
        kept = {names for names in every if len(names) == order}
        if kept or order == 2:
            shares.append(len(kept) / possible)
    return shares


def _run_folder(folder: str, run: str) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in run.lower())
    return os.path.join(folder, name)


def _inference(
    folders: dict[str, str], prepared: str, rows: int = 2000, repetitions: int = 21
) -> dict[str, float]:
    """Median milliseconds for a batch of test rows, the models taking turns."""
    tasks = {}
    for run, folder in folders.items():
        model, features, _ = load_run(folder)
        names = [tensor.name for tensor in model.inputs]
        inputs, _ = read_rows(prepared, "test", features, rows, names)
        batch = {
            name: np.resize(values, (rows, values.shape[1])) for name, values in inputs.items()
        }
        tasks[run] = functools.partial(model.predict_on_batch, batch)
    return {run: 1000 * value for run, value in median_seconds(tasks, repetitions).items()}


def _mean(results: list[dict[str, Any]], metric: str) -> str:
    values = [result[metric] for result in results]
    return f"{statistics.mean(values):.4f} ± {statistics.pstdev(values):.4f}"


if __name__ == "__main__":
    main()
